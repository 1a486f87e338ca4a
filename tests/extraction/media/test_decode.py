"""The right frames are sampled, and they have the right pixels."""

import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from mlcmr.data.ids import VIDEO_ENDINGS
from mlcmr.errors import InvalidValueError
from mlcmr.extraction.media import video
from mlcmr.extraction.media.decode import open_media
from mlcmr.extraction.media.images import UnreadableFileError
from mlcmr.extraction.media.sampling import Sampling
from tests.helpers.videos import SIZE, assert_same_as_ffmpeg, brightness, make_sound, make_video


def numbers(path: Path, sampling: Sampling) -> list[int]:
    """Return the numbers of the sampled frames, which their brightness tells."""
    with open_media(path) as media:
        seen = [float(np.median(frame.picture)) for frame in media.sample(sampling)]
    known = np.array([brightness(number) for number in range(31)])
    return [int(np.abs(known - one).argmin()) for one in seen]


# ─── the same frames as ffmpeg ───────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="session")
def clips(reference_data: Callable[[str], Path]) -> list[Path]:
    return sorted(
        path for path in reference_data("clips").iterdir() if path.suffix in {".avi", ".mkv", ".mp4"}
    )


@pytest.mark.slow
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


@pytest.mark.parametrize("size", ["64:48", "640:480"])
@pytest.mark.parametrize(
    "ending", ["h264", "hevc", "m2v", "m4v", "mjpeg", "mjpg", "ivf", "y4m", "mpg", "vob", "ts"]
)
def test_elementary_streams_are_videos(ffmpeg, tmp_path, ending, size):
    make_video(tmp_path / "a.mp4", rate=25)
    path = tmp_path / f"a.{ending}"
    codec = {"h264": "libx264", "hevc": "libx265", "m4v": "mpeg4", "mjpg": "mjpeg"}.get(ending)
    raw = {"m4v": "m4v", "mjpeg": "mjpeg", "mjpg": "mjpeg"}.get(ending)
    # Known square pixels give each JPEG picture a JFIF header, for which FFmpeg would choose `jpeg_pipe`.
    command = [ffmpeg, "-v", "error", "-i", str(tmp_path / "a.mp4"), "-q:v", "2", "-b:v", "5M"]
    command += ["-vf", f"scale={size},setsar=1,noise=c0_strength=5:c0_flags=t"]
    command += [*(["-c:v", codec] if codec else []), *(["-f", raw] if raw else []), str(path)]
    subprocess.run(command, check=True)
    assert numbers(path, Sampling(num_frames=3)) == [4, 14, 24]
    assert_same_as_ffmpeg(ffmpeg, path, 7, demuxer=raw)
    with open_media(path) as media:
        media.measure()
        assert (media.kind, media.duration) == ("video", pytest.approx(1.2, abs=0.05))
        assert f"{media.width}:{media.height}" == size
    assert path.suffix in VIDEO_ENDINGS


