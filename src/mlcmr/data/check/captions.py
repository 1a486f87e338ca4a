"""Find the faults of the caption files of a collection."""

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations, groupby
from pathlib import Path
from typing import NamedTuple

from mlcmr.data.captions import Captions, scan_captions
from mlcmr.data.check.caption_file import ENDING, CaptionFile, FileLine
from mlcmr.data.check.findings import Findings
from mlcmr.data.check.report import CaptionSummary
from mlcmr.data.collection import ADDED_FOLDER, HALF, SPLITS, open_collection
from mlcmr.data.languages import language_profile
from mlcmr.errors import MlcmrError
from mlcmr.progress import Progress
from mlcmr.text import plural

_USE_OF_SPLIT = {"train": "to train on", "val": "to validate on", "test": "to test on"}


class _SplitContent(NamedTuple):
    """The content of the caption files of a split.

    Attributes:
        name: The split.
        languages: The languages of its captions.
        human: The languages of the captions that people wrote.
        first_lines: The first caption of each video.
    """

    name: str
    languages: set[str]
    human: set[str]
    first_lines: dict[str, FileLine]


def check_captions(
    folder: Path, findings: Findings, progress: Progress
) -> tuple[list[CaptionSummary], dict[str, FileLine]]:
    """Check each caption file of a collection, and compare the files with each other.

    Args:
        folder: The folder of the collection.
        findings: Collects the problems and warnings.
        progress: Shows the number of files that were read.

    Returns:
        The content of each file, and the first caption of each video.
    """
    if os.path.isdir(folder / ADDED_FOLDER):
        findings.problems.add(
            "TextData", "`mlcmr prepare` adds captions now, or was stopped while it did: then run it again"
        )
    files = _find_files(folder, findings)
    files.sort(key=lambda file: file.order)
    summaries: list[CaptionSummary] = []
    splits: list[_SplitContent] = []
    with progress.task("caption files", len(files)) as task:
        for name, group in groupby(files, key=lambda file: file.split):
            in_split = list(group)
            first_lines: dict[str, FileLine] = {}
            for file in in_split:
                _check_file(file, findings)
                summaries.append(CaptionSummary(name, file.label, file.count, len(file.videos)))
                for video, line in file.videos.items():
                    first_lines.setdefault(video, FileLine(file.name, line))
                task.advance(note=file.name)
            _compare_files(in_split, findings)
            languages = {language for file in in_split for language in file.languages}
            human = {language for file in in_split if file.source is None for language in file.languages}
            splits.append(_SplitContent(name, languages, human, first_lines))
            for file in in_split:
                file.lines.clear()
    if files:
        _check_split_languages({split.name: split for split in splits}, findings)
    for first, second in combinations(splits, 2):
        _check_overlap(first, second, findings)
    return summaries, {video: line for split in reversed(splits) for video, line in split.first_lines.items()}


def _find_files(folder: Path, findings: Findings) -> list[CaptionFile]:
    """Return the caption files whose names begin with the name of the collection."""
    text = folder / "TextData"
    paths = sorted(path for path in text.glob(f"*{ENDING}") if not path.name.startswith("."))
    collection = open_collection(folder.parent, folder.name)
    name = collection.name_in_files
    if not paths:
        message = f"no {name}<split>{ENDING} in it" if os.path.isdir(text) else "no such folder"
        findings.problems.add("TextData", message)
    if collection.renaming:
        findings.problems.add("TextData", collection.renaming)
    files = []
    for path in paths:
        file = _parse_name(path, name)
        if file is None:
            message = (
                f"nothing reads it, as its name is not {name}<split><suffix>{ENDING}; rename or remove it"
            )
            findings.problems.add(path.name, message)
        else:
            files.append(file)
            if file.split not in SPLITS:
                findings.warnings.add(path.name, f"the split '{file.split}' is none of {', '.join(SPLITS)}")
    return files


def _parse_name(path: Path, name: str) -> CaptionFile | None:
    """Return the meaning of a file name; None if the name is not `<name><split><suffix>`."""
    stem = _stem(path)
    split, underscore, suffix = stem.removeprefix(name).partition("_")
    if not stem.startswith(name) or not split:
        return None
    return CaptionFile(path, split, underscore + suffix)


def _stem(path: Path) -> str:
    return path.name.removesuffix(ENDING)


