"""Which caption files a scenario trains, validates and tests on. The one place that knows their names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

from mlcmr.data.captions import Captions, read_captions
from mlcmr.data.collection import Collection
from mlcmr.errors import UserError

MIXED = "mixed"  # the column of an unparallel scenario: each caption in its own language


class ScenarioKind(StrEnum):
    """How the captions of a video in several languages came about."""

    PARALLEL = "parallel"
    PSEUDO_PARALLEL = "pseudo-parallel"
    UNPARALLEL = "unparallel"


@dataclass(frozen=True, slots=True)
class Scenario:
    """What a model is trained on.

    Attributes:
        kind: `parallel`: people wrote captions in every language; `pseudo-parallel`: the target language's
            captions are machine translations; `unparallel`: a video has captions in one language only.
        languages: The languages, the first of which makes the examples (one per caption).
        target: The language without human training captions; for `pseudo-parallel` only.
        engine: What the names of files with machine translations begin with.
    """

    kind: ScenarioKind
    languages: tuple[str, ...] = ("en", "zh")
    target: str | None = None
    engine: str = "google"

    def __post_init__(self) -> None:
        if not self.languages or len(set(self.languages)) != len(self.languages):
            raise UserError(f"languages {list(self.languages)}: name each language once")
        if self.kind == ScenarioKind.PSEUDO_PARALLEL and self.target not in self.languages:
            raise UserError(
                f"a pseudo-parallel scenario needs a target among {list(self.languages)} (the language whose "
                f"training captions are machine translations), not {self.target!r}"
            )
        if self.kind == ScenarioKind.PSEUDO_PARALLEL and len(self.languages) < 2:
            raise UserError(
                f"a pseudo-parallel scenario needs another language than {self.target}: its source"
            )
        if self.kind != ScenarioKind.PSEUDO_PARALLEL and self.target is not None:
            raise UserError(
                f"target {self.target!r} is for the pseudo-parallel scenario only, this one is {self.kind}; "
                "leave it out, or set it to null"
            )

    @property
    def fusion_weight(self) -> float:
        """The published weight of the query itself against its translation."""
        return 0.85 if self.kind == ScenarioKind.PARALLEL else 0.55


@dataclass(frozen=True, slots=True)
class Column:
    """One caption per training example: its text as written and its language."""

    texts: Sequence[str]
    languages: Sequence[str]


@dataclass(frozen=True, slots=True)
class TrainingPairs:
    """The training examples of a scenario: row i is one video with one caption per column.

    Attributes:
        videos: The video of each example.
        columns: The captions, by language; one column `mixed` in an unparallel scenario.
        skipped: Examples left out because a language lacks their caption.
    """

    videos: Sequence[str]
    columns: Mapping[str, Column]
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Queries:
    """The captions to evaluate with: in the target language, and their machine translations if there are.

    Attributes:
        captions: The queries.
        language: Their language.
        translations: The texts of their translations, in the same order.
        translation_language: The language of `translations`.
    """

    captions: Captions
    language: str
    translations: Sequence[str] | None = None
    translation_language: str | None = None


def human_suffix(language: str) -> str:
    """How a file with captions that people wrote in `language` is marked."""
    return "" if language == "en" else f"_{language}"


def training_files(collection: Collection, scenario: Scenario) -> dict[str, Path]:
    """The training files by column; nothing is read."""
    if scenario.kind == ScenarioKind.UNPARALLEL:
        return {MIXED: collection.caption_file("train", "_half")}
    return {
        language: (
            translation_file(collection, "train", _source(scenario), language, scenario.engine)
            if scenario.kind == ScenarioKind.PSEUDO_PARALLEL and language == scenario.target
            else collection.caption_file("train", human_suffix(language))
        )
        for language in scenario.languages
    }


def translation_file(collection: Collection, split: str, source: str, target: str, engine: str) -> Path:
    """The file of machine translations from `source` to `target`, whether it exists or not.

    The published names mark the human side with a `c`: `_google_enc2zh`. A name without it is found too.
    """
    marked = collection.caption_file(split, f"_{engine}_{source}c2{target}")
    plain = collection.caption_file(split, f"_{engine}_{source}2{target}")
    return plain if plain.exists() and not marked.exists() else marked


def read_training_pairs(
    collection: Collection, scenario: Scenario, missing_captions: Literal["error", "skip"] = "error"
) -> TrainingPairs:
    """Reads the training captions: one example per caption of the first language.

    Args:
        collection: Where the caption files lie.
        scenario: What to train on.
        missing_captions: What to do with a caption of the first language that has no counterpart (same
            video, same number) in another: stop with an error, or leave the example out and count it.

    Raises:
        UserError: a file that the scenario needs is missing or malformed, a caption is in another language
            than its file's name says, or lacks a counterpart.
    """
    files = training_files(collection, scenario)
    columns = {name: _read(path, name, scenario) for name, path in files.items()}
    first = next(iter(columns.values()))
    if not len(first):
        raise UserError(f"{first.path}: no captions")
    rows: list[list[int]] = [list(range(len(first)))]
    for captions in list(columns.values())[1:]:
        if captions.keys == first.keys:
            rows.append(rows[0])
        else:
            row_of = dict(zip(captions.keys, range(len(captions)), strict=True))
            rows.append([row_of.get(key, -1) for key in first.keys])
    complete = [example for example in rows[0] if all(column[example] >= 0 for column in rows)]
    skipped = len(first) - len(complete)
    if not complete:
        others = ", ".join(list(columns)[1:])
        raise UserError(
            f"{first.path}: none of its captions has a counterpart in {others}, one of the same video with "
            "the same number; `mlcmr prepare --pair` makes such pairs"
        )
    if skipped and missing_captions == "error":
        raise _missing_counterpart(columns, rows, skipped)
    return TrainingPairs(
        [first.videos[example] for example in complete],
        {
            name: Column(
                [captions.texts[column[example]] for example in complete],
                [captions.languages[column[example]] for example in complete],
            )
            for (name, captions), column in zip(columns.items(), rows, strict=True)
        },
        skipped,
    )


def read_queries(
    collection: Collection, scenario: Scenario, split: str, target: str, *, translations: bool = True
) -> Queries:
    """Reads the queries of a split in `target`, with their translations into another language if there are.

    Raises:
        UserError: the caption file is missing or malformed, a caption is in another language than its file's
            name says, or a query has no translation while others have.
    """
    captions = _read(collection.caption_file(split, human_suffix(target)), target, scenario)
    if not len(captions):
        raise UserError(f"{captions.path}: no captions")
    for other in scenario.languages if translations else ():
        path = translation_file(collection, split, target, other, scenario.engine)
        if other != target and path.exists():
            translated = _read(path, other, scenario)
            text_of = dict(zip(translated.keys, translated.texts, strict=True))
            try:
                texts = [text_of[key] for key in captions.keys]
            except KeyError as error:
                raise UserError(
                    f"{path}: no translation of '{error.args[0]}' of {captions.path.name}"
                ) from None
            return Queries(captions, target, texts, other)
    return Queries(captions, target)


def read_validation(collection: Collection, scenario: Scenario, split: str) -> list[Queries]:
    """Reads the human captions of a split in every language of the scenario.

    Raises:
        UserError: a caption file is missing, malformed, empty or in another language than its name says.
    """
    return [
        read_queries(collection, scenario, split, language, translations=False)
        for language in scenario.languages
    ]


def _source(scenario: Scenario) -> str:
    return next(language for language in scenario.languages if language != scenario.target)


def _read(path: Path, language: str, scenario: Scenario) -> Captions:
    """The captions of a file, all of them in `language` unless that is `MIXED`."""
    if not path.exists():
        there = sorted(file.name for file in path.parent.glob("*.caption.txt"))
        listed = ", ".join(there[:12]) + (", …" if len(there) > 12 else "")
        raise UserError(
            f"{path}: no such file; the {scenario.kind} scenario with languages "
            f"{', '.join(scenario.languages)} needs it; there is {listed or 'no caption file'}"
        )
    captions = read_captions(path)
    if language != MIXED and captions.languages.count(language) < len(captions):
        row = next(row for row, one in enumerate(captions.languages) if one != language)
        raise UserError(
            f"{path}:{row + 1}: caption '{captions.ids[row]}' is in '{captions.languages[row]}', "
            f"the file's name says '{language}'"
        )
    return captions


def _missing_counterpart(columns: Mapping[str, Captions], rows: list[list[int]], skipped: int) -> UserError:
    first = next(iter(columns.values()))
    for captions, column in zip(columns.values(), rows, strict=True):
        if -1 in column:
            return UserError(
                f"{captions.path}: no caption for '{first.keys[column.index(-1)]}' of {first.path.name}, and "
                f"{skipped:,} of {len(first):,} examples are incomplete; complete the file, or leave them "
                "out with --missing-captions skip"
            )
    raise AssertionError
