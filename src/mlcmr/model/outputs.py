"""The embeddings that a model returns for a training batch."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(slots=True)
class ViewEmbeddings:
    """The embeddings of a batch of B examples; all are (B, D), and row i of each belongs to example i.

    Several examples may be captions of the same video. In a language in which examples lack captions, the
    captions have fewer rows: `having` returns the examples that have them.

    Attributes:
        video: The whole videos.
        dropped: The videos with most frames dropped.
        captions: The captions by language.
        masked: The captions with some words masked, by language.
        video_ids: (B,) int64; rows of the same video have the same number. None if each row is a video of its
            own.
        has_caption: (B,) bool by language: the examples that have a row in `captions` and `masked`. A
            language without an entry has a row of every example.
    """

    video: Tensor
    dropped: Tensor
    captions: Mapping[str, Tensor]
    masked: Mapping[str, Tensor]
    video_ids: Tensor | None = None
    has_caption: Mapping[str, Tensor] = field(default_factory=dict)

    def __repr__(self) -> str:
        examples, size = self.video.shape
        return f"{type(self).__name__}({examples} × {size}, {', '.join(self.captions)})"

    def upcast(self) -> "ViewEmbeddings":
        """Return the embeddings in float32; those in float64 stay in float64."""
        return ViewEmbeddings(
            _upcast(self.video),
            _upcast(self.dropped),
            {language: _upcast(texts) for language, texts in self.captions.items()},
            {language: _upcast(texts) for language, texts in self.masked.items()},
            self.video_ids,
            self.has_caption,
        )

    def having(self, *languages: str) -> "ViewEmbeddings":
        """Return the examples that have a caption in each of some languages: row i of each is example i."""
        lacking = [language for language in languages if language in self.has_caption]
        if not lacking:
            return self
        rows = torch.stack([self.has_caption[language] for language in lacking]).all(0)

        def select(texts: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {
                language: texts[language][rows[self.has_caption[language]] if language in lacking else rows]
                for language in languages
            }

        return ViewEmbeddings(
            self.video[rows],
            self.dropped[rows],
            select(self.captions),
            select(self.masked),
            None if self.video_ids is None else self.video_ids[rows],
        )

    def same_video(self) -> Tensor:
        """Return whether row i and row j belong to the same video, (B, B) bool; true on the diagonal."""
        if self.video_ids is None:
            return torch.eye(len(self.video), dtype=torch.bool, device=self.video.device)
        return self.video_ids[:, None] == self.video_ids


def _upcast(embeddings: Tensor) -> Tensor:
    return embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
