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


class SoftMargin(nn.Module):
    """Rank each caption's video above the others, and each video's caption, by a logistic function.

    Unlike the hinge of the published loss, it has no margin beyond which a pair counts nothing.
    """

    def __init__(self, scale: float = 20.0) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, views: ViewEmbeddings) -> dict[str, Tensor]:
        """Return one term for each language; embeddings are (B, D) with rows of length 1."""
        terms = {}
        for language in views.captions:
            own = views.having(language)  # the examples that have a caption in the language
            negatives = ~own.same_video()  # other captions of the same video are right too
            terms[f"{language}→v"] = self.term(own.captions[language] @ own.video.T, negatives)
        return terms

    def term(self, scores: Tensor, negatives: Tensor) -> Tensor:
        """Return the sum over both directions and all negatives, divided by B."""
        positive = scores.diagonal()
        excess = torch.stack([scores - positive[:, None], scores - positive])
        return (nn.functional.softplus(self.scale * excess) * negatives).sum() / len(scores)


def main(recipe: str, rootpath: str, run: str = "runs/own-loss") -> None:
    """Train by a recipe, with the loss above in place of the published loss."""
    check_loss(SoftMargin())  # the contract of a loss; it says which property does not hold
    trained = mlcmr.train(recipe, rootpath=rootpath, run=run, loss=SoftMargin())
    print(mlcmr.evaluate(trained))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
