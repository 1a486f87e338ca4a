"""Videos and sounds, and what ffmpeg takes of them."""

import re
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from mlcmr.extraction.media.decode import open_media
from mlcmr.extraction.media.sampling import Sampling

SIZE = 64, 48


def make_video(
    path: Path,
    *,
    frames: int = 30,
    rate: int = 10,
    size: tuple[int, int] = SIZE,
    stamps: list[int] | None = None,
    rotation: int = 0,
    **options: str,
) -> Path:
    """A grey video that gets brighter frame by frame, with a white top left corner.

    Stamps are the times of its frames in hundredths of a second; without, they are 1/rate apart.
    """
    codec = {".webm": "libvpx", ".gif": "gif", ".avi": "mpeg4"}.get(path.suffix, "libx264")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height = size
        stream.bit_rate = 5_000_000
        stream.pix_fmt = "gray" if codec == "gif" else "yuv420p" if size[0] % 2 == 0 else "yuv444p"
        if stamps:
            stream.codec_context.time_base = stream.time_base = Fraction(1, 100)
        if rotation:
            stream.set_display_rotation(rotation)
        for number in range(frames):
            picture = np.full((size[1], size[0], 3), brightness(number), np.uint8)
            picture[: size[1] // 4, : size[0] // 4] = 255
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=stream.pix_fmt)
            if stamps:
                frame.pts, frame.time_base = stamps[number], Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def brightness(number: int) -> int:
    return 16 + 7 * number % 217


def assert_same_as_ffmpeg(
    ffmpeg: str,
    path: Path,
    rate: float,
    *,
    longer: bool = False,
    looks: bool = True,
    sound: bool = False,
    demuxer: str | None = None,
) -> None:
    """Frames are told apart by their checksums before and after ffmpeg's filter.

    `longer`: we may show the last frame for longer. `looks`: the pictures are compared too.
    `sound`: ffmpeg reads the sound as well, as it does by default. `demuxer`: of ffmpeg; without, it guesses.
    """
    output = ["-f", "rawvideo", "-pix_fmt", "rgb24"] if looks else ["-f", "null"]
    with open_media(path) as media:
        frames = list(media.sample(Sampling(fps=rate)))
    height, width = frames[0].picture.shape[:2]
    # With more threads ffmpeg decodes a damaged stream one way or another.
    command = [
        ffmpeg,
        "-hide_banner",
        "-nostdin",
        "-threads",
        "1",
        *(["-f", demuxer] if demuxer else []),
        "-i",
        str(path),
        *([] if sound else ["-an"]),
        "-fps_mode",
        "passthrough",
    ]
    filters = f"showinfo@all,fps={rate},showinfo@kept,scale={width}:{height}"
    command += ["-vf", filters, *output, "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    line = re.compile(r"showinfo@(all|kept) @ .* pts_time:([-\d.]+) .* checksum:([0-9A-F]+)")
    found = line.findall(done.stderr.decode(errors="replace"))
    times = np.array([float(time) for kind, time, _ in found if kind == "all"])
    checksums = [checksum for kind, _, checksum in found if kind == "all"]
    kept = [checksum for kind, _, checksum in found if kind == "kept"]

    taken = [checksums[np.abs(times - frame.time).argmin()] for frame in frames]
    if longer:
        assert set(taken[len(kept) :]) <= {checksums[-1]}
        del taken[len(kept) :], frames[len(kept) :]
    assert taken == kept
    if not looks:
        return
    pictures = np.frombuffer(done.stdout, np.uint8).reshape(len(kept), *frames[0].picture.shape)
    for frame, picture in zip(frames, pictures, strict=True):
        assert np.abs(frame.picture.astype(int) - picture).mean() < 3


def make_sound(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_films(drawn: Path, folder: Path) -> Path:
    """Write six videos, one of them in a subfolder, and a photograph; return the folder."""
    (folder / "holiday").mkdir(parents=True)
    for number in range(6):
        shutil.copy(drawn / f"sample/VideoData/sample0000{number}.mp4", folder / f"{number}.mp4")
    (folder / "5.mp4").rename(folder / "holiday" / "beach.mp4")
    Image.new("RGB", (64, 48), (99, 99, 99)).save(folder / "photo.png")
    return folder
