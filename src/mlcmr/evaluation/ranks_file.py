"""The ranks of an evaluation on disk, `ranks.npz`: what a paired comparison of runs needs.

An archive without compression holds arrays of uint32 for each target language:
`<target>/video_of_caption` (N,), `<target>/t2v` (N,) the rank of each caption's video, and `<target>/v2t`
(N,) the ranks of the captions of video 0, of video 1, …, ascending within a video. `<target>/first` (N,) has
the video that ranks first for each caption; files of earlier versions lack it.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlcmr.data.features.numpy_files import ArrayArchive, open_archive
from mlcmr.errors import NotFoundError
from mlcmr.evaluation.ranks import Integers, Ranks, RetrievalRanks
from mlcmr.files import replacing

RANKS_FILE = "ranks.npz"


@dataclass(frozen=True, eq=False)
class StoredRanks:
    """The ranks of an evaluation in one target language.

    Attributes:
        ranks: The ranks of both directions.
        video_of_caption: (N,) int64, the number of each caption's video.
        first: (N,) int64, the number of the video that ranks first for each caption; None if an earlier
            version has written the file.
    """

    ranks: RetrievalRanks
    video_of_caption: Integers
    first: Integers | None = None


def digest_ids(caption_ids: Sequence[str], video_ids: Sequence[str]) -> str:
    """Return the SHA-256 of the ids of captions and videos, in their order."""
    content = json.dumps([list(caption_ids), list(video_ids)], ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()


def write_ranks(folder: Path, stored: Mapping[str, StoredRanks]) -> None:
    """Write the ranks of each target language into a run folder; a failure leaves an old file as it is.

    Raises:
        MlcmrError: If the file cannot be written.
    """
    arrays = {
        f"{target}/{name}": values.astype(np.uint32)
        for target, one in stored.items()
        for name, values in (
            ("video_of_caption", one.video_of_caption),
            ("t2v", one.ranks.t2v.values),
            ("v2t", one.ranks.v2t.values),
            ("first", one.first),
        )
        if values is not None
    }
    with replacing(folder / RANKS_FILE) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def read_ranks(folder: Path, target: str, *, captions: int, videos: int) -> StoredRanks:
    """Read the ranks of a target language from a run folder.

    Args:
        folder: The run folder.
        target: The target language.
        captions: The number of captions N, as results.json has it.
        videos: The number of videos M.

    Raises:
        NotFoundError: If the file is missing.
        CorruptFileError: If the file is damaged, or does not hold ranks of so many captions and videos.
        MlcmrError: If the file cannot be read.
    """
    path, hint = folder / RANKS_FILE, f"run mlcmr evaluate {folder} again"
    try:
        with open_archive(path, hint) as archive:
            return _read(archive, target, captions, videos)
    except NotFoundError as error:
        raise NotFoundError(f"{path}: no such file; {hint}", path=path) from error


def _read(archive: ArrayArchive, target: str, captions: int, videos: int) -> StoredRanks:
    """Read and check the ranks of a target language.

    Raises:
        ValueError: If an array is missing, has another type or length, or holds impossible ranks.
    """

    def array(name: str, bounds: range) -> Integers:
        key = f"{target}/{name}"
        if key not in archive.names:
            raise ValueError(f"no '{key}'")
        values: NDArray[np.uint32] = archive.read(key)
        if values.dtype != np.uint32 or values.shape != (captions,):
            raise ValueError(f"'{key}' is not {captions:,} numbers of type uint32")
        if captions and not (bounds.start <= values.min() and values.max() < bounds.stop):
            raise ValueError(f"'{key}' has a number that is not from {bounds.start} to {bounds.stop - 1:,}")
        return values.astype(np.int64)

    owners = array("video_of_caption", range(videos))
    if len(np.unique(owners)) < videos:  # before memory is allocated for so many videos
        raise ValueError(f"'{target}/video_of_caption' does not have all {videos:,} videos")
    t2v = Ranks(array("t2v", range(1, videos + 1)), np.ones(captions, np.int64), videos)
    relevant = np.bincount(owners, minlength=videos)
    v2t = Ranks(array("v2t", range(1, captions + 1)), relevant, captions)
    if not (np.diff(v2t.values)[np.diff(v2t.queries) == 0] > 0).all():
        raise ValueError(f"'{target}/v2t' does not ascend within each video")
    first = array("first", range(videos)) if f"{target}/first" in archive.names else None
    return StoredRanks(RetrievalRanks(t2v, v2t), owners, first)