def test_an_empty_packet_repeats_the_frame_before(ffmpeg, tmp_path):
    """Theora, and recordings of screens, store frames that do not change as empty packets."""
    repeated = {5, 6, 13, 28, 29}
    whole, path = make_video(tmp_path / "a.mkv", g="1"), tmp_path / "a.nut"
    with av.open(str(whole)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(packet for packet in source.demux(video=0) if packet.size):
            copied = av.Packet(b"" if number in repeated else bytes(packet))
            copied.pts, copied.dts, copied.time_base = packet.pts, packet.dts, packet.time_base
            copied.stream, copied.is_keyframe = stream, packet.is_keyframe
            target.mux(copied)
    shown = [number for number in range(30) if number not in repeated]
    assert numbers(path, Sampling(fps=10)) == [max(n for n in shown if n <= time) for time in range(28)]
    assert_same_as_ffmpeg(ffmpeg, path, 7)
    with open_media(path) as media:
        assert len(list(media.sample(Sampling(num_frames=4)))) == 4
        assert (media.damaged, media.duration) == (0, pytest.approx(2.8))


def test_a_name_of_motion_jpeg_does_not_decide_alone(tmp_path):
    Image.effect_noise((640, 480), 90).save(tmp_path / "a.mjpeg", "JPEG")
    make_video(tmp_path / "a.mp4").rename(tmp_path / "b.mjpg")
    for name, kind, shape in ("a.mjpeg", "image", (480, 640)), ("b.mjpg", "video", SIZE[::-1]):
        with open_media(tmp_path / name) as media:
            assert media.kind == kind
            assert next(media.sample(Sampling(fps=1))).picture.shape[:2] == shape


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotation_as_ffmpeg_does_it(ffmpeg, tmp_path, rotation):
    path = make_video(tmp_path / "a.mp4", rotation=rotation)
    assert_same_as_ffmpeg(ffmpeg, path, 2)
    with open_media(path) as media:
        frame = next(media.sample(Sampling(fps=2)))
    expected = SIZE if rotation == 180 else SIZE[::-1]
    assert (media.width, media.height) == frame.picture.shape[1::-1] == expected
    corners = [int(frame.picture[y, x].mean()) for y in (4, -5) for x in (4, -5)]
    assert corners.index(max(corners)) != 0


# ─── sampling ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("ending", ["mp4", "mkv", "avi", "webm", "mov", "gif"])
def test_all_frames_at_their_own_rate(tmp_path, ending):
    path = make_video(tmp_path / f"a.{ending}")
    assert numbers(path, Sampling(fps=10)) == list(range(30))
    with open_media(path) as media:
        times = [frame.time for frame in media.sample(Sampling(fps=10))]
    np.testing.assert_allclose(times, np.arange(30) / 10, atol=0.011)
    assert media.duration == pytest.approx(3, abs=0.011)
    assert (media.width, media.height) == SIZE


def test_a_count_takes_the_middles_of_equal_stretches(tmp_path):
    path = make_video(tmp_path / "a.mp4")
    assert numbers(path, Sampling(num_frames=3)) == [4, 14, 24]  # those that end at 0.5, 1.5 and 2.5 s
    assert numbers(path, Sampling(num_frames=1)) == [14]
    assert len(numbers(path, Sampling(num_frames=100))) == 100


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
    assert numbers(pipe, Sampling(num_frames=3)) == numbers(path, Sampling(num_frames=3))


class Unseekable:
    """A file that a container's head cannot be completed in, as from a camera that is still running."""

    def __init__(self, file):
        self.write = file.write


def test_a_video_of_one_frame_has_one(tmp_path):
    for sampling in (Sampling(fps=0.5), Sampling(num_frames=1)):
        assert numbers(make_video(tmp_path / "a.mp4", frames=1), sampling) == [0]


@pytest.mark.parametrize("ending", ["mp4", "mkv", "avi"])
@pytest.mark.parametrize(
    "sampling", [Sampling(fps=0.07), Sampling(fps=1), Sampling(num_frames=5), Sampling(num_frames=1)]
)
def test_seeking_takes_the_same_frames(tmp_path, monkeypatch, ending, sampling):
    path = make_video(tmp_path / f"a.{ending}", frames=300, g="20", bf="3")
    seeks = []
    jump = video.Video._jump
    monkeypatch.setattr(video.Video, "_jump", lambda self, bound: seeks.append(bound) or jump(self, bound))

    def sample(least: int) -> tuple[list, list, float]:
        monkeypatch.setattr(video, "_WORTH_A_SEEK", least)
        with open_media(path) as media:
            frames = list(media.sample(sampling))
        return [one.time for one in frames], [one.picture for one in frames], media.duration

    decoded = sample(10**6)
    assert not seeks
    sought = sample(0)
    assert seeks
    assert sought[0] == decoded[0]
    np.testing.assert_array_equal(sought[1], decoded[1])
    if sampling.fps:
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

    assert decoded(Sampling(num_frames=3)) < 100
    assert decoded(Sampling(fps=5)) == 300


def test_sampling_is_one_of_two():
    for wrong in ({}, {"fps": 1.0, "num_frames": 1}, {"fps": 0.0}, {"fps": float("nan")}, {"num_frames": 0}):
        with pytest.raises(InvalidValueError, match=r"`fps`|`num_frames`"):
            Sampling(**wrong)


def test_odd_sizes(tmp_path):
    path = make_video(tmp_path / "a.mp4", size=(35, 27))
    with open_media(path) as media:
        assert next(media.sample(Sampling(fps=1))).picture.shape == (27, 35, 3)


# ─── files that are not what they should be ──────────────────────────────────────────────────────────────


def reason(path: Path) -> str:
    with pytest.raises(UnreadableFileError) as caught, open_media(path) as media:
        list(media.sample(Sampling(fps=2)))
    assert caught.value.path == str(path)
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
    assert reason(tmp_path / "absent.mp4").endswith("absent.mp4: no such file")


@pytest.mark.parametrize("error", [av.error.EOFError(1, "end"), MemoryError(), ValueError("negative")])
def test_a_file_that_fails_in_an_odd_place_says_so(tmp_path, monkeypatch, error):
    def fails(*_):
        raise error

    path = make_video(tmp_path / "a.mp4", frames=200, g="10")
    monkeypatch.setattr(video.Video, "_jump", fails)
    with open_media(path) as media, pytest.raises(UnreadableFileError, match=r"a\.mp4: \w+"):
        list(media.sample(Sampling(fps=0.1)))


def test_a_file_without_frames_after_a_seek_says_so(tmp_path, monkeypatch):
    path = make_video(tmp_path / "a.mp4", frames=200, g="10")
    timed = video.Video._timed
    with open_media(path) as media:
        passes = iter([timed(media)])
        monkeypatch.setattr(video.Video, "_timed", lambda _: next(passes, iter(())))
        with pytest.raises(UnreadableFileError, match="after a seek"):
            list(media.sample(Sampling(fps=0.1)))


def test_a_damaged_stream_is_read_as_far_as_it_goes(tmp_path):
    whole = make_video(tmp_path / "a.mkv", frames=200, g="10")
    content = bytearray(whole.read_bytes())
    third = len(content) // 3
    content[third : third + 300] = bytes(300)
    whole.write_bytes(content)
    with open_media(whole) as media:
        times = [frame.time for frame in media.sample(Sampling(fps=10))]
    assert 100 < len(times) <= 200
    assert all(before <= after for before, after in pairwise(times))


def test_a_cut_stream_is_read_as_far_as_it_goes(tmp_path):
    path = make_video(tmp_path / "a.mkv", frames=200)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with open_media(path) as media:
        times = [frame.time for frame in media.sample(Sampling(fps=10))]
    assert 50 < len(times) < 150
    assert media.duration == pytest.approx(times[-1] + 0.1, abs=0.05)  # not what the head says


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_a_grey_image_of_16_bits_keeps_its_greys(tmp_path, ending):
    greys = np.arange(256, dtype=np.uint16).reshape(16, 16)
    Image.fromarray(greys << 8 | 77).save(tmp_path / f"a.{ending}")
    with open_media(tmp_path / f"a.{ending}") as media:
        (frame,) = media.sample(Sampling(num_frames=1))
    np.testing.assert_array_equal(frame.picture, np.stack([greys] * 3, axis=-1))


def test_a_photograph_is_turned_as_it_is_to_be_seen(tmp_path):
    picture = np.zeros((20, 40, 3), np.uint8)
    picture[:, :5] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned to the right
    Image.fromarray(picture).save(tmp_path / "a.png", exif=exif)
    with open_media(tmp_path / "a.png") as media:
        (frame,) = media.sample(Sampling(num_frames=7))
    assert (media.kind, media.duration, media.width, media.height) == ("image", 0, 20, 40)
    np.testing.assert_array_equal(frame.picture, np.rot90(picture, -1))


def test_pictures_of_a_video_may_be_too_large(tmp_path, monkeypatch):
    path = make_video(tmp_path / "a.mp4")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(UnreadableFileError, match="pixels are too many"), open_media(path):
        pass
