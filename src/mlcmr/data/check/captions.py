"""What is wrong with the caption files of a collection."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field
from itertools import combinations, groupby
from pathlib import Path
from typing import NamedTuple

from mlcmr.data.captions import Captions, clean_english, language_of_tag, scan_captions
from mlcmr.data.check.findings import Findings
from mlcmr.data.collection import SPLITS, open_collection
from mlcmr.data.features import Progress
from mlcmr.data.scenario import human_suffix
from mlcmr.errors import UserError

_USE_OF_SPLIT = {"train": "to train on", "val": "to validate on", "test": "to test on"}
_ENDING = ".caption.txt"
_HALF = "_half"
_NAMED = re.compile(rf"(.+)({'|'.join(SPLITS)})((?:_.+)?)")
_WORD = re.compile("[A-Za-z0-9]")  # where there is one, an English caption is not blank once cleaned
_TRANSLATED = re.compile(r"(?:_(.+))?_([^_2]+)2([^_]+)")


@dataclass(slots=True)
class CaptionFile:
    """One caption file, by what its name says and what is in it.

    Attributes:
        path: The file.
        split: The split, usually `train`, `val` or `test`.
        suffix: What follows the split in its name.
        language: The language that its name says; empty for a file of several.
        source: The language that its captions were translated from, by machine.
        label: Its languages, for people.
        languages: Its languages, as the tags of its captions say.
        tag: The tag of its first caption.
        count: The number of its captions.
        lines: Where each caption stands, by video and number (`<video>#<number>`).
        videos: Where the first caption of each video stands.
    """

    path: Path
    split: str
    suffix: str
    language: str = ""
    source: str | None = None
    label: str = ""
    languages: set[str] = field(default_factory=set)
    tag: str = ""
    count: int = 0
    lines: dict[str, int] = field(default_factory=dict)
    videos: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if match := _TRANSLATED.fullmatch(self.suffix):
            engine, source, self.language = match.groups()
            self.source = language_of_tag(source)
            self.label = f"{self.language} ← {self.source}{f' ({engine})' if engine else ''}"
        elif self.suffix != _HALF:
            self.label = self.language = language_of_tag(self.suffix[1:]) if self.suffix else "en"

    @property
    def order(self) -> tuple[object, ...]:
        """Sorts files: by split, people's captions first, English first."""
        split = SPLITS.index(self.split) if self.split in SPLITS else len(SPLITS)
        kind = (self.suffix == _HALF, self.source is not None, self.language != "en")
        return (split, self.split, *kind, self.suffix)

    @property
    def name(self) -> str:
        """The name of the file."""
        return self.path.name


class CaptionSummary(NamedTuple):
    """What is in one caption file."""

    split: str
    language: str
    captions: int
    videos: int


