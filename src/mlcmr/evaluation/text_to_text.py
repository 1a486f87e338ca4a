"""Text-to-text retrieval: a caption finds the captions of the same video in another language."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from mlcmr.evaluation.intervals import RetrievalIntervals, intervals_if_wanted
from mlcmr.evaluation.metrics import Metric, RetrievalMetrics, chance_of, metrics_of_ranks
from mlcmr.evaluation.ranks import compute_text_ranks, match_captions
from mlcmr.evaluation.scores import embedding_scores

if TYPE_CHECKING:
    from mlcmr.evaluation.encode import EncodedQueries


@dataclass(frozen=True)
class TextToTextResults:
    """The metrics of text-to-text retrieval between two languages, in both directions.

    A caption ranks all captions in the other language; all captions of its video are relevant. Captions of
    videos without captions in the other language are left out. Translations of the captions are not used.

    Attributes:
        languages: The two languages. In the metrics, `t2v` stands for the first language as the language of
            the queries, `v2t` for the second.
        captions: The number of captions in each language.
        left_out: The number of captions that are left out, in each language.
        videos: The number of videos.
        metrics: The metrics.
        chance: The metrics to expect of random scores.
        intervals: The confidence intervals of the metrics, if they were computed.
    """

    languages: tuple[str, str]
    captions: tuple[int, int]
    left_out: tuple[int, int]
    videos: int
    metrics: RetrievalMetrics
    chance: RetrievalMetrics
    intervals: RetrievalIntervals | None = None

    @property
    def label(self) -> str:
        """The two languages, as `en, zh`."""
        return ", ".join(self.languages)

    def __str__(self) -> str:
        counted = " and ".join(
            f"{count:,} {language} captions"
            for language, count in zip(self.languages, self.captions, strict=True)
        )
        left_out = sum(self.left_out)
        rest = f" · {left_out:,} captions of other videos are left out" if left_out else ""
        return f"{self.label}: {counted} of {self.videos:,} videos{rest}"

    def to_dict(self) -> dict[str, Any]:
        """Return the results as results.json holds them: figures by direction, such as `en→zh`."""
        return {
            "languages": list(self.languages),
            "captions": list(self.captions),
            "left_out": list(self.left_out),
            "videos": self.videos,
            "metrics": self._by_direction(self.metrics.to_dict()),
            "chance": self._by_direction(self.chance.to_dict(list(self.metrics.t2v))),
            "intervals": self.intervals and self._by_direction(self.intervals.to_dict()),
        }

    def _by_direction(self, figures: dict[str, Any]) -> dict[str, Any]:
        first, second = self.languages
        names = {"t2v": f"{first}→{second}", "v2t": f"{second}→{first}"}
        return {names.get(name, name): value for name, value in figures.items()}


def measure_text_to_text(
    encoded: Sequence["EncodedQueries"], metrics: Sequence[Metric], resamples: int
) -> list[TextToTextResults]:
    """Measure text-to-text retrieval between every two languages that have captions of the same videos.

    Args:
        encoded: The embeddings of each language.
        metrics: The metrics.
        resamples: The number of bootstrap resamples for the intervals; 0 for no intervals.
    """
    pairs = [pair for pair in combinations(encoded, 2) if set(pair[0].video_ids) & set(pair[1].video_ids)]
    return [_measure(first, second, metrics, resamples) for first, second in pairs]


def _measure(
    first: "EncodedQueries", second: "EncodedQueries", metrics: Sequence[Metric], resamples: int
) -> TextToTextResults:
    known = set(first.video_ids) & set(second.video_ids)
    videos = [video for video in first.video_ids if video in known]
    embeddings, owners = [], []
    for one in (first, second):
        rows = [row for row, video in enumerate(one.queries.captions.videos) if video in known]
        embeddings.append(one.captions[rows])
        owners.append(match_captions([one.queries.captions.videos[row] for row in rows], videos))
    ranks = compute_text_ranks(embedding_scores(embeddings[0], embeddings[1]), *owners)
    directions = [(direction.relevant, direction.candidates) for direction in (ranks.t2v, ranks.v2t)]
    counts = len(owners[0]), len(owners[1])
    return TextToTextResults(
        (first.queries.language, second.queries.language),
        counts,
        (len(first.captions) - counts[0], len(second.captions) - counts[1]),
        len(videos),
        metrics_of_ranks(ranks, metrics),
        chance_of(directions[0], directions[1], metrics),
        intervals_if_wanted(ranks, owners[0], metrics, resamples, video_of_query=owners[1]),
    )
