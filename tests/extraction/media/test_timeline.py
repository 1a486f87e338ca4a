"""Videos whose clock breaks, or whose header says another length than their pictures have."""

import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcmr.extraction import extract
from mlcmr.extraction.media import video
from mlcmr.extraction.media.decode import OpenedMedia, open_media
from mlcmr.extraction.media.sampling import Sampling
from mlcmr.extraction.media.timeline import Clock
from mlcmr.extraction.records import read_videos
from tests.helpers.frame_number import frame_number
from tests.helpers.progress import RecordedProgress
from tests.helpers.videos import assert_same_as_ffmpeg


def sampled(path: Path, **sampling: float) -> tuple[list[int], list[float], OpenedMedia]:
    """Frame numbers and times, and the media after sampling."""
    with open_media(path) as media:
        frames = list(media.sample(Sampling(**sampling)))
    return [frame_number(frame.picture) for frame in frames], [frame.time for frame in frames], media


# ─── the small files ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["cat.ts", "gap1h.ts"])
def test_frames_after_a_break_follow_those_before(cases, name):
    numbers, times, media = sampled(cases / name, fps=2)
    assert numbers == list(range(2, 100, 5))
    np.testing.assert_allclose(times, np.arange(2, 100, 5) / 10, atol=1e-3)
    assert media.duration == pytest.approx(10)
    assert media.jumps == 1
    numbers, _, media = sampled(cases / name, num_frames=8)
    assert numbers == [6, 18, 31, 43, 56, 68, 81, 93]
    assert (media.duration, media.jumps) == (pytest.approx(10), 1)


def test_a_recording_may_begin_before_zero(cases):
    numbers, times, media = sampled(cases / "wrap.ts", fps=0.2)
    assert numbers == [62, 187, 312, 437]
    np.testing.assert_allclose(times, [2.48, 7.48, 12.48, 17.48], atol=1e-3)
    assert media.jumps == 0


@pytest.mark.parametrize(
    ("name", "expected", "duration"),
    [
        ("longaudio.mkv", [6, 18, 31, 43, 56, 68, 81, 93], 10),
        ("mdhd.mp4", [12, 37, 62, 87, 112, 137, 162, 187], 20),
        ("es.m1v", [15, 46, 78, 109, 140, 171, 203, 234], 10),
        ("trunc.mp4", [3, 9, 16, 22, 29, 35, 42, 48], 5.1),
    ],
)
def test_a_count_spreads_over_the_pictures_that_are_there(cases, name, expected, duration):
    numbers, _, media = sampled(cases / name, num_frames=8)
    assert numbers == expected
    assert media.duration == pytest.approx(duration, abs=0.11)


def test_a_live_recording_has_a_length_and_segments(cases, tmp_path):
    extract(cases / "live.webm", tmp_path / "c", rate=2, segment=10.0)
    (record,) = read_videos(tmp_path / "c")
    assert record.duration == pytest.approx(30)
    assert [(one.start, one.end) for one in record.segments] == [(0, 10), (10, 20), (20, pytest.approx(30))]
    assert [one.frames for one in record.segments] == [(0, 20), (20, 40), (40, 60)]


def test_a_break_is_told_and_counted(cases, tmp_path):
    progress = RecordedProgress()
    summary = extract(cases / "cat.ts", tmp_path / "c", progress=progress)
    assert summary.jumping == [cases / "cat.ts"]
    assert "jumping:  1 file whose clock jumps" in str(summary)
    assert any(line.startswith(f"jumping: {cases / 'cat.ts'}: ") for line in progress.messages)


# ─── files of the same kinds, beside the program ffmpeg ──────────────────────────────────────────────────


@pytest.fixture(scope="module")
def make(ffmpeg, tmp_path_factory) -> Callable[..., Path]:
    """Write a video of five seconds with the program ffmpeg."""
    folder = tmp_path_factory.mktemp("made")

    def made(name: str, *options: str, sound: float = 0, begin: float = 0, rate: int | str = 25) -> Path:
        path = folder / name
        inputs = [
            "-itsoffset",
            str(begin),
            "-f",
            "lavfi",
            "-i",
            f"testsrc2=size=64x48:rate={rate}:duration=5",
        ]
        if sound:
            inputs += ["-f", "lavfi", "-i", f"sine=duration={sound}", "-map", "0", "-map", "1"]
        command = [ffmpeg, "-v", "error", "-y", *inputs, "-fps_mode", "vfr", *options, str(path)]
        subprocess.run(command, check=True, capture_output=True)
        return path

    return made


