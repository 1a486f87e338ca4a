"""Convert annotation files to the caption files of a collection."""

import os
from collections.abc import Mapping, Sequence
from itertools import chain

from mlcmr.arguments import check_arguments
from mlcmr.data.languages import language_code
from mlcmr.data.prepare.annotated_videos import (
    AnnotatedVideo,
    annotation_files,
    group_by_video,
    numbered_languages,
    read_annotation_files,
    similar_ids,
)
from mlcmr.data.prepare.annotations import VideoList, read_list, split_code
from mlcmr.data.prepare.caption_files import write_caption_files
from mlcmr.data.prepare.clip_ids import ClipIds
from mlcmr.data.prepare.existing import CaptionsOfVideo, ExistingCaptions, read_existing
from mlcmr.data.prepare.pairing import number_apart, number_captions, pair_captions
from mlcmr.data.prepare.splits import choose_splits
from mlcmr.data.prepare.summary import PrepareSummary
from mlcmr.data.prepare.tables import ColumnNames
from mlcmr.data.prepare.video_lists import keep_listed_captions, parse_split_lists, splits_by_lists
from mlcmr.errors import CorruptFileError, InvalidValueError
from mlcmr.files import locked
from mlcmr.paths import AnyPath, user_path
from mlcmr.progress import SILENT, Progress


@check_arguments
def prepare(
    files: AnyPath | Sequence[AnyPath],
    collection: AnyPath,
    *,
    video_column: str | None = None,
    text_column: str | None = None,
    language_column: str | None = None,
    split_column: str | None = None,
    start_column: str | None = None,
    end_column: str | None = None,
    language: str | Sequence[str] = (),
    split: str | Sequence[str] = (),
    shares: Sequence[float] = (),
    split_lists: Mapping[str, AnyPath] | Sequence[str] = (),
    list_captions: bool = False,
    seed: int = 0,
    pair: bool = False,
    progress: Progress = SILENT,
) -> PrepareSummary:
    """Make the caption files of a collection from annotations.

    Splits come from `split`, `shares` or `split_lists`. By default they come from the files: from a column,
    or from the name of a file (`vatex_validation_v1.0.json`). If the files say nothing, chance decides: a
    hash of `seed` and video, so that the order and the number of captions do not matter. Clips of one video
    get one split, unless there are fewer videos than splits.

    Captions of a video in different languages make pairs by their order. If some video has more captions in
    one language than in another, that language gets numbers of its own, and no caption is lost.

    For the unparallel scenario, each training video gets one of its languages by chance, and each language
    gets about as many videos.

    If the collection has captions already, captions in other languages and splits are added. Videos stay in
    their splits, and existing files do not change. Either all new files appear, or none.

    Args:
        files: VATEX's or MSR-VTT's annotation JSON; or tables with a caption a row: CSV, TSV, JSON lines, a
            JSON list of objects, Parquet.
        collection: The collection's folder. Captions in other languages or splits may be there: these are
            added to them, and videos stay in their splits.
        video_column: The column's name; by default one of 'video', 'video_id', 'clip', 'path', 'id' …; file
            endings do not count.
        text_column: The column's name; by default one of 'caption', 'text', 'sentence', 'description' …; may
            hold lists, also as text, `['a dog', 'a cat']`.
        language_column: The column's name; by default one of 'language', 'lang', 'locale'.
        split_column: The column's name; by default one of 'split', 'subset', 'partition'.
        start_column: The column's name; by default one of 'start', 'start_time', 'clip_start', 'timestamp' …;
            where a clip of the video begins, or `[start, end]`; ids then are `<video>_<start>_<end>`.
        end_column: The column's name; by default one of 'end', 'end_time', 'clip_end' …; where the clip ends.
        language: The language of all captions, or of each file in turn; goes before a column.
        split: The split of all captions, or of each file in turn: `train`, `val`, `test`; goes before columns
            and file names.
        shares: Make splits by chance, of these shares of the videos to train, to validate and to test on,
            whatever the files say; where they say nothing, 0.8 0.1 0.1.
        split_lists: Take the splits from lists of videos, as test=FILE; videos in none are left out.
        list_captions: Of videos whose list has captions of its own (a column `sentence` …), take these alone:
            the protocol of MSR-VTT 1k-A, with one caption a test video. In English, unless a column or one
            `language` says otherwise.
        seed: Another seed makes other splits by chance.
        pair: Leave out captions that lack a counterpart in another language of their video.
        progress: Shows the number of files that were read.

    Raises:
        InvalidValueError: If parameters contradict each other, two videos get the same id, or the collection
            has captions of this language and split already.
        NotFoundError: If a file does not exist.
        CorruptFileError: If a file is malformed (with file, row and column), or a video is in two splits.
        InUseError: If another process prepares captions in the collection.
    """
    columns = ColumnNames(video_column, text_column, language_column, split_column, start_column, end_column)
    paths: Sequence[AnyPath] = [files] if isinstance(files, str | os.PathLike) else files
    language, split = _as_sequence(language), _as_sequence(split)
    if sum(map(bool, (split, shares, split_lists))) > 1:
        raise InvalidValueError("`split`, `shares` and `split_lists`: give one of them")
    if not isinstance(split_lists, Mapping):
        split_lists = parse_split_lists(split_lists)
    folder = user_path(collection).resolve()
    busy = f"{folder}: another process prepares captions there; wait until it is done"
    with locked(folder / ".prepare.lock", busy):
        existing = read_existing(folder)
        if shares and existing.split_of:
            raise InvalidValueError(
                f"`shares`: {existing.text} has splits already; remove it or name another `collection`",
                path=existing.text,
                parameter="shares",
            )
        summary = PrepareSummary(folder)
        sources = annotation_files(paths, language, split)
        lists = _read_lists(split_lists, columns, language)
        annotations = list(read_annotation_files(sources, columns, summary.unknown, progress))
        listed_clips = chain.from_iterable(videos.clips for videos in lists.values())
        ids = ClipIds([*listed_clips, *(annotation.clip for annotation in annotations)], existing)
        listed = splits_by_lists(lists, ids) if lists else None
        videos = group_by_video(annotations, ids)
        summary.clip_id, summary.whole_id = ids.clip_id, ids.whole_id
        summary.similar_ids = similar_ids(videos)
        if listed is not None:
            summary.unlisted = sum(video not in listed for video in videos)
            videos = {name: video for name, video in videos.items() if name in listed}
        captions = _number_and_pair(videos, existing, summary, pair=pair)
        if list_captions:
            keep_listed_captions(captions, lists.values(), ids, existing, summary)
        else:
            with_captions = (videos.path.name for videos in lists.values() if videos.captions)
            summary.unused_list = next(with_captions, "")
        number_apart(captions, existing, summary.unpaired)
        summary.without_captions = sum(not of_video for of_video in captions.values())
        captions = {video: of_video for video, of_video in captions.items() if of_video}
        if not captions:
            named = ", ".join(str(source.path) for source in sources)
            raise CorruptFileError(f"{named}: {_why_none(summary)}")
        split_of = choose_splits(
            captions,
            videos,
            existing,
            summary,
            listed=listed,
            shares=shares,
            seed=seed,
            split_given=bool(split),
        )
        captions = {video: of_video for video, of_video in captions.items() if video in split_of}
        write_caption_files(captions, split_of, existing, summary, seed)
        return summary


