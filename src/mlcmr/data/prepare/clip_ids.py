"""Ids of videos and of clips of videos in annotations."""

import re
from collections.abc import Mapping, Sequence

from mlcmr.data.ids import VideoIds, normalize_name, split_ending
from mlcmr.data.prepare.annotations import AnnotatedClip
from mlcmr.data.prepare.existing import ExistingCaptions
from mlcmr.errors import CorruptFileError

_YOUTUBE_ID = re.compile(r"[\w-]{11}")


class ClipIds:
    """Give ids to videos and to clips of videos.

    Two clips of one video need different ids. If no video has two clips, start and end may only describe the
    video, as in MSR-VTT, whose features are named by the video alone. Spans that may be something else are
    judged apart from the others.

    Attributes:
        clip_id: The first id that includes a span of its video.
        whole_id: The first id of a video with a span that does not include the span.
    """

    def __init__(self, clips: Sequence[AnnotatedClip], existing: ExistingCaptions) -> None:
        self.clip_id = self.whole_id = ""
        self._ids = VideoIds()
        # Whether ids include spans that are certain (False), and those that are not (True).
        self._with_spans = {
            uncertain: _are_in_ids(
                [clip for clip in clips if clip.span and clip.uncertain is uncertain], existing.split_of
            )
            for uncertain in (False, True)
        }

    def of(self, clip: AnnotatedClip) -> str:
        """Return the id of a video or clip.

        Raises:
            InvalidValueError: If another name has the same id.
            CorruptFileError: If the span of a clip cannot be read.
        """
        span = clip.span if self._with_spans[clip.uncertain] else ""
        if span and clip.fault:
            raise CorruptFileError(f"{clip.where}: {clip.fault}")
        video = self._ids.of(clip.video, clip.where, span)
        self.clip_id = self.clip_id or (video if span else "")
        self.whole_id = self.whole_id or (video if clip.span and not span else "")
        return video

    def source_of(self, clip: AnnotatedClip) -> str:
        """Return the name of the video that a clip is cut from, or the id of a whole video."""
        is_cut = self._with_spans[clip.uncertain] and clip.span
        return split_ending(normalize_name(clip.video))[0] if is_cut else self.of(clip)


def _are_in_ids(clips: Sequence[AnnotatedClip], existing: Mapping[str, str]) -> bool:
    """Return whether spans are part of ids.

    Args:
        clips: Clips with spans, all of them uncertain or none.
        existing: The videos of the collection; captions that are added name clips as these are named.
    """
    ids, span_of = VideoIds(), dict[str, str]()
    if existing and any(ids.of(clip.video, clip.where, clip.span) in existing for clip in clips):
        return True
    has_two = any(clip.cut or span_of.setdefault(clip.video, clip.span) != clip.span for clip in clips)
    if clips and clips[0].uncertain:
        return has_two and not any(VideoIds().of(clip.video, clip.where) in existing for clip in clips)
    return has_two or (bool(clips) and all(_YOUTUBE_ID.fullmatch(clip.video) for clip in clips))