def _check_file(file: CaptionFile, findings: Findings) -> None:
    def report(line: int, kind: str, message: str) -> None:
        findings.problems.add(file.name, message, line=line, kind=kind)

    try:
        captions, line_of = scan_captions(file.path, report)
    except MlcmrError as error:
        findings.problems.add(file.name, str(error).removeprefix(f"{file.path}: "))
        return
    file.count = len(captions)
    if not file.count:
        findings.problems.add(file.name, "no captions")
        return
    file.tag = _tag(captions.ids[0])
    file.languages = set(captions.languages)
    file.videos = _first_line_of(captions.videos, line_of)
    file.lines = _first_line_of(captions.keys, line_of)
    _check_texts(file, captions, line_of, findings)
    if file.suffix == HALF:
        _check_half(file, captions, findings)
    else:
        _check_tags(file, captions, line_of, findings)
        _check_numbers(file, captions, line_of, findings)


def _check_texts(file: CaptionFile, captions: Captions, line_of: Sequence[int], findings: Findings) -> None:
    """Check that each caption has text, and that cleaning leaves some of the text."""
    profiles = {language: language_profile(language) for language in file.languages}
    unread = []
    for row, (language, text) in enumerate(zip(captions.languages, captions.texts, strict=True)):
        if not text or text.isspace():
            message = f"caption '{captions.ids[row]}' has no text"
            findings.problems.add(file.name, message, line=line_of[row], kind="captions without text")
        elif profiles[language].is_blank(text):
            unread.append(line_of[row])
    if unread:
        message = f"{plural(len(unread), 'caption')} without a letter or digit, blank once cleaned"
        findings.warnings.add(file.name, f"{message}; the first in line {unread[0]}")


def _check_half(file: CaptionFile, captions: Captions, findings: Findings) -> None:
    """Check that each video of the unparallel scenario has captions in one language."""
    languages: dict[str, set[str]] = defaultdict(set)
    for video, language in zip(captions.videos, captions.languages, strict=True):
        languages[video].add(language)
    file.label = " + ".join(sorted(file.languages)) + " (half)"
    several = [video for video, of_video in languages.items() if len(of_video) > 1]
    if several:
        message = f"{len(several):,} of {len(languages):,} videos with captions in several languages"
        findings.warnings.add(file.name, f"{message}, so not unparallel; the first is '{several[0]}'")
    if len(file.languages) == 1:
        findings.warnings.add(file.name, f"all captions are in one language, '{captions.languages[0]}'")


def _check_tags(file: CaptionFile, captions: Captions, line_of: Sequence[int], findings: Findings) -> None:
    """Check that the tags of captions agree with the file's name: the language, and machine or human."""
    translated = file.source is not None
    misplaced = []
    for caption_id, language, line in zip(captions.ids, captions.languages, line_of, strict=True):
        if language != file.language:
            message = f"caption '{caption_id}' is in '{language}', the file's name says '{file.language}'"
            kind = f"captions that are not in '{file.language}'"
            findings.problems.add(file.name, message, line=line, kind=kind)
        elif ("2" in caption_id and "2" in _tag(caption_id)) != translated:
            misplaced.append(line)
    if misplaced:
        tagged, named = ("people", "a machine") if file.source else ("a machine", "people")
        count = plural(len(misplaced), "caption")
        message = f"{count} by {tagged} as the tags say, by {named} as the file's name says"
        findings.warnings.add(file.name, f"{message}; the first in line {misplaced[0]}")


def _check_numbers(file: CaptionFile, captions: Captions, line_of: Sequence[int], findings: Findings) -> None:
    """Check that each caption of a video has its own number."""
    if len(file.lines) == len(captions):
        return
    id_of: dict[str, str] = {}
    for caption_id, key, line in zip(captions.ids, captions.keys, line_of, strict=True):
        if id_of.setdefault(key, caption_id) != caption_id:
            message = f"caption '{caption_id}' has the video and number of '{id_of[key]}'"
            findings.problems.add(file.name, message, line=line, kind="captions that share video and number")


