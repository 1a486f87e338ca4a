"""Train with a loss of your own.

    pip install 'mlcmr[video]'
    mlcmr sample demo                       # or a collection of your own
    python own_loss.py configs/sample/parallel.yaml demo

docs/extending/loss.md explains what a loss gets and returns.
"""

import sys

import torch
from torch import Tensor, nn

import mlcmr
from mlcmr.model import ViewEmbeddings
from mlcmr.testing import check_loss


class Sigmoid(nn.Module):
    """Ask of each pair of a caption and a video whether they belong together, as SigLIP does.

    The loss has no softmax over the batch, so it suits small batches.
    """

    def __init__(self, temperature: float = 10.0, bias: float = -5.0) -> None:
        super().__init__()
        self.temperature, self.bias = temperature, bias

    def forward(self, views: ViewEmbeddings) -> dict[str, Tensor]:
        """Return one term for each language; embeddings are (B, D) with rows of length 1."""
        return {f"{language}→v": self.term(texts, views.video) for language, texts in views.captions.items()}

    def term(self, texts: Tensor, videos: Tensor) -> Tensor:
        """Return the mean over all B × B pairs, times B."""
        scores = self.temperature * (texts @ videos.T) + self.bias
        right = 2 * torch.eye(len(scores), device=scores.device, dtype=scores.dtype) - 1
        return -nn.functional.logsigmoid(right * scores).sum() / len(scores)


def main(recipe: str, rootpath: str, run: str = "runs/own-loss") -> None:
    """Train by a recipe, with the loss above in place of the published loss."""
    check_loss(Sigmoid())  # the contract of a loss; it says which property does not hold
    trained = mlcmr.train(recipe, rootpath=rootpath, run=run, loss=Sigmoid())
    print(mlcmr.evaluate(trained))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