def run(*words: object) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, words)], check=True)


H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "3", "-g", "25")
MPEG2 = ("-c:v", "mpeg2video", "-bf", "2", "-g", "12")


def parts_of(make: Callable[..., Path], kind: str) -> list[Path]:
    """The parts of a recording that are joined byte by byte."""
    plain = make("plain.ts", *H264, sound=5)
    match kind:
        case "starts again.ts":
            return [plain, plain, make("other.ts", *H264, rate=30)]
        case "longer sound.ts":
            return [make("long.ts", *H264, sound=9), plain]
        case "steps back 2 s.ts":
            return [plain, make("back.ts", *H264, "-output_ts_offset", "3")]
        case "a gap of 4 s.ts":
            return [plain, make("gap.ts", *H264, "-output_ts_offset", "9")]
        case "ahead an hour.ts":
            return [plain, make("hour.ts", *H264, "-output_ts_offset", "3600")]
        case "wraps.ts":
            return [make("wraps.ts", *H264, "-output_ts_offset", "95440", sound=5)]
        case "open groups.ts":
            return [make("open.ts", *H264, "-x264-params", "open-gop=1", "-output_ts_offset", "100")] * 2
        case "times that go back.ts":
            groups = ("-x264-params", "open-gop=1:keyint=15:bframes=3", "-output_ts_offset", "100")
            return [make("back-and-forth.ts", *H264, *groups, sound=7, rate=30), plain]
        case "camera.m2ts":
            return [make("camera.m2ts", *H264, "-mpegts_m2ts_mode", "1", sound=5)] * 2
        case "disc.vob":
            return [make("disc.vob", *MPEG2, "-f", "vob"), make("part.mpg", *MPEG2)]
        case "film.vob":
            film = [*MPEG2, "-f", "vob", "-output_ts_offset"]
            return [make(f"{at}.vob", *film, at, sound=5, rate="24000/1001") for at in ("0", "100")]
        case "wraps.vob":
            options = ("-f", "vob", "-s", "160x96", "-q:v", "2", "-output_ts_offset", "95441")
            return [make("wraps.vob", *MPEG2, *options, sound=5, rate=10)]
        case _:
            raise AssertionError(kind)


@pytest.mark.parametrize("forced", [False, True], ids=["no seeks", "seeks"])
@pytest.mark.parametrize(
    "kind",
    [
        "starts again.ts",
        "longer sound.ts",
        "steps back 2 s.ts",
        "a gap of 4 s.ts",
        "ahead an hour.ts",
        "wraps.ts",
        "open groups.ts",
        "times that go back.ts",
        "camera.m2ts",
        "disc.vob",
        "film.vob",
        "wraps.vob",
    ],
)
def test_same_frames_as_ffmpeg_where_the_clock_breaks(ffmpeg, make, monkeypatch, tmp_path, kind, forced):
    monkeypatch.setattr(video, "_WORTH_A_SEEK", 0 if forced else 10**6)
    monkeypatch.setattr(video, "_WORTH_A_PASS", 0)
    path = tmp_path / kind
    path.write_bytes(b"".join(part.read_bytes() for part in parts_of(make, kind)))
    for rate in (0.3, 0.7, 8):
        assert_same_as_ffmpeg(ffmpeg, path, rate, looks=False, sound=True)