class Place(NamedTuple):
    """A line of a caption file."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class _Split(NamedTuple):
    """A split: its languages, those that people wrote in, and where each video has its first caption."""

    name: str
    languages: set[str]
    human: set[str]
    places: dict[str, Place]


def check_captions(
    folder: Path, found: Findings, progress: Progress | None
) -> tuple[list[CaptionSummary], dict[str, Place]]:
    """Checks the caption files of a collection, each for itself and then with each other.

    Returns:
        What is in each file, and where each video has its first caption.
    """
    files = _find(folder, found)
    files.sort(key=lambda file: file.order)
    summaries: list[CaptionSummary] = []
    splits: list[_Split] = []
    for name, group in groupby(files, key=lambda file: file.split):
        in_split = list(group)
        places: dict[str, Place] = {}
        for file in in_split:
            _check_file(file, found)
            summaries.append(CaptionSummary(name, file.label, file.count, len(file.videos)))
            for video, line in file.videos.items():
                places.setdefault(video, Place(file.name, line))
            if progress:
                progress(file.name, len(summaries), len(files))
        _compare(in_split, found)
        languages = {language for file in in_split for language in file.languages}
        human = {language for file in in_split if file.source is None for language in file.languages}
        splits.append(_Split(name, languages, human, places))
        for file in in_split:
            file.lines.clear()
    if files:
        _check_use({split.name: split for split in splits}, found)
    for one, other in combinations(splits, 2):
        _check_overlap(one, other, found)
    return summaries, {video: place for split in reversed(splits) for video, place in split.places.items()}


def _find(folder: Path, found: Findings) -> list[CaptionFile]:
    """The caption files of a collection, by the name that they begin with."""
    text = folder / "TextData"
    paths = sorted(path for path in text.glob(f"*{_ENDING}") if not path.name.startswith("."))
    name = looked_for = open_collection(folder.parent, folder.name).name
    if not paths:
        what = f"no {name}<split>{_ENDING} in it" if os.path.isdir(text) else "no such folder"
        found.problems.add("TextData", what)
    begin = re.compile(f"{re.escape(name)}({'|'.join(SPLITS)})")
    names = Counter(match[1] for path in paths if (match := _NAMED.fullmatch(_stem(path))))
    if names and not any(begin.match(path.name) for path in paths):
        name = names.most_common(1)[0][0]
        what = (
            f"the caption files begin with '{name}', but a folder called '{folder.name}' should have "
            f"{looked_for}<split>{_ENDING}; rename the folder or the files"
        )
        found.problems.add("TextData", what)
    files = []
    for path in paths:
        file = _by_name(path, name)
        if file is None:
            what = f"nothing reads it, as its name is not {name}<split><suffix>{_ENDING}; rename or remove it"
            found.problems.add(path.name, what)
        else:
            files.append(file)
            if file.split not in SPLITS:
                found.warnings.add(path.name, f"the split '{file.split}' is none of {', '.join(SPLITS)}")
    return files


def _by_name(path: Path, name: str) -> CaptionFile | None:
    stem = _stem(path)
    split, underscore, suffix = stem.removeprefix(name).partition("_")
    if not stem.startswith(name) or not split:
        return None
    return CaptionFile(path, split, underscore + suffix)


def _stem(path: Path) -> str:
    return path.name.removesuffix(_ENDING)


def _check_file(file: CaptionFile, found: Findings) -> None:
    def report(line: int, kind: str, message: str) -> None:
        found.problems.add(file.name, message, line=line, kind=kind)

    try:
        captions, line_of = scan_captions(file.path, report)
    except UserError as error:
        found.problems.add(file.name, str(error).removeprefix(f"{file.path}: "))
        return
    file.count = len(captions)
    if not file.count:
        found.problems.add(file.name, "no captions")
        return
    file.tag = _tag(captions.ids[0])
    file.languages = set(captions.languages)
    file.videos = _first_lines(captions.videos, line_of)
    file.lines = _first_lines(captions.keys, line_of)
    _check_texts(file, captions, line_of, found)
    if file.suffix == _HALF:
        _check_half(file, captions, found)
    else:
        _check_tags(file, captions, line_of, found)
        _check_numbers(file, captions, line_of, found)


def _check_texts(file: CaptionFile, captions: Captions, line_of: Sequence[int], found: Findings) -> None:
    unread = []
    for row, (language, text) in enumerate(zip(captions.languages, captions.texts, strict=True)):
        if not text or text.isspace():
            what = f"caption '{captions.ids[row]}' has no text"
            found.problems.add(file.name, what, line=line_of[row], kind="captions without text")
        elif language == "en" and not _WORD.search(text) and not clean_english(text):
            unread.append(line_of[row])
    if unread:
        what = f"{_captions(unread)} without a letter or digit, blank once cleaned"
        found.warnings.add(file.name, f"{what}; the first in line {unread[0]}")


def _check_half(file: CaptionFile, captions: Captions, found: Findings) -> None:
    languages: dict[str, set[str]] = defaultdict(set)
    for video, language in zip(captions.videos, captions.languages, strict=True):
        languages[video].add(language)
    file.label = " + ".join(sorted(file.languages)) + " (half)"
    several = [video for video, spoken in languages.items() if len(spoken) > 1]
    if several:
        what = f"{len(several):,} of {len(languages):,} videos with captions in several languages"
        found.warnings.add(file.name, f"{what}, so not unparallel; the first is '{several[0]}'")
    if len(file.languages) == 1:
        found.warnings.add(file.name, f"all captions are in one language, '{captions.languages[0]}'")


def _check_tags(file: CaptionFile, captions: Captions, line_of: Sequence[int], found: Findings) -> None:
    """Do the captions' tags say what the file's name says?"""
    translated = file.source is not None
    misplaced = []
    for caption_id, language, line in zip(captions.ids, captions.languages, line_of, strict=True):
        if language != file.language:
            what = f"caption '{caption_id}' is in '{language}', the file's name says '{file.language}'"
            kind = f"captions that are not in '{file.language}'"
            found.problems.add(file.name, what, line=line, kind=kind)
        elif ("2" in caption_id and "2" in _tag(caption_id)) != translated:
            misplaced.append(line)
    if misplaced:
        tagged, named = ("people", "a machine") if file.source else ("a machine", "people")
        what = f"{_captions(misplaced)} by {tagged} as the tags say, by {named} as the file's name says"
        found.warnings.add(file.name, f"{what}; the first in line {misplaced[0]}")


def _check_numbers(file: CaptionFile, captions: Captions, line_of: Sequence[int], found: Findings) -> None:
    """Has each caption of a video its own number?"""
    if len(file.lines) == len(captions):
        return
    id_of: dict[str, str] = {}
    for caption_id, key, line in zip(captions.ids, captions.keys, line_of, strict=True):
        if id_of.setdefault(key, caption_id) != caption_id:
            what = f"caption '{caption_id}' has the video and number of '{id_of[key]}'"
            found.problems.add(file.name, what, line=line, kind="captions that share video and number")


def _compare(files: list[CaptionFile], found: Findings) -> None:
    """Compares the files of one split: do captions have their counterparts and translations?"""
    by_suffix = {file.suffix: file for file in files if file.count}
    people = [file for file in by_suffix.values() if file.source is None and file.suffix != _HALF]
    for other in people[1:]:
        _compare_languages(people[0], other, found)
    for file in by_suffix.values():
        if file.source is None:
            continue
        original = by_suffix.get(human_suffix(file.source))
        if original is None:
            what = f"the captions that it translates, in '{file.source}', are not there"
            found.warnings.add(file.name, what)
        elif file.lines.keys() != original.lines.keys():
            _compare_translations(file, original, found)


def _compare_languages(one: CaptionFile, other: CaptionFile, found: Findings) -> None:
    """Compares captions that people wrote in two languages.

    Captions of videos that have some in both languages should match. A language in which whole videos have
    none, or whose captions are numbered in another way, is as it is: worth knowing, no fault.
    """
    if one.lines.keys() == other.lines.keys():
        return
    shared = [key for key in one.lines if _video(key) in other.videos]
    paired = sum(key in other.lines for key in shared)
    if paired < len(shared) / 2:
        what = f"the same number for only {paired:,} of {_captions(shared)} of {one.name}"
        found.warnings.add(other.name, f"{what}, so the two cannot be paired")
        return
    for here, there in ((other, one), (one, other)):
        keys = [key for key in there.lines if _video(key) in here.videos]
        _report_missing(here, there, keys, "captions without a counterpart", found)
        bare = [video for video in there.videos if video not in here.videos]
        if bare:
            what = f"no captions for {len(bare):,} of the {len(there.videos):,} videos of {there.name}"
            found.warnings.add(here.name, f"{what}; the first is '{bare[0]}'")


def _compare_translations(file: CaptionFile, original: CaptionFile, found: Findings) -> None:
    _report_missing(file, original, list(original.lines), "captions without a translation", found)
    spare = [line for key, line in file.lines.items() if key not in original.lines]
    if spare:
        what = f"translations of {_captions(spare)} that {original.name} has not"
        found.warnings.add(file.name, f"{what}; the first in line {spare[0]}")


def _report_missing(
    here: CaptionFile, there: CaptionFile, keys: list[str], kind: str, found: Findings
) -> None:
    for key in keys:
        if key not in here.lines:
            video, _, number = key.rpartition("#")
            what = f"no caption '{video}#{here.tag}#{number}' for {there.name}:{there.lines[key]}"
            found.problems.add(here.name, what, kind=kind)


def _check_use(splits: Mapping[str, _Split], found: Findings) -> None:
    """Is there something to train on, and in each of its languages something to validate and to test on?"""
    trained = splits["train"].languages if "train" in splits else set()
    for name, use in _USE_OF_SPLIT.items():
        if name not in splits:
            found.warnings.add("TextData", f"no captions of the split {name}, nothing {use}")
        elif name != "train":
            for language in sorted(trained - splits[name].human):
                what = f"no captions of the split {name} by people in '{language}', a language of train"
                found.warnings.add("TextData", f"{what}: nothing {use}")


def _check_overlap(one: _Split, other: _Split, found: Findings) -> None:
    """Nothing is validated or tested on that was trained on."""
    both = [video for video in other.places if video in one.places]
    if one.name == "train" and other.name in SPLITS:
        for video in both:
            file, line = other.places[video]
            what = f"video '{video}' is in the split train too ({one.places[video]})"
            found.problems.add(file, what, line=line, kind=f"videos that are in train and {other.name}")
    elif both:
        what = (
            f"{len(both):,} of {len(other.places):,} videos of the split {other.name} are in {one.name} too"
        )
        found.warnings.add("TextData", f"{what}; the first is '{both[0]}' ({one.places[both[0]]})")


def _first_lines(names: Sequence[str], line_of: Sequence[int]) -> dict[str, int]:
    lines = dict(zip(names, line_of, strict=True))
    if len(lines) == len(names):
        return lines
    lines = {}
    for name, line in zip(names, line_of, strict=True):
        if name not in lines:
            lines[name] = line
    return lines


def _tag(caption_id: str) -> str:
    return caption_id.split("#", 2)[1]


def _video(key: str) -> str:
    return key.rpartition("#")[0]


def _captions(some: Sized) -> str:
    return f"{len(some):,} caption{'s' if len(some) != 1 else ''}"
