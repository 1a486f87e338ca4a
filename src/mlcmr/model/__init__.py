"""Tensors: the video encoder, the text encoder, the losses, and weights on disk."""
