"""The videos of several annotation files, with their captions."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from mlcmr.data.languages import language_code
from mlcmr.data.prepare.annotations import Annotation, read_annotations, split_by_name, split_code
from mlcmr.data.prepare.clip_ids import ClipIds
from mlcmr.data.prepare.tables import ColumnNames
from mlcmr.errors import CorruptFileError, InvalidValueError
from mlcmr.paths import user_path
from mlcmr.progress import Progress


class AnnotationFile(NamedTuple):
    """An annotation file.

    Attributes:
        path: The file.
        language: The language of all its captions; None if the file names the languages.
        split: The split of all its captions; None if the file may name the splits.
    """

    path: Path
    language: str | None
    split: str | None


@dataclass(slots=True)
class AnnotatedVideo:
    """A video in the annotations.

    Attributes:
        source: The video that it is a clip of, or its own id.
        split: The split that the files say; None if they say none.
        where: The first place that names the video, for messages.
        captions: The captions by language.
        vatex_splits: The splits in rows of VATEX, as written, and the first place of each.
    """

    source: str
    split: str | None
    where: str
    captions: dict[str, list[Annotation]] = field(default_factory=dict)
    vatex_splits: dict[str, str] = field(default_factory=dict)


def annotation_files(
    files: Sequence[str | os.PathLike[str]], language: Sequence[str], split: Sequence[str]
) -> list[AnnotationFile]:
    """Return the files with the language and the split that the caller gave for each.

    Raises:
        InvalidValueError: If a language or a split is unknown, or their number is neither one nor the number
            of files.
    """

    def one_per_file(values: list[str], parameter: str) -> Sequence[str | None]:
        if len(values) > 1 and len(values) != len(files):
            raise InvalidValueError(
                f"`{parameter}`: give one for all, or one for each of the {len(files)} files",
                parameter=parameter,
            )
        return values if len(values) == len(files) else [*values, None][:1] * len(files)

    languages = one_per_file([language_code(name) for name in language], "language")
    splits = one_per_file([split_code(name) for name in split], "split")
    paths = [user_path(file) for file in files]
    return [AnnotationFile(*file) for file in zip(paths, languages, splits, strict=True)]


def read_annotation_files(
    files: Sequence[AnnotationFile], columns: ColumnNames, unknown: Counter[str], progress: Progress
) -> Iterator[Annotation]:
    """Yield the captions of all files.

    Args:
        files: The files.
        columns: The names of the columns of tables.
        unknown: Counts the captions in unknown languages, which are left out.
        progress: Shows the number of files that were read.
    """
    with progress.task("reading", len(files)) as task:
        for file in files:
            by_name = split_by_name(file.path)
            for caption in read_annotations(file.path, columns, file.language, unknown):
                yield caption._replace(
                    split=file.split or caption.split or by_name,
                    vatex_split=None if file.split else caption.vatex_split,
                )
            task.advance(note=file.path.name)


def group_by_video(captions: Iterable[Annotation], ids: ClipIds) -> dict[str, AnnotatedVideo]:
    """Return the videos by id, with their captions.

    Raises:
        CorruptFileError: If a video is in two splits.
    """
    videos: dict[str, AnnotatedVideo] = {}
    for caption in captions:
        name, where = ids.of(caption.clip), caption.clip.where
        video = videos.setdefault(name, AnnotatedVideo(ids.source_of(caption.clip), caption.split, where))
        if video.split != caption.split:
            here, before = (
                f"split {split}" if split else "no split" for split in (caption.split, video.split)
            )
            raise CorruptFileError(f"{where}: video '{name}' is in {here}, but in {before} at {video.where}")
        if caption.vatex_split is not None:
            video.vatex_splits.setdefault(caption.vatex_split, where)
        if caption.text is not None:
            video.captions.setdefault(caption.language, []).append(caption)
    return videos


def numbered_languages(videos: Iterable[AnnotatedVideo]) -> set[str]:
    """Return the languages all of whose captions have a number in the files, as in VATEX."""
    numbered: dict[str, bool] = {}
    for video in videos:
        for language, captions in video.captions.items():
            so_far = numbered.get(language, True)
            numbered[language] = so_far and all(caption.number is not None for caption in captions)
    return {language for language, everywhere in numbered.items() if everywhere}


def similar_ids(videos: Iterable[str]) -> tuple[str, ...]:
    """Return the first two ids that differ only in upper and lower case; empty if no two ids do."""
    seen: dict[str, str] = {}
    for video in videos:
        if seen.setdefault(video.casefold(), video) != video:
            return seen[video.casefold()], video
    return ()
