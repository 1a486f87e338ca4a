"""Pictures of videos for a report: the thumbnails that extraction wrote, as data in the page itself."""

import base64
from functools import cache
from pathlib import Path

from mlcmr.errors import MlcmrError, NotFoundError
from mlcmr.extraction.records import VideoRecord, read_videos
from mlcmr.progress import SILENT, Progress
from mlcmr.reading import read_bytes

_MOST_BYTES = 1 << 18  # a thumbnail has at most 320 × 320 pixels, about 20 kB
_JPEG = b"\xff\xd8\xff"


class Thumbnails:
    """The thumbnails of a collection by video.

    Args:
        collection: The collection's folder; None for no thumbnails.
        feature: The feature whose thumbnails are preferred.
        progress: Receives a message if the thumbnails cannot be used.
    """

    def __init__(
        self, collection: Path | None = None, feature: str | None = None, progress: Progress = SILENT
    ) -> None:
        self._collection = collection
        records = [] if collection is None else _read_records(collection, feature, progress)
        self._paths = {record.video: path for record in records if (path := _middle(record))}
        self.of = cache(self._read)
        """Return the thumbnail of a video as a `data:` URL; empty if there is none."""

    def __bool__(self) -> bool:
        return bool(self._paths)

    def _read(self, video: str) -> str:
        path = self._paths.get(video)
        if path is None or self._collection is None:
            return ""
        try:
            content = read_bytes(self._collection / path, "it is left out", most=_MOST_BYTES)
        except MlcmrError:
            return ""
        encoded = base64.b64encode(content).decode()
        return f"data:image/jpeg;base64,{encoded}" if content.startswith(_JPEG) else ""


def _read_records(collection: Path, feature: str | None, progress: Progress) -> list[VideoRecord]:
    """Return the records of a feature, else those of the feature that was extracted last."""
    for preferred in (feature, None):
        try:
            return read_videos(collection, preferred)
        except NotFoundError:  # another program computed the features
            continue
        except MlcmrError as error:
            progress.message(f"the report has no thumbnails: {error}")
            return []
    return []


def _middle(record: VideoRecord) -> str:
    """Return the thumbnail of the middle segment of a video."""
    return record.segments[len(record.segments) // 2].thumbnail