def _as_sequence(value: str | Sequence[str]) -> Sequence[str]:
    return [value] if isinstance(value, str) else value


def _read_lists(
    split_lists: Mapping[str, AnyPath], columns: ColumnNames, language: Sequence[str]
) -> dict[str, VideoList]:
    """Return the list of each split; its captions are in the one language given, else in English."""
    language_of_lists = language_code(language[0]) if len(set(language)) == 1 else "en"
    return {
        split_code(split): read_list(user_path(file), columns, language_of_lists)
        for split, file in split_lists.items()
    }


def _number_and_pair(
    videos: Mapping[str, AnnotatedVideo], existing: ExistingCaptions, summary: PrepareSummary, *, pair: bool
) -> dict[str, CaptionsOfVideo]:
    numbered = {name: number_captions(video.captions, summary) for name, video in videos.items()}
    return pair_captions(numbered, existing, numbered_languages(videos.values()), summary, pair=pair)


def _why_none(summary: PrepareSummary) -> str:
    """Return why no captions are left, for the error message."""
    if summary.without_counterpart:
        return "no captions with a counterpart in another language"
    if summary.unlisted:
        return "no captions of the videos in `split_lists`"
    others = f" in a known language, but in {sorted(summary.unknown)}" if summary.unknown else ""
    return f"no captions in it{others}"
