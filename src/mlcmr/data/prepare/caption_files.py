"""Write the caption files of a collection."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, product
from pathlib import Path

from mlcmr.data.captions import write_captions
from mlcmr.data.collection import HALF, SPLITS, Collection
from mlcmr.data.languages import language_profile
from mlcmr.data.prepare.existing import CaptionsOfVideo, ExistingCaptions, languages_of
from mlcmr.data.prepare.splits import shuffled
from mlcmr.data.prepare.summary import PrepareSummary
from mlcmr.data.scenarios import human_caption_file
from mlcmr.errors import InvalidValueError

LanguageOfVideo = dict[str, str]
"""The language in which a file has the captions of each video."""


def write_caption_files(
    captions: Mapping[str, CaptionsOfVideo],
    split_of: Mapping[str, str],
    existing: ExistingCaptions,
    summary: PrepareSummary,
    seed: int,
) -> None:
    """Write a file for each split and language, and the file for the unparallel scenario.

    Args:
        captions: The captions of each video.
        split_of: The split of each video.
        existing: The captions that the collection has already.
        summary: Counts the captions of each file.
        seed: Decides the languages of videos in the unparallel scenario.

    Raises:
        InvalidValueError: If a file exists already.
    """
    training = {video: of_video for video, of_video in captions.items() if split_of[video] == "train"}
    if training:
        for video, of_video in existing.videos.items():
            if existing.split_of[video] == "train":
                training[video] = of_video | training.get(video, {})
    files = {
        **_plan_files(captions, split_of, existing.collection, summary),
        **_plan_half(training, existing.collection, summary, seed),
    }
    for path in files:
        if path.exists():
            raise InvalidValueError(
                f"{path}: there are captions already; remove the file or name another `collection`",
                path=path,
                parameter="collection",
            )
    all_captions = {**captions, **training}
    with existing.adding() as folder:
        for path, language_of in files.items():
            lines = (
                _caption_lines(video, all_captions[video], language)
                for video, language in language_of.items()
            )
            write_captions(folder / path.name, chain.from_iterable(lines))


def _plan_files(
    captions: Mapping[str, CaptionsOfVideo],
    split_of: Mapping[str, str],
    collection: Collection,
    summary: PrepareSummary,
) -> dict[Path, LanguageOfVideo]:
    """Return the videos of the file of each split and language."""
    files: dict[Path, LanguageOfVideo] = {}
    for split, language in product(SPLITS, languages_of(captions.values())):
        videos = [video for video in captions if split_of[video] == split and captions[video].get(language)]
        if videos:
            files[human_caption_file(collection, split, language)] = dict.fromkeys(videos, language)
            summary.captions[split, language] = sum(len(captions[video][language]) for video in videos)
            summary.videos[split, language] = len(videos)
    return files


def _plan_half(
    training: Mapping[str, CaptionsOfVideo], collection: Collection, summary: PrepareSummary, seed: int
) -> dict[Path, LanguageOfVideo]:
    """Return the language of each video in the file for the unparallel scenario; empty without a file.

    An existing file stays, and captions in one language make no such file.
    """
    path, languages = collection.caption_file("train", HALF), languages_of(training.values())
    summary.half_kept = bool(training) and path.exists()
    if len(languages) < 2 or path.exists():
        return {}
    language_of = _choose_languages(training, languages, seed)
    counts = Counter(language_of.values())
    summary.halves = {language: counts[language] for language in languages}
    return {path: language_of}


def _caption_lines(video: str, captions: CaptionsOfVideo, language: str) -> Iterator[tuple[str, str]]:
    """Yield the id and the text of each caption of a video."""
    tag = language_profile(language).tag
    for number, text in captions.get(language, {}).items():
        yield f"{video}#{tag}#{number}", text


def _choose_languages(
    captions: Mapping[str, CaptionsOfVideo], languages: Sequence[str], seed: int
) -> LanguageOfVideo:
    """Choose one language of each video by chance, and each language for about as many videos."""
    choices = {
        video: [language for language in languages if captions[video].get(language)]
        for video in shuffled(captions, seed)
    }
    counts = dict.fromkeys(languages, 0)
    chosen = {}
    # Videos in few languages come first: the others balance the counts.
    for video in sorted(filter(choices.__getitem__, choices), key=lambda video: len(choices[video])):
        chosen[video] = min(choices[video], key=counts.__getitem__)
        counts[chosen[video]] += 1
    return {video: chosen[video] for video in captions if video in chosen}
