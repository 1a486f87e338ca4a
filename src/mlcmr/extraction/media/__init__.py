"""Reading of videos, animations and images."""
