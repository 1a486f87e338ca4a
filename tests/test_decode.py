"""Which frames are taken, and what they look like."""

import re
import shutil
import subprocess
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from mlcmr.errors import UserError
from mlcmr.extraction import decode
from mlcmr.extraction.decode import Sampling, open_media
from mlcmr.extraction.pictures import UnreadableFileError

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


def numbers(path: Path, sampling: Sampling) -> list[int]:
    """Which frames of such a video were taken, by their brightness."""
    with open_media(path) as media:
        seen = [float(np.median(frame.picture)) for frame in media.sample(sampling)]
    known = np.array([brightness(number) for number in range(31)])
    return [int(np.abs(known - one).argmin()) for one in seen]


# ─── the same frames as ffmpeg ───────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="session")
def ffmpeg() -> str:
    found = shutil.which("ffmpeg")
    if found is None:
        pytest.skip("needs the program ffmpeg")
    return found


@pytest.fixture(scope="session")
def clips(shared: Path) -> list[Path]:
    return sorted(path for path in (shared / "clips").iterdir() if path.suffix in {".avi", ".mkv", ".mp4"})


def assert_same_as_ffmpeg(
    ffmpeg: str, path: Path, rate: float, *, longer: bool = False, looks: bool = True
) -> None:
    """Frames are told apart by their checksums before and after ffmpeg's filter.

    `longer`: we may show the last frame for longer. `looks`: the pictures are compared too.
    """
    output = ["-f", "rawvideo", "-pix_fmt", "rgb24"] if looks else ["-f", "null"]
    # With more threads ffmpeg decodes a damaged stream one way or another.
    command = [
        ffmpeg,
        "-hide_banner",
        "-nostdin",
        "-threads",
        "1",
        "-i",
        str(path),
        "-an",
        "-fps_mode",
        "passthrough",
    ]
    command += ["-vf", f"showinfo@all,fps={rate},showinfo@kept", *output, "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    line = re.compile(r"showinfo@(all|kept) @ .* pts_time:([-\d.]+) .* checksum:([0-9A-F]+)")
    found = line.findall(done.stderr.decode(errors="replace"))
    times = np.array([float(time) for kind, time, _ in found if kind == "all"])
    checksums = [checksum for kind, _, checksum in found if kind == "all"]
    kept = [checksum for kind, _, checksum in found if kind == "kept"]

    with open_media(path) as media:
        frames = list(media.sample(Sampling(rate=rate)))
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


def test_same_frames_as_ffmpeg_on_all_clips(ffmpeg, clips):
    for path in clips:
        assert_same_as_ffmpeg(ffmpeg, path, 2, looks=False)


@pytest.mark.parametrize("rate", [0.3, 8, 29.97])
@pytest.mark.parametrize(
    "name",
    [
        "778mkceE0UQ_40_46.avi",  # its last frame is damaged
        "Megamind_bugy.avi",  # packed B-frames
        "brother.mkv",  # time stamps of whole milliseconds, and a gap
        "carphone_pristine.mp4",  # 29.97 frames a second
        "j2Dhf-xFUxU_13_20.avi",  # B-frames without times to show them
        "tree.avi",  # few frames, at any time
    ],
)
def test_same_frames_as_ffmpeg_at_any_rate(ffmpeg, clips, name, rate):
    assert_same_as_ffmpeg(ffmpeg, clips[0].with_name(name), rate)


@pytest.mark.parametrize("rate", [0.3, 2, 10, 13])
def test_same_frames_as_ffmpeg_at_a_variable_rate(ffmpeg, tmp_path, rate):
    stamps = np.cumsum(np.random.default_rng(0).integers(1, 60, 30)).tolist()
    # Before its version 6, ffmpeg takes the last frame's duration from another packet.
    assert_same_as_ffmpeg(ffmpeg, make_video(tmp_path / "a.mp4", stamps=stamps), rate, longer=True)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotation_as_ffmpeg_does_it(ffmpeg, tmp_path, rotation):
    path = make_video(tmp_path / "a.mp4", rotation=rotation)
    assert_same_as_ffmpeg(ffmpeg, path, 2)
    with open_media(path) as media:
        frame = next(media.sample(Sampling(rate=2)))
    expected = SIZE if rotation == 180 else SIZE[::-1]
    assert (media.width, media.height) == frame.picture.shape[1::-1] == expected
    corners = [int(frame.picture[y, x].mean()) for y in (4, -5) for x in (4, -5)]
    assert corners.index(max(corners)) != 0


# ─── sampling ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("ending", ["mp4", "mkv", "avi", "webm", "mov", "gif"])
def test_all_frames_at_their_own_rate(tmp_path, ending):
    path = make_video(tmp_path / f"a.{ending}")
    assert numbers(path, Sampling(rate=10)) == list(range(30))
    with open_media(path) as media:
        times = [frame.time for frame in media.sample(Sampling(rate=10))]
    np.testing.assert_allclose(times, np.arange(30) / 10, atol=0.011)
    assert media.duration == pytest.approx(3, abs=0.011)
    assert (media.width, media.height) == SIZE


def test_a_count_takes_the_middles_of_equal_stretches(tmp_path):
    path = make_video(tmp_path / "a.mp4")
    assert numbers(path, Sampling(count=3)) == [4, 14, 24]  # those that end at 0.5, 1.5 and 2.5 s
    assert numbers(path, Sampling(count=1)) == [14]
    assert len(numbers(path, Sampling(count=100))) == 100


def test_a_count_without_a_known_duration(tmp_path):
    path = make_video(tmp_path / "a.mkv")
    pipe = tmp_path / "b.mkv"
    with av.open(str(path)) as source, pipe.open("wb") as file:
        file.seekable = lambda: False
        with av.open(Unseekable(file), "w", format="matroska") as target:
            stream = target.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(video=0):
                if packet.size:
                    packet.stream = stream
                    target.mux(packet)
    with av.open(str(pipe)) as container:
        assert not container.duration
    assert numbers(pipe, Sampling(count=3)) == numbers(path, Sampling(count=3))


class Unseekable:
    """A file that a container's head cannot be completed in, as from a camera that is still running."""

    def __init__(self, file):
        self.write = file.write


def test_a_video_of_one_frame_has_one(tmp_path):
    for sampling in (Sampling(rate=0.5), Sampling(count=1)):
        assert numbers(make_video(tmp_path / "a.mp4", frames=1), sampling) == [0]


@pytest.mark.parametrize("ending", ["mp4", "mkv", "avi"])
@pytest.mark.parametrize(
    "sampling", [Sampling(rate=0.07), Sampling(rate=1), Sampling(count=5), Sampling(count=1)]
)
def test_seeking_takes_the_same_frames(tmp_path, monkeypatch, ending, sampling):
    path = make_video(tmp_path / f"a.{ending}", frames=300, g="20", bf="3")
    seeks = []
    jump = decode._Video._jump
    monkeypatch.setattr(decode._Video, "_jump", lambda self, bound: seeks.append(bound) or jump(self, bound))

    def sample(least: int) -> tuple[list, list, float]:
        monkeypatch.setattr(decode, "_WORTH_A_SEEK", least)
        with open_media(path) as media:
            frames = list(media.sample(sampling))
        return [one.time for one in frames], [one.picture for one in frames], media.duration

    decoded = sample(10**6)
    assert not seeks
    sought = sample(0)
    assert seeks
    assert sought[0] == decoded[0]
    np.testing.assert_array_equal(sought[1], decoded[1])
    if sampling.rate:
        assert sought[2] == decoded[2]


def test_seeking_decodes_less(tmp_path):
    path = make_video(tmp_path / "a.mp4", frames=300, g="20")

    def decoded(sampling: Sampling) -> int:
        with open_media(path) as media:
            decode_all, count = media._decode, 0

            def counted():
                nonlocal count
                for frame in decode_all():
                    count += 1
                    yield frame

            media._decode = counted
            list(media.sample(sampling))
        return count

    assert decoded(Sampling(count=3)) < 100
    assert decoded(Sampling(rate=5)) == 300


def test_sampling_is_one_of_two():
    for wrong in ({}, {"rate": 1.0, "count": 1}, {"rate": 0.0}, {"rate": float("nan")}, {"count": 0}):
        with pytest.raises(UserError, match=r"--rate|--count"):
            Sampling(**wrong)


def test_odd_sizes(tmp_path):
    path = make_video(tmp_path / "a.mp4", size=(35, 27))
    with open_media(path) as media:
        assert next(media.sample(Sampling(rate=1))).picture.shape == (27, 35, 3)


# ─── files that are not what they should be ──────────────────────────────────────────────────────────────


def make_sound(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def reason(path: Path) -> str:
    with pytest.raises(UnreadableFileError) as caught, open_media(path) as media:
        list(media.sample(Sampling(rate=2)))
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def test_what_cannot_be_read_says_why(tmp_path, monkeypatch):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a video\n" * 100)
    (tmp_path / "text.jpg").write_text("not an image")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    Image.new("1", (40, 40)).save(tmp_path / "bomb.png")
    whole = make_video(tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])  # the head stands at the end
    (tmp_path / "unknown.mp4").write_bytes(whole.replace(b"avc1", b"zzzz"))
    assert reason(tmp_path / "empty.mp4").endswith("empty")
    assert "no decoder" in reason(tmp_path / "unknown.mp4")
    assert reason(make_sound(tmp_path / "sound.mp4")).endswith("audio only")
    assert "not a video" in reason(tmp_path / "text.mp4")
    assert "not an image" in reason(tmp_path / "text.jpg")
    assert "too large an image" in reason(tmp_path / "bomb.png")
    assert "not a video" in reason(tmp_path / "cut.mp4")
    assert "No such file" in reason(tmp_path / "absent.mp4")


@pytest.mark.parametrize("error", [av.error.EOFError(1, "end"), MemoryError(), ValueError("negative")])
def test_a_file_that_fails_in_an_odd_place_says_so(tmp_path, monkeypatch, error):
    def fails(*_):
        raise error

    path = make_video(tmp_path / "a.mp4", frames=200, g="10")
    monkeypatch.setattr(decode._Video, "_jump", fails)
    with open_media(path) as media, pytest.raises(UnreadableFileError, match=r"a\.mp4: \w+"):
        list(media.sample(Sampling(rate=0.1)))


def test_a_file_without_frames_after_a_seek_says_so(tmp_path, monkeypatch):
    path = make_video(tmp_path / "a.mp4", frames=200, g="10")
    timed = decode._Video._timed
    with open_media(path) as media:
        passes = iter([timed(media)])
        monkeypatch.setattr(decode._Video, "_timed", lambda _: next(passes, iter(())))
        with pytest.raises(UnreadableFileError, match="after a seek"):
            list(media.sample(Sampling(rate=0.1)))


def test_a_damaged_stream_is_read_as_far_as_it_goes(tmp_path):
    whole = make_video(tmp_path / "a.mkv", frames=200, g="10")
    content = bytearray(whole.read_bytes())
    third = len(content) // 3
    content[third : third + 300] = bytes(300)
    whole.write_bytes(content)
    with open_media(whole) as media:
        times = [frame.time for frame in media.sample(Sampling(rate=10))]
    assert 100 < len(times) <= 200
    assert all(before <= after for before, after in pairwise(times))


def test_a_cut_stream_is_read_as_far_as_it_goes(tmp_path):
    path = make_video(tmp_path / "a.mkv", frames=200)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with open_media(path) as media:
        times = [frame.time for frame in media.sample(Sampling(rate=10))]
    assert 50 < len(times) < 150
    assert media.duration == pytest.approx(times[-1] + 0.1, abs=0.05)  # not what the head says


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_a_grey_image_of_16_bits_keeps_its_greys(tmp_path, ending):
    greys = np.arange(256, dtype=np.uint16).reshape(16, 16)
    Image.fromarray(greys << 8 | 77).save(tmp_path / f"a.{ending}")
    with open_media(tmp_path / f"a.{ending}") as media:
        (frame,) = media.sample(Sampling(count=1))
    np.testing.assert_array_equal(frame.picture, np.stack([greys] * 3, axis=-1))


def test_a_photograph_is_turned_as_it_is_to_be_seen(tmp_path):
    picture = np.zeros((20, 40, 3), np.uint8)
    picture[:, :5] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned to the right
    Image.fromarray(picture).save(tmp_path / "a.png", exif=exif)
    with open_media(tmp_path / "a.png") as media:
        (frame,) = media.sample(Sampling(count=7))
    assert (media.kind, media.duration, media.width, media.height) == ("image", 0, 20, 40)
    np.testing.assert_array_equal(frame.picture, np.rot90(picture, -1))


def test_pictures_of_a_video_may_be_too_large(tmp_path, monkeypatch):
    path = make_video(tmp_path / "a.mp4")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(UnreadableFileError, match="pixels are too many"), open_media(path):
        pass
