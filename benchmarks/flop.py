"""Floating-point operations that the matrix products of the model need when nothing is padded.

A product of n vectors with a matrix of p weights takes 2·n·p; in training as much again for the gradient of
what it reads, and again for that of the weights. Attention's own products (1 % at the length of captions),
the mappings and the losses are left out.
"""

from torch import nn

from mlcmr.model.mlcmr import MLCMR


def text_flop(model: MLCMR, tokens: int, *, training: bool = False) -> float:
    """For texts of so many tokens together."""
    weights = [module.weight for module in model.text_encoder.modules() if isinstance(module, nn.Linear)]
    return 2.0 * tokens * sum(w.numel() * (3 if training and w.requires_grad else 1) for w in weights)


def video_flop(model: MLCMR, videos: int, frames: int, *, training: bool = False) -> float:
    """For so many videos of so many frames together."""
    encoder = model.video_encoder
    flop = 2.0 * frames * sum(w.numel() for name, w in encoder.gru.named_parameters() if "weight" in name)
    for window, convolution in zip(encoder.config.windows, encoder.convolutions, strict=True):
        places = frames + (window - 1) * videos
        flop += 2.0 * places * convolution.get_parameter("weight").numel()
    return flop * (3 if training else 1)
