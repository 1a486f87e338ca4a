"""Frame encoders: pictures to frame features."""
