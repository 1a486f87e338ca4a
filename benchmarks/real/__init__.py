"""Trainings on real collections."""