@pytest.mark.parametrize("options", [MPEG2, MPEG2[:2]], ids=["reordered", "in order"])
@pytest.mark.parametrize("rate", [24, 25, 30])
@pytest.mark.parametrize("ahead", ["20", "100", "1000"])
def test_no_picture_is_lost_where_a_program_stream_jumps_ahead(ffmpeg, make, tmp_path, ahead, rate, options):
    """FFmpeg fills the missing stamp of the last picture before the jump with one from after it."""
    whole = tmp_path / "joined.mpg"
    parts = (
        make("first.mpg", *options, rate=rate),
        make("second.mpg", *options, "-output_ts_offset", ahead, rate=rate),
    )
    whole.write_bytes(b"".join(part.read_bytes() for part in parts))
    frames, _, media = sampled(whole, fps=2)
    assert (len(frames), media.duration) == (20, pytest.approx(10, abs=0.01))
    assert_same_as_ffmpeg(ffmpeg, whole, 2, looks=False)
    assert_same_as_ffmpeg(ffmpeg, whole, 0.7, looks=False)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory, ffmpeg):
    """Recordings with pictures and sound, whose clocks begin at 10, 3 and 5,000 seconds."""
    folder = tmp_path_factory.mktemp("parts")
    made = []
    for begin in (10, 3, 5000):
        path = folder / f"{begin}.ts"
        run("-f", "lavfi", "-i", f"testsrc=size=64x48:rate=10:duration=4,hue=h={begin}",
            "-f", "lavfi", "-i", "sine=duration=4", "-c:v", "libx264", "-g", 20, "-bf", 2, "-c:a", "mp2",
            "-output_ts_offset", begin, path)  # fmt: skip
        made.append(path)
    return made


@pytest.mark.parametrize("rate", [0.4, 2, 7])
@pytest.mark.parametrize("order", [(0, 1), (1, 0), (1, 2), (2, 0), (0, 0, 0), (0, 1, 2, 1)])
@pytest.mark.parametrize("suffix", [".ts", ".m2ts", ".mpg"])
def test_joins_are_read_as_ffmpeg_reads_them(ffmpeg, recordings, tmp_path, suffix, order, rate):
    if suffix != ".ts" and rate != 2:
        pytest.skip("each format once")
    joined = tmp_path / f"joined{suffix}"
    with joined.open("wb") as file:
        for number in order:
            part = recordings[number]
            if suffix != ".ts":
                part = tmp_path / f"{number}{suffix}"
                codec = ["-c", "copy"] if suffix == ".m2ts" else ["-c:v", "mpeg2video", "-c:a", "mp2"]
                options = ["-f", "mpegts", "-mpegts_m2ts_mode", "1"] if suffix == ".m2ts" else ["-f", "vob"]
                run("-i", recordings[number], *codec, "-copyts", *options, part)
            file.write(part.read_bytes())
    assert_same_as_ffmpeg(ffmpeg, joined, rate, looks=False, sound=True)
    frames, _, media = sampled(joined, fps=rate)
    # From 7 s to 10 s is no jump: something is missing there.
    assert media.duration == pytest.approx(4 * len(order) + 3 * (order == (1, 0)), abs=0.5)
    assert len(frames) == pytest.approx(media.duration * rate, abs=1)


@pytest.mark.parametrize("ending", ["mkv", "mp4"])
def test_seeks_do_not_change_which_stamps_are_believed(make, monkeypatch, tmp_path, ending):
    """Each picture says that it is shown when it is decoded, as bad programs write."""
    path = tmp_path / f"a.{ending}"
    with av.open(str(make("whole.mp4", *H264))) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.pts, packet.stream = packet.dts, stream
                target.mux(packet)
    found = []
    for least in (0, 10**6):
        monkeypatch.setattr(video, "_WORTH_A_SEEK", least)
        found.append(
            [sampled(path, **sampling)[1] for sampling in ({"fps": 2}, {"fps": 0.3}, {"num_frames": 9})]
        )
    assert found[0] == found[1]


def test_pictures_that_stay_for_many_seconds_are_no_jump(ffmpeg, tmp_path):
    """Their decoding times are far from the times at which they are shown."""
    path = tmp_path / "slow.ts"
    source = "testsrc2=size=64x48:rate=1/7:duration=280"
    command = [ffmpeg, "-v", "error", "-f", "lavfi", "-i", source, "-fps_mode", "vfr", *H264, str(path)]
    subprocess.run(command, check=True)
    with open_media(path) as media:
        assert len({frame.picture.tobytes() for frame in media.sample(Sampling(fps=1))}) == 40
        assert (media.jumps, media.duration) == (0, pytest.approx(280))


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv", "flv", "ts"])
def test_same_frames_as_ffmpeg_where_pictures_begin_late(ffmpeg, make, ending):
    path = make(f"late.{ending}", *H264, sound=9, begin=2)
    assert_same_as_ffmpeg(ffmpeg, path, 2, looks=False, sound=True)
    # The stretches of a count are those of the pictures, not of the sound.
    _, by_count, media = sampled(path, num_frames=5)
    np.testing.assert_allclose(by_count, 2 + np.arange(5) + 0.48, atol=0.1)
    assert (media.duration, media.end) == (pytest.approx(5, abs=0.1), pytest.approx(7, abs=0.1))


