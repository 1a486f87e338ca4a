"""Ids of videos and of clips of videos in annotations."""

import re
from collections.abc import Sequence

from mlcmr.data.ids import VideoIds, normalize_name, split_ending
from mlcmr.data.prepare.annotations import AnnotatedClip
from mlcmr.data.prepare.existing import ExistingCaptions
from mlcmr.errors import CorruptFileError

_YOUTUBE_ID = re.compile(r"[\w-]{11}")


class ClipIds:
    """Give ids to videos and to clips of videos.

    Two clips of one video need different ids. If no video has two clips, start and end may only describe the
    video, as in MSR-VTT, whose features are named by the video alone.

    Attributes:
        clip_id: The first id that includes a span of its video.
        whole_id: The first id of a video with a span that does not include the span.
    """

    def __init__(self, clips: Sequence[AnnotatedClip], existing: ExistingCaptions) -> None:
        self.clip_id = self.whole_id = ""
        self._ids = VideoIds()
        with_span = [clip for clip in clips if clip.span]
        span_of: dict[str, str] = {}
        existing_ids = VideoIds()
        self._with_spans = (
            any(clip.cut or span_of.setdefault(clip.video, clip.span) != clip.span for clip in with_span)
            or (bool(with_span) and all(_YOUTUBE_ID.fullmatch(clip.video) for clip in with_span))
            # Captions that are added name the clips as the existing ones do.
            or any(
                existing_ids.of(clip.video, clip.where, clip.span) in existing.split_of
                for clip in with_span
                if existing.split_of
            )
        )

    def of(self, clip: AnnotatedClip) -> str:
        """Return the id of a video or clip.

        Raises:
            InvalidValueError: If another name has the same id.
            CorruptFileError: If the span of a clip cannot be read.
        """
        span = clip.span if self._with_spans else ""
        if span and clip.fault:
            raise CorruptFileError(f"{clip.where}: {clip.fault}")
        video = self._ids.of(clip.video, clip.where, span)
        self.clip_id = self.clip_id or (video if span else "")
        self.whole_id = self.whole_id or (video if clip.span and not span else "")
        return video

    def source_of(self, clip: AnnotatedClip) -> str:
        """Return the name of the video that a clip is cut from, or the id of a whole video."""
        is_cut = self._with_spans and clip.span
        return split_ending(normalize_name(clip.video))[0] if is_cut else self.of(clip)
