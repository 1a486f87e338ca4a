"""Assign videos to splits: as the files or lists say, as existing captions do, or by chance."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, repeat

from mlcmr.data.collection import SPLITS
from mlcmr.data.prepare.annotated_videos import AnnotatedVideo
from mlcmr.data.prepare.annotations import find_split
from mlcmr.data.prepare.existing import ExistingCaptions
from mlcmr.data.prepare.summary import PrepareSummary
from mlcmr.errors import CorruptFileError, InvalidValueError
from mlcmr.text import plural

SHARES = (0.8, 0.1, 0.1)
"""The shares of the videos to train, to validate and to test on, by default."""


def choose_splits(
    captioned: Iterable[str],
    videos: Mapping[str, AnnotatedVideo],
    existing: ExistingCaptions,
    summary: PrepareSummary,
    *,
    listed: Mapping[str, str] | None,
    shares: Sequence[float],
    seed: int,
    split_given: bool,
) -> Mapping[str, str]:
    """Return the split of each video; videos that belong to no split of existing captions are left out.

    Args:
        captioned: The videos with captions.
        videos: All videos of the annotations.
        existing: The captions that the collection has already.
        summary: Records the source of the splits.
        listed: The split of each video in a list; None if there are no lists.
        shares: The shares of the splits; empty for those of the files, or the default shares.
        seed: Another seed makes other splits by chance.
        split_given: Whether the caller gave the split of each file.
    """
    captioned = list(captioned)
    named: dict[str, str] = {}
    if listed is None and not shares:
        named = _splits_of_vatex(
            {name: video for name, video in videos.items() if name not in existing.split_of}, summary
        )
    if existing.split_of:
        # A row of VATEX that names a split goes before the name of its file, also of a video that is there.
        kept = {video for video in existing.split_of if video in videos and videos[video].vatex_splits}
        new: Mapping[str, str | None] = (
            {video: named.get(video) or videos[video].split for video in captioned if video not in kept}
            if listed is None
            else listed
        )
        split_of = existing.assign_splits(new, captioned)
        summary.split_source = "as in the captions that are there"
        summary.unplaced = len(captioned) - len(split_of)
        return split_of
    if listed is not None:
        summary.split_source = "by the lists of videos"
        return listed
    by_files = not shares and any(videos[video].split for video in captioned)
    if by_files or (named and all(video in named for video in captioned)):
        summary.split_source = (
            "as `split` says" if split_given else "as the files say, in a column or by their names"
        )
        return _splits_by_files(captioned, videos, named)
    shares = shares or SHARES
    summary.split_source = f"by chance, {' : '.join(f'{share:g}' for share in shares)}, seed {seed}"
    summary.by_chance = True
    # A model must not be tested on scenes of a video that it was trained on.
    source_of = {video: videos[video].source for video in captioned}
    if len(set(source_of.values())) < sum(map(bool, shares)):
        source_of = {video: video for video in captioned}
    elif len(set(source_of.values())) < len(source_of):
        summary.split_source += "; clips of one video are in one split"
    by_source = splits_by_chance(list(dict.fromkeys(source_of.values())), shares, seed)
    if named:
        summary.split_source = f"as the files say, in a column; other videos {summary.split_source}"
    return {video: named.get(video) or by_source[source] for video, source in source_of.items()}


def splits_by_chance(videos: Sequence[str], shares: Sequence[float], seed: int) -> dict[str, str]:
    """Return the split of each video, which a hash of `seed` and video decides.

    Args:
        videos: The videos.
        shares: The shares of train, val and test; each split with a share gets at least one video.
        seed: Another seed makes other splits.

    Raises:
        InvalidValueError: If there are not three shares, a share is negative or infinite, or the videos are
            too few.
    """
    if (
        len(shares) != len(SPLITS)
        or not all(0 <= share < float("inf") for share in shares)
        or not sum(shares)
    ):
        raise InvalidValueError(
            f"`shares` {' '.join(f'{share:g}' for share in shares)}: expected three shares, to train, to "
            "validate and to test on, such as 0.8 0.1 0.1",
            parameter="shares",
        )
    total = sum(shares)
    sizes = [max(round(len(videos) * share / total), 1) if share else 0 for share in shares]
    largest = max(range(len(shares)), key=lambda place: shares[place])
    sizes[largest] += len(videos) - sum(sizes)
    if sizes[largest] < 1:
        raise InvalidValueError(
            f"{plural(len(videos), 'video')} with captions: too few for {sum(map(bool, shares))} splits; "
            "`shares` 1 0 0 trains on all",
            parameter="shares",
        )

    split_of_place = chain.from_iterable(map(repeat, SPLITS, sizes))
    return dict(zip(shuffled(videos, seed), split_of_place, strict=True))


def shuffled(videos: Iterable[str], seed: int) -> list[str]:
    """Return the videos in an order that depends only on `seed` and their names."""

    def digest(video: str) -> bytes:
        return hashlib.blake2b(f"{seed}:{video}".encode(), digest_size=16).digest()

    return sorted(videos, key=digest)


def _splits_of_vatex(videos: Mapping[str, AnnotatedVideo], summary: PrepareSummary) -> dict[str, str]:
    """Return the splits that rows of VATEX name, and count the names that are unknown.

    Raises:
        CorruptFileError: If rows name two splits for one video.
    """
    split_of = {}
    for name, video in videos.items():
        named = {split: where for word, where in video.vatex_splits.items() if (split := find_split(word))}
        if len(named) > 1:
            (first, before), (split, where) = list(named.items())[:2]
            raise CorruptFileError(
                f"{where}: video '{name}' is in split {split}, but in split {first} at {before}"
            )
        if named:
            split_of[name] = next(iter(named))
        else:
            summary.unknown_splits.update(video.vatex_splits.keys())
    return split_of


def _splits_by_files(
    captioned: Iterable[str], videos: Mapping[str, AnnotatedVideo], named: Mapping[str, str]
) -> dict[str, str]:
    """Return the split that the annotation files give for each video; rows of VATEX go before file names.

    Raises:
        CorruptFileError: If the files give no split for a video.
    """
    split_of = {}
    for video in captioned:
        split = named.get(video) or videos[video].split
        if split is None:
            raise CorruptFileError(
                f"{videos[video].where}: no split for video '{video}', while others have one: say it with "
                "`split`, or let `shares` make all of them"
            )
        split_of[video] = split
    return split_of
