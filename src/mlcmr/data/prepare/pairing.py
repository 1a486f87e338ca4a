"""Number captions: captions of a video with the same number make a pair.

A caption's number is its position in the annotations, before blank captions and duplicates are left out.
Otherwise a caption that is left out would shift the numbers of its own language only.
"""

from collections.abc import Mapping, Sequence

from mlcmr.data.prepare.annotations import Annotation
from mlcmr.data.prepare.cells import clean_text
from mlcmr.data.prepare.existing import CaptionsOfVideo, ExistingCaptions, languages_of
from mlcmr.data.prepare.summary import PrepareSummary
from mlcmr.errors import CorruptFileError


def number_captions(rows: Mapping[str, Sequence[Annotation]], summary: PrepareSummary) -> CaptionsOfVideo:
    """Return the captions of one video by language and number; blank captions have a number too.

    Args:
        rows: The captions of each language. Captions without a number follow the numbered ones.
        summary: Counts what is left out.

    Returns:
        The captions of the languages that have any text.

    Raises:
        CorruptFileError: If two different captions of one language have the same number in the annotations.
    """
    captions: CaptionsOfVideo = {}
    for language, annotations in rows.items():
        numbered: dict[int, str] = {}
        following = 0
        for row in sorted(annotations, key=lambda row: row.number is None):
            text = clean_caption(row)
            number = following if row.number is None else row.number
            following = max(following, number + 1)
            before = numbered.get(number, "")
            if before and text and before != text:
                what = f"caption {number} of video '{row.clip.video}' in '{language}'"
                raise CorruptFileError(f"{row.clip.where}: {what} was another before: '{before:.40}'")
            summary.blank += not text
            summary.duplicates += bool(text and before)
            numbered[number] = text or before
        if any(numbered.values()):
            captions[language] = numbered
    return captions


def clean_caption(row: Annotation) -> str:
    """Return the text of a caption on one line, without invisible characters.

    Raises:
        CorruptFileError: If the text has an unpaired surrogate, so that it is not Unicode.
    """
    text = clean_text(row.text or "")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise CorruptFileError(
            f"{row.clip.where}: caption with an unpaired surrogate, half a character: {text!r:.60}"
        ) from error
    return text


def pair_captions(
    captions: Mapping[str, CaptionsOfVideo],
    existing: ExistingCaptions,
    numbered_by_files: set[str],
    summary: PrepareSummary,
    *,
    pair: bool,
) -> dict[str, CaptionsOfVideo]:
    """Leave out blank captions, and captions whose pair occurs already with the same texts.

    Languages whose captions cannot be paired are recorded in `summary.unpaired`; see `number_apart`.

    Args:
        captions: The captions of each video, from `number_captions`.
        existing: The captions that the collection has already; they stay as they are.
        numbered_by_files: The languages whose captions belong together by the numbers in the annotations.
        summary: Counts what is left out.
        pair: Pair every language, and leave out captions without a counterpart.
    """
    languages = languages_of([*captions.values(), *existing.videos.values()])
    # Languages that exist already come first: the others follow their numbers.
    languages.sort(key=lambda language: language not in existing.languages)
    paired = languages if pair else _find_paired(languages, captions, existing, numbered_by_files)
    unpaired = [language for language in languages if language not in paired]
    kept: dict[str, CaptionsOfVideo] = {}
    for video, of_video in captions.items():
        fixed = existing.videos.get(video, {})
        kept[video] = {}
        for group in (paired, *([language] for language in unpaired)):
            of_group = {language: of_video[language] for language in group if language in of_video}
            counterparts = [
                fixed[language] for language in group if language in fixed.keys() - of_video.keys()
            ]
            kept[video] |= _keep_complete(of_group, counterparts, summary)
    summary.unpaired = [
        language for language in unpaired if any(language in of_video for of_video in kept.values())
    ]
    return kept


def number_apart(
    captions: Mapping[str, CaptionsOfVideo], existing: ExistingCaptions, unpaired: Sequence[str]
) -> None:
    """Give the captions of languages that make no pairs numbers after those of all other languages.

    Then the numbers of two captions of a video are equal if and only if the captions make a pair.

    Args:
        captions: The captions of each video, which change.
        existing: The captions that the collection has already; they stay as they are.
        unpaired: The languages that make no pairs.
    """
    for video, of_video in captions.items():
        others = existing.videos.get(video, {}) | of_video
        last = max(
            (max(numbered) for language, numbered in others.items() if language not in unpaired), default=-1
        )
        for language in unpaired:
            if language in of_video:
                first = last + 1
                of_video[language] = {first + number: text for number, text in of_video[language].items()}
                last = max(of_video[language])


def _find_paired(
    languages: Sequence[str],
    captions: Mapping[str, CaptionsOfVideo],
    existing: ExistingCaptions,
    numbered_by_files: set[str],
) -> list[str]:
    """Return the languages whose captions make pairs by their numbers."""
    videos = [
        (captions.get(video, {}), existing.videos.get(video, {}))
        for video in dict.fromkeys([*captions, *existing.videos])
    ]

    def belong_together(language: str, other: str) -> bool:
        return {language, other} <= numbered_by_files or all(
            _can_be_paired(language, other, *video) for video in videos
        )

    paired: list[str] = []
    for language in languages:
        if all(belong_together(language, other) for other in paired):
            paired.append(language)
    return paired


def _can_be_paired(language: str, other: str, captions: CaptionsOfVideo, fixed: CaptionsOfVideo) -> bool:
    """Return whether the captions of a video in two languages can be paired by their numbers.

    Existing captions may lack numbers in the middle, as blank captions and duplicates were left out.
    """
    both = captions | fixed
    if language not in both or other not in both:
        return True
    if (language in fixed) == (other in fixed):
        return _numbers_of_texts(both[language]) == _numbers_of_texts(both[other])
    old, new = (language, other) if language in fixed else (other, language)
    numbers = both[old].keys()
    return (min(numbers), max(numbers)) == (min(both[new]), max(both[new])) and (
        numbers <= _numbers_of_texts(both[new])
    )


def _numbers_of_texts(numbered: Mapping[int, str]) -> set[int]:
    return {number for number, text in numbered.items() if text}


def _keep_complete(
    captions: CaptionsOfVideo, counterparts: Sequence[Mapping[int, str]], summary: PrepareSummary
) -> CaptionsOfVideo:
    """Keep the captions of a video whose numbers exist in every language, without duplicates.

    Args:
        captions: Captions that belong together by their numbers.
        counterparts: Existing captions in other languages that make pairs with these captions; no existing
            caption loses its counterpart.
        summary: Counts what is left out.
    """
    kept: CaptionsOfVideo = {}
    seen: set[tuple[str, ...]] = set()
    for number in sorted({number for numbered in captions.values() for number in numbered}):
        texts = {language: numbered.get(number, "") for language, numbered in captions.items()}
        if not all(texts.values()) or not all(number in others for others in counterparts):
            summary.without_counterpart += sum(map(bool, texts.values()))
        elif not counterparts and tuple(texts.values()) in seen:
            summary.duplicates += len(texts)
        else:
            seen.add(tuple(texts.values()))
            for language, text in texts.items():
                kept.setdefault(language, {})[number] = text
    return kept
