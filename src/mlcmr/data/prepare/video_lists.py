"""Lists of videos: the splits that they give, and their captions."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, count

from mlcmr.data.prepare.annotations import VideoList
from mlcmr.data.prepare.clip_ids import ClipIds
from mlcmr.data.prepare.existing import CaptionsOfVideo, ExistingCaptions
from mlcmr.data.prepare.pairing import clean_caption
from mlcmr.data.prepare.summary import PrepareSummary
from mlcmr.errors import CorruptFileError, InvalidValueError


def parse_split_lists(words: Sequence[str]) -> dict[str, str]:
    """Return the file of each split, given words such as `test=FILE`.

    Raises:
        InvalidValueError: If a word lacks `=` or a file, or a split is named twice.
    """
    pairs = [word.partition("=") for word in words]
    files = {split: file for split, _, file in pairs}
    if len(files) < len(words) or not all(files.values()):
        raise InvalidValueError(
            f"`split_lists` {' '.join(words)}: expected train=FILE, val=FILE, test=FILE or some of them",
            parameter="split_lists",
        )
    return files


def splits_by_lists(lists: Mapping[str, VideoList], ids: ClipIds) -> dict[str, str]:
    """Return the split of each video in a list.

    Raises:
        CorruptFileError: If a video is in the lists of two splits.
    """
    split_of: dict[str, str] = {}
    for split, videos in lists.items():
        for clip in videos.clips:
            video = ids.of(clip)
            if split_of.setdefault(video, split) != split:
                raise CorruptFileError(
                    f"{clip.where}: video '{video}' is in the list of {split_of[video]} too", path=videos.path
                )
    return split_of


def keep_listed_captions(
    captions: dict[str, CaptionsOfVideo],
    lists: Iterable[VideoList],
    ids: ClipIds,
    existing: ExistingCaptions,
    summary: PrepareSummary,
) -> None:
    """Replace the captions of videos whose lists have captions by these, and keep their counterparts.

    Args:
        captions: The captions of each video, which change.
        lists: The lists of videos.
        ids: Gives the ids of videos.
        existing: The captions that the collection has already.
        summary: Counts the captions that are left out.

    Raises:
        InvalidValueError: If no list has captions.
    """
    annotations = list(chain.from_iterable(videos.captions for videos in lists))
    if not annotations:
        raise InvalidValueError(
            "`list_captions`: no file of `split_lists` has a column with captions", parameter="list_captions"
        )
    listed: dict[str, dict[str, dict[str, None]]] = {}
    for annotation in annotations:
        if text := clean_caption(annotation):
            of_video = listed.setdefault(ids.of(annotation.clip), {})
            of_video.setdefault(annotation.language, {})[text] = None
    for video, by_language in listed.items():
        before = captions.get(video, {})
        numbered = [*before.values(), *existing.videos.get(video, {}).values()]
        unused = count(1 + max(chain.from_iterable(numbered), default=-1))
        kept: CaptionsOfVideo = {}
        for language, texts in by_language.items():
            of_language = before.get(language, {})
            number_of = {text: number for number, text in reversed(of_language.items())}
            kept[language] = {number_of[text] if text in number_of else next(unused): text for text in texts}
            summary.replaced += len(of_language.keys() - kept[language].keys())
        numbers = set(chain.from_iterable(kept.values()))
        for language in before.keys() - by_language.keys():
            of_language = before[language]
            kept[language] = {number: text for number, text in of_language.items() if number in numbers}
            summary.without_counterpart += len(of_language) - len(kept[language])
        captions[video] = {language: numbered for language, numbered in kept.items() if numbered}