def _compare_files(files: list[CaptionFile], findings: Findings) -> None:
    """Check that captions of a split have their counterparts and translations."""
    by_suffix = {file.suffix: file for file in files if file.count}
    people = [file for file in by_suffix.values() if file.source is None and file.suffix != HALF]
    for other in people[1:]:
        _compare_languages(people[0], other, findings)
    for file in by_suffix.values():
        if file.source is None:
            continue
        original = by_suffix.get(language_profile(file.source).suffix)
        if original is None:
            message = f"the original captions, in '{file.source}', do not exist"
            findings.warnings.add(file.name, message)
        elif file.lines.keys() != original.lines.keys():
            _compare_translations(file, original, findings)


def _compare_languages(first: CaptionFile, second: CaptionFile, findings: Findings) -> None:
    """Compare captions that people wrote in two languages.

    Captions of a video that has captions in both languages should match. It may be intended that a language
    lacks whole videos, or that its captions are numbered in another way: then there are only warnings.
    """
    if first.lines.keys() == second.lines.keys():
        return
    shared = [key for key in first.lines if _video(key) in second.videos]
    paired = sum(key in second.lines for key in shared)
    if paired < len(shared) / 2:
        message = f"the same number for only {paired:,} of {plural(len(shared), 'caption')} of {first.name}"
        findings.warnings.add(second.name, f"{message}, so the two cannot be paired")
        return
    for file, other in ((second, first), (first, second)):
        keys = [key for key in other.lines if _video(key) in file.videos]
        _report_missing(file, other, keys, "captions without a counterpart", findings)
        missing = [video for video in other.videos if video not in file.videos]
        if missing:
            message = f"no captions for {len(missing):,} of the {len(other.videos):,} videos of {other.name}"
            findings.warnings.add(file.name, f"{message}; the first is '{missing[0]}'")


def _compare_translations(file: CaptionFile, original: CaptionFile, findings: Findings) -> None:
    _report_missing(file, original, list(original.lines), "captions without a translation", findings)
    extra = [line for key, line in file.lines.items() if key not in original.lines]
    if extra:
        message = f"translations of {plural(len(extra), 'caption')} that {original.name} lacks"
        findings.warnings.add(file.name, f"{message}; the first in line {extra[0]}")


def _report_missing(
    file: CaptionFile, other: CaptionFile, keys: list[str], kind: str, findings: Findings
) -> None:
    """Report the captions of another file that a file lacks."""
    for key in keys:
        if key not in file.lines:
            video, _, number = key.rpartition("#")
            message = f"no caption '{video}#{file.tag}#{number}' for {other.name}:{other.lines[key]}"
            findings.problems.add(file.name, message, kind=kind)


def _check_split_languages(splits: Mapping[str, _SplitContent], findings: Findings) -> None:
    """Check that each language of the training captions has captions to validate and to test on."""
    trained = splits["train"].languages if "train" in splits else set()
    for name, use in _USE_OF_SPLIT.items():
        if name not in splits:
            findings.warnings.add("TextData", f"no captions of the split {name}, nothing {use}")
        elif name != "train":
            for language in sorted(trained - splits[name].human):
                message = f"no captions of the split {name} by people in '{language}', a language of train"
                findings.warnings.add("TextData", f"{message}: nothing {use}")


def _check_overlap(first: _SplitContent, second: _SplitContent, findings: Findings) -> None:
    """Check that no video of the training split is in another split."""
    both = [video for video in second.first_lines if video in first.first_lines]
    if first.name == "train" and second.name in SPLITS:
        for video in both:
            file, line = second.first_lines[video]
            message = f"video '{video}' is in the split train too ({first.first_lines[video]})"
            findings.problems.add(
                file, message, line=line, kind=f"videos that are in train and {second.name}"
            )
    elif both:
        message = (
            f"{len(both):,} of {len(second.first_lines):,} videos of the split {second.name} are in "
            f"{first.name} too; the first is '{both[0]}' ({first.first_lines[both[0]]})"
        )
        findings.warnings.add("TextData", message)


def _first_line_of(names: Sequence[str], line_of: Sequence[int]) -> dict[str, int]:
    """Return the line in which each name occurs first."""
    lines = dict(zip(names, line_of, strict=True))
    if len(lines) == len(names):
        return lines
    lines = {}
    for name, line in zip(names, line_of, strict=True):
        lines.setdefault(name, line)
    return lines


def _tag(caption_id: str) -> str:
    return caption_id.split("#", 2)[1]


def _video(key: str) -> str:
    return key.rpartition("#")[0]