@pytest.mark.parametrize("ending", ["mp4", "mkv", "avi", "ts", "flv"])
def test_a_count_of_a_broken_download(make, tmp_path, ending):
    codec = H264 if ending != "avi" else ("-c:v", "mpeg4", "-g", "25")
    front = ("-movflags", "faststart") if ending == "mp4" else ()
    whole = make(f"whole.{ending}", *codec, *front).read_bytes()
    path = tmp_path / f"a.{ending}"
    path.write_bytes(whole[: len(whole) * 6 // 10])
    _, by_rate, media = sampled(path, fps=25)
    _, by_count, counted = sampled(path, num_frames=4)
    assert counted.duration == pytest.approx(media.duration, abs=0.25)
    middles = by_rate[-1] * (2 * np.arange(4) + 1) / 8
    np.testing.assert_allclose(by_count, middles, atol=0.15)


@pytest.mark.parametrize("flags", ["faststart", "frag_keyframe+empty_moov"])
def test_frames_that_an_edit_list_leaves_out_do_not_count(ffmpeg, make, tmp_path, flags):
    whole = make("whole.mp4", *H264)
    path = tmp_path / "a.mp4"
    command = [ffmpeg, "-v", "error", "-ss", "1.5", "-i", str(whole), "-c", "copy", "-movflags", flags]
    subprocess.run([*command, str(path)], check=True)
    assert_same_as_ffmpeg(ffmpeg, path, 2, looks=False)
    _, every, media = sampled(path, fps=25)
    _, _, counted = sampled(path, num_frames=3)
    assert counted.duration == pytest.approx(media.duration)
    assert counted.duration == pytest.approx(every[-1], abs=0.1)


# ─── the correction itself ───────────────────────────────────────────────────────────────────────────────


class Packet:
    def __init__(self, dts: int | None) -> None:
        self.dts = self.pts = dts
        self.stream, self.duration = SimpleNamespace(index=0), 10


def corrected(stamps: list[int | None], *, start: int = 0, jumps: bool = True) -> tuple[list, int]:
    """Corrected stamps of packets 10 ms long, in milliseconds."""
    container = SimpleNamespace(
        format=SimpleNamespace(flags=av.format.Flags.ts_discont.value * jumps),
        streams=SimpleNamespace(best=lambda _: None),
        start_time=start * 1000,
    )
    pictures = SimpleNamespace(
        index=0, type="video", time_base=Fraction(1, 1000), average_rate=100, start_time=start
    )
    clock = Clock(container, pictures)
    packets = [Packet(stamp) for stamp in stamps]
    for packet in packets:
        clock.correct(packet)
    return [packet.dts for packet in packets], clock.jumps


@given(
    st.lists(st.integers(-(2**33), 2**33), min_size=1, max_size=5),
    st.lists(st.integers(1, 20), min_size=5, max_size=5),
    st.integers(-(2**33), 2**33),
)
def test_joined_parts_have_one_clock(begins, lengths, start):
    """Wherever the parts of a recording begin, its clock goes on; without breaks it is the file's."""
    parts = [[begin + 10 * i for i in range(length)] for begin, length in zip(begins, lengths, strict=False)]
    stamps, breaks = corrected([stamp for part in parts for stamp in part], start=start)
    assert stamps[0] == begins[0] - start
    assert breaks <= len(parts) - 1
    steps = np.diff(stamps)
    assert (steps >= -100).all()
    assert (steps <= 10_010).all()


def test_only_formats_with_discontinuities_are_joined():
    hour = 3_600_000
    assert corrected([0, 10, hour, hour + 10], jumps=False) == ([0, 10, hour, hour + 10], 0)
    # More than 30 hours is damage, as ffmpeg has it.
    assert corrected([0, 10, 200 * hour, 200 * hour, 40], jumps=False) == ([0, 10, None, None, 40], 1)
