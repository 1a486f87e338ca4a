"""The model of a new index for which the user names no model."""

DEFAULT_MODEL = "google/siglip-base-patch16-256-multilingual"
"""A two-tower model for many languages, by hub id."""
