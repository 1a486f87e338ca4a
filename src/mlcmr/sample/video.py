"""Write the mp4 files of the sample, with the same bytes each time, and read them back."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlcmr.errors import MissingDependencyError
from mlcmr.extraction.media.ffmpeg import open_container

try:
    import av
    from av.video.reformatter import VideoReformatter
except ImportError as error:
    raise MissingDependencyError("videos need PyAV: pip install 'mlcmr[video]'") from error

FPS = 8
"""Frames per second."""

# With several threads, or with the faster code for some processors, x264 writes other bytes each time.
_OPTIONS = {
    "libx264": {"crf": "20", "preset": "veryfast", "x264-params": "cpu-independent=1"},
    "mpeg4": {"qscale": "3"},
}

Frames = NDArray[np.uint8]
"""(frames, height, width, 3), RGB."""


def write_video(path: Path, frames: Frames) -> None:
    """Write an mp4 file with H.264, or with MPEG-4 if PyAV lacks the encoder of H.264."""
    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=FPS, options=_OPTIONS[codec])
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        reformatter = VideoReformatter()
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            container.mux(stream.encode(reformatter.reformat(picture, format="yuv420p")))
        container.mux(stream.encode())


def read_video(path: Path) -> Frames:
    """Return all frames of a video."""
    with open_container(path) as container:
        container.streams.video[0].codec_context.thread_count = 1
        # One reformatter for all frames: a new one per frame takes ten times as long as decoding the frame.
        reformatter = VideoReformatter()
        pictures = (reformatter.reformat(frame, format="rgb24") for frame in container.decode(video=0))
        return np.stack([picture.to_ndarray() for picture in pictures])
