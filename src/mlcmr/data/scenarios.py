"""The caption files of a scenario: those to train on, to validate on and to test on.

No other module builds the names of these files.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from mlcmr.data.captions import Captions, read_captions
from mlcmr.data.collection import HALF, Collection
from mlcmr.data.languages import language_profile, translation_tag
from mlcmr.errors import CorruptFileError, InvalidValueError, NotFoundError

MissingCaptions: TypeAlias = Literal["error", "skip", "keep"]
MIXED = "mixed"
"""The key of the captions of an unparallel scenario, in place of a language: their languages differ."""


class ScenarioKind(StrEnum):
    """The origin of the captions of a video in several languages."""

    PARALLEL = "parallel"
    PSEUDO_PARALLEL = "pseudo-parallel"
    UNPARALLEL = "unparallel"


@dataclass(frozen=True, slots=True)
class Scenario:
    """The training captions of a model.

    Attributes:
        kind: `parallel`: people wrote captions in every language; `pseudo-parallel`: the captions in the
            target language are machine translations; `unparallel`: each video has captions in one language.
        languages: The languages; each caption of the first one makes a training example.
        target: The language without human training captions; for `pseudo-parallel` only.
        engine: The translation engine, as in the names of the files with machine translations.
    """

    kind: ScenarioKind
    languages: tuple[str, ...] = ("en", "zh")
    target: str | None = None
    engine: str = "google"

    def __post_init__(self) -> None:
        if not self.languages or len(set(self.languages)) != len(self.languages):
            raise InvalidValueError(
                f"languages {list(self.languages)}: name each language once", parameter="languages"
            )
        if self.kind == ScenarioKind.PSEUDO_PARALLEL and self.target not in self.languages:
            raise InvalidValueError(
                f"a pseudo-parallel scenario needs a target among {list(self.languages)} (the language whose "
                f"training captions are machine translations), not {self.target!r}",
                parameter="target",
            )
        if self.kind == ScenarioKind.PSEUDO_PARALLEL and len(self.languages) < 2:
            raise InvalidValueError(
                f"a pseudo-parallel scenario needs another language than {self.target}: its source",
                parameter="languages",
            )
        if self.kind != ScenarioKind.PSEUDO_PARALLEL and self.target is not None:
            raise InvalidValueError(
                f"target {self.target!r} is for the pseudo-parallel scenario only, this one is {self.kind}; "
                "leave it out, or set it to null",
                parameter="target",
            )

    @property
    def fusion_weight(self) -> float:
        """Return the published weight of the query itself against its translation."""
        return 0.85 if self.kind == ScenarioKind.PARALLEL else 0.55


@dataclass(frozen=True, slots=True)
class ExampleCaptions:
    """The captions of the training examples in one language.

    Attributes:
        texts: The captions as written.
        languages: The language of each caption.
        examples: The number of the example of each caption, ascending; None if every example has a caption.
    """

    texts: Sequence[str]
    languages: Sequence[str]
    examples: Sequence[int] | None = None


@dataclass(frozen=True, slots=True)
class TrainingPairs:
    """The training examples of a scenario: each is one video with at most one caption per language.

    Attributes:
        videos: The video of each example.
        captions: The captions by language; under `mixed` in an unparallel scenario.
        skipped: The number of examples that are left out because a caption in some language is missing.
    """

    videos: Sequence[str]
    captions: Mapping[str, ExampleCaptions]
    skipped: int = 0

    def gaps(self) -> list[str]:
        """Describe each language in which captions are missing, in a line."""
        return [
            f"{language}: {len({self.videos[example] for example in captions.examples}):,} of "
            f"{len(set(self.videos)):,} videos have captions, {len(captions.examples):,} of "
            f"{len(self.videos):,} examples"
            for language, captions in self.captions.items()
            if captions.examples is not None
        ]


@dataclass(frozen=True, slots=True)
class Queries:
    """The captions to evaluate with, in the target language, and their machine translations if these exist.

    Attributes:
        captions: The queries.
        language: The language of the queries.
        translations: The translation of each query.
        translation_language: The language of `translations`.
    """

    captions: Captions
    language: str
    translations: Sequence[str] | None = None
    translation_language: str | None = None


def human_caption_file(collection: Collection, split: str, language: str) -> Path:
    """Return the file of captions that people wrote in `language`, whether it exists or not."""
    return collection.caption_file(split, language_profile(language).suffix)


def training_files(collection: Collection, scenario: Scenario) -> dict[str, Path]:
    """Return the training files by language, or the one file under `mixed`; nothing is read."""
    if scenario.kind == ScenarioKind.UNPARALLEL:
        return {MIXED: collection.caption_file("train", HALF)}
    return {
        language: (
            translation_file(collection, "train", _source_language(scenario), language, scenario.engine)
            if scenario.kind == ScenarioKind.PSEUDO_PARALLEL and language == scenario.target
            else human_caption_file(collection, "train", language)
        )
        for language in scenario.languages
    }


def translation_file(collection: Collection, split: str, source: str, target: str, engine: str) -> Path:
    """Return the file of machine translations from `source` to `target`, whether it exists or not.

    The published names mark the human side with a `c`: `_google_enc2zh`. A file whose name lacks the `c` is
    found too.
    """
    marked = collection.caption_file(split, f"_{engine}_{translation_tag(source, target)}")
    plain = collection.caption_file(split, f"_{engine}_{source}2{target}")
    return plain if plain.exists() and not marked.exists() else marked


def read_training_pairs(
    collection: Collection, scenario: Scenario, missing_captions: MissingCaptions = "error"
) -> TrainingPairs:
    """Read the training captions; each caption of the first language makes one example.

    Args:
        collection: The collection.
        scenario: The scenario to train on.
        missing_captions: What to do with a caption that has no counterpart (same video, same number) in
            another language: `error` stops, `skip` leaves the example out, `keep` makes an example of every
            video and number, with the captions that exist.

    Raises:
        NotFoundError: If a caption file does not exist.
        CorruptFileError: If a file is malformed or empty, a caption is in another language than the file's
            name says, or a caption lacks its counterpart.
    """
    files = training_files(collection, scenario)
    read = {language: _read_file(collection, path, language, scenario) for language, path in files.items()}
    first, *others = read.values()
    for captions in read.values():
        if not len(captions):
            raise CorruptFileError(f"{captions.path}: no captions", path=captions.path)
    keys, videos = list(first.keys), list(first.videos)
    if missing_captions == "keep":
        video_of = {key: video for one in others for key, video in zip(one.keys, one.videos, strict=True)}
        further = video_of.keys() - set(keys)
        keys += [key for key in video_of if key in further]
        videos += [video_of[key] for key in keys[len(first) :]]
    # The row of each example in the file of each language; -1 if the file lacks the caption.
    rows_of = [[*range(len(first)), *[-1] * (len(keys) - len(first))]]
    for captions in others:
        if captions.keys == first.keys == keys:
            rows_of.append(rows_of[0])
        else:
            row_of = dict(zip(captions.keys, range(len(captions)), strict=True))
            rows_of.append([row_of.get(key, -1) for key in keys])
    if missing_captions == "keep":
        return TrainingPairs(videos, _examples(read, rows_of))
    complete = [example for example in rows_of[0] if all(rows[example] >= 0 for rows in rows_of)]
    skipped = len(first) - len(complete)
    if not complete:
        named = ", ".join(list(read)[1:])
        raise CorruptFileError(
            f"{first.path}: none of its captions has a counterpart in {named}, one of the same video with "
            "the same number; `mlcmr prepare --pair` makes such pairs",
            path=first.path,
        )
    if skipped and missing_captions == "error":
        raise _missing_counterpart(list(read.values()), rows_of, skipped)
    kept = [[rows[example] for example in complete] for rows in rows_of]
    return TrainingPairs([videos[example] for example in complete], _examples(read, kept), skipped)


def _examples(read: Mapping[str, Captions], rows_of: Sequence[Sequence[int]]) -> dict[str, ExampleCaptions]:
    """Return the captions of the examples by language.

    Args:
        read: The file of each language.
        rows_of: The row of each example in each file; -1 if the file lacks the caption.
    """
    examples_of = ([example for example, row in enumerate(rows) if row >= 0] for rows in rows_of)
    return {
        language: ExampleCaptions(
            [captions.texts[rows[example]] for example in examples],
            [captions.languages[rows[example]] for example in examples],
            examples if len(examples) < len(rows) else None,
        )
        for (language, captions), rows, examples in zip(read.items(), rows_of, examples_of, strict=True)
    }


def read_queries(
    collection: Collection, scenario: Scenario, split: str, target: str, *, translations: bool = True
) -> Queries:
    """Read the queries of a split in one language.

    Args:
        collection: The collection.
        scenario: The scenario that the model was trained on.
        split: The split.
        target: The language of the queries.
        translations: Read the translations of the queries into another language of the scenario too, if
            a file has them.

    Raises:
        NotFoundError: If the caption file does not exist.
        CorruptFileError: If a file is malformed or empty, a caption is not in the language that the file's
            name says, or a query has no translation while others have one.
    """
    path = human_caption_file(collection, split, target)
    if not path.exists() and target not in scenario.languages:
        existing = ", ".join(collection.languages(split)) or "none"
        found = collection.renaming or f"the {split} split has captions in {existing}"
        raise NotFoundError(
            f"target '{target}': {path}: no such file; {found}",
            path=path,
            parameter="target",
        )
    captions = _read_file(collection, path, target, scenario)
    if not len(captions):
        raise CorruptFileError(f"{captions.path}: no captions", path=captions.path)
    for other in scenario.languages if translations else ():
        path = translation_file(collection, split, target, other, scenario.engine)
        if other != target and path.exists():
            translated = _read_file(collection, path, other, scenario)
            text_of = dict(zip(translated.keys, translated.texts, strict=True))
            try:
                texts = [text_of[key] for key in captions.keys]
            except KeyError as error:
                raise CorruptFileError(
                    f"{path}: no translation of '{error.args[0]}' of {captions.path.name}", path=path
                ) from None
            return Queries(captions, target, texts, other)
    return Queries(captions, target)


def read_validation(collection: Collection, scenario: Scenario, split: str) -> list[Queries]:
    """Read the human captions of a split in every language of the scenario.

    Raises:
        NotFoundError: If a caption file does not exist.
        CorruptFileError: If a caption file is malformed, empty or in another language than its name says.
    """
    return [
        read_queries(collection, scenario, split, language, translations=False)
        for language in scenario.languages
    ]


def read_bank(collection: Collection, scenario: Scenario, target: str, size: int) -> Queries:
    """Read training captions in one language, without their translations: all captions of some videos.

    A language of the scenario has the captions that the scenario trains on. The videos are drawn at random,
    the same at every call, and their captions keep their order.

    Args:
        collection: The collection.
        scenario: The scenario that the model was trained on.
        target: The language of the captions.
        size: The largest number of captions; the captions of one video may be more.

    Raises:
        NotFoundError: If the caption file does not exist.
        CorruptFileError: If the file is malformed, has no captions in the language, or a caption is in
            another language than the file's name says.
    """
    files = training_files(collection, scenario)
    path = files.get(MIXED) or files.get(target) or human_caption_file(collection, "train", target)
    captions = _read_file(collection, path, MIXED if MIXED in files else target, scenario)
    rows_of: dict[str, list[int]] = {}
    for row, (video, language) in enumerate(zip(captions.videos, captions.languages, strict=True)):
        if language == target:
            rows_of.setdefault(video, []).append(row)
    if not rows_of:
        raise CorruptFileError(f"{path}: no captions in '{target}'", path=path)
    videos = list(rows_of)
    drawn = [videos[number] for number in np.random.default_rng(0).permutation(len(videos))]
    total = list(accumulate(len(rows_of[video]) for video in drawn))
    chosen = drawn[: max(1, bisect_right(total, size))]
    return Queries(captions.select(sorted(row for video in chosen for row in rows_of[video])), target)


def _source_language(scenario: Scenario) -> str:
    return next(language for language in scenario.languages if language != scenario.target)


def _read_file(collection: Collection, path: Path, language: str, scenario: Scenario) -> Captions:
    """Return the captions of a file, all of them in `language` unless that is `MIXED`."""
    if not path.exists():
        names = sorted(file.name for file in path.parent.glob("*.caption.txt"))
        listed = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
        found = collection.renaming or f"there is {listed or 'no caption file'}"
        raise NotFoundError(
            f"{path}: no such file; the {scenario.kind} scenario with languages "
            f"{', '.join(scenario.languages)} needs it; {found}",
            path=path,
        )
    captions = read_captions(path)
    if language != MIXED and captions.languages.count(language) < len(captions):
        row = next(row for row, other in enumerate(captions.languages) if other != language)
        raise CorruptFileError(
            f"{path}:{row + 1}: caption '{captions.ids[row]}' is in '{captions.languages[row]}', "
            f"the file's name says '{language}'",
            path=path,
            line=row + 1,
        )
    return captions


def _missing_counterpart(
    files: Sequence[Captions], rows_of: list[list[int]], skipped: int
) -> CorruptFileError:
    first = files[0]
    for captions, rows in zip(files, rows_of, strict=True):
        if -1 in rows:
            return CorruptFileError(
                f"{captions.path}: no caption for '{first.keys[rows.index(-1)]}' of {first.path.name}, and "
                f"{skipped:,} of {len(first):,} examples are incomplete; complete the file, or set "
                "`missing_captions` to skip (leave them out) or keep (train on the captions that exist)",
                path=captions.path,
            )
    raise AssertionError
