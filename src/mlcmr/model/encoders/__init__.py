"""Text and video encoders."""
