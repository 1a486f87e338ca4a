"""Files that ask for much more than they hold, or for other files."""

import json
import os
import struct
import time
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from mlcmr.extraction import extract
from mlcmr.extraction.media.decode import open_media
from mlcmr.extraction.media.images import UnreadableFileError
from mlcmr.extraction.media.sampling import Sampling
from mlcmr.extraction.records import read_videos
from mlcmr.sample.video import read_video


def write(path: Path, seconds: list[float], sound: float = 0) -> Path:
    """A video whose frames are shown at any times, perhaps with sound."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width = stream.height = 32
        stream.pix_fmt, stream.codec_context.time_base = "yuv420p", Fraction(1, 1000)
        if sound:
            track = container.add_stream("aac", rate=8000)
            for number in range(int(sound * 8000 / 1024)):
                samples = np.zeros((1, 1024), np.float32)
                tone = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
                tone.sample_rate, tone.pts, tone.time_base = 8000, number * 1024, Fraction(1, 8000)
                container.mux(track.encode(tone))
            container.mux(track.encode())
        for number, second in enumerate(seconds):
            picture = np.full((32, 32, 3), number * 37 % 256, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = round(second * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def y4m(path: Path, rate: str, frames: int, side: int = 16) -> Path:
    picture = b"FRAME\n" + bytes(side * side * 3 // 2)
    path.write_bytes(b"YUV4MPEG2 W%d H%d F%s Ip A1:1 C420\n" % (side, side, rate.encode()) + picture * frames)
    return path


def rows(path: Path, rate: float = 2) -> int:
    with open_media(path) as media:
        return sum(1 for _ in media.sample(Sampling(fps=rate)))


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: y4m(folder / "a.y4m", "1:100000", 62),
        lambda folder: y4m(folder / "b.mp4", "1:20000", 2000, side=2),
        lambda folder: y4m(folder / "c.mp4", "1:2147483647", 2000, side=2),
        lambda folder: write(folder / "d.mkv", [72_000.0 * number for number in range(100)]),
        lambda folder: write(folder / "e.mkv", [0, 0.04, 107_000]),
    ],
    ids=["slow", "slow and small", "slowest", "jumps", "one jump"],
)
def test_a_small_file_does_not_ask_for_millions_of_frames(tmp_path, make):
    path = make(tmp_path)
    began = time.monotonic()
    with pytest.raises(UnreadableFileError, match=r"last so long that .* lower `rate`"):
        rows(path)
    assert time.monotonic() - began < 5
    with open_media(path) as media:  # a number of frames costs what it says
        assert len(list(media.sample(Sampling(num_frames=5)))) == 5


def test_such_a_file_is_skipped_and_counted(tmp_path):
    (tmp_path / "films").mkdir()
    y4m(tmp_path / "films" / "a.y4m", "1:100000", 62)
    write(tmp_path / "films" / "b.mp4", [0, 0.5, 1])
    summary = extract(tmp_path / "films", tmp_path / "c", rate=2)
    assert (summary.videos, len(summary.skipped)) == (1, 1)
    assert "\n" not in summary.skipped[0][1]


@pytest.mark.parametrize("ending", ["mp4", "mkv", "y4m"])
def test_a_slide_show_is_read(tmp_path, ending):
    """A picture a minute for an hour."""
    path = tmp_path / f"a.{ending}"
    if ending == "y4m":
        y4m(path, "1:60", 60)
    else:
        write(path, [60.0 * number for number in range(60)])
    assert rows(path) == pytest.approx(7140, abs=61)


def test_a_still_picture_with_long_sound_is_read(tmp_path):
    path = write(tmp_path / "a.mp4", [0, 600], sound=600)
    assert rows(path) == pytest.approx(1200, abs=2)


def test_a_day_of_a_watching_camera_is_read(tmp_path):
    """A picture a minute."""
    path = write(tmp_path / "a.mp4", [60.0 * number for number in range(1440)])
    with open_media(path) as media:
        assert sum(1 for _ in media.sample(Sampling(fps=2))) == pytest.approx(172_800, abs=121)
        assert media.duration == pytest.approx(86_400, abs=61)


def box(name: bytes, *contents: bytes) -> bytes:
    content = b"".join(contents)
    return struct.pack(">I4s", 8 + len(content), name) + content


def mov(
    samples: int,
    edits: int = 0,
    fragment: int = 0,
    *,
    kinds: tuple[bytes, ...] = (b"vide",),
    lasts: tuple[int, ...] = (40,),
    chunk: int = 1,
) -> bytes:
    """The head of a mov file whose one track claims samples of one byte."""
    sample = box(b"stsz", struct.pack(">III", 0, 1, samples))
    sample += b"".join(box(b"stts", struct.pack(">IIII", 0, 1, samples, ticks)) for ticks in lasts)
    sample += b"".join(box(b"hdlr", bytes(8), kind, bytes(13)) for kind in kinds)
    sample += box(b"stsc", struct.pack(">5I", 0, 1, 1, chunk, 1)) + box(
        b"stco", struct.pack(">4I", 0, 2, 8, 8)
    )
    edit = box(b"edts", box(b"elst", struct.pack(">II", 0, edits), struct.pack(">IiI", 1, 0, 65536) * edits))
    track = box(b"trak", edit, box(b"mdia", box(b"minf", box(b"stbl", sample))))
    run = box(b"moof", box(b"traf", box(b"trun", struct.pack(">II", 0, fragment))))
    return box(b"ftyp", b"isom") + box(b"moov", track) + run


def compressed(head: bytes, length: int) -> bytes:
    """The head of an old QuickTime file."""
    content = box(b"dcom", b"zlib") + box(b"cmvd", struct.pack(">I", length), zlib.compress(head))
    return box(b"ftyp", b"qt  ") + box(b"moov", box(b"cmov", content))


NESTED = box(b"moov", box(b"udta", mov(30_000_000)))


@pytest.mark.parametrize(
    "content",
    [
        mov(30_000_000),
        mov(90_000, edits=1000),
        mov(0, fragment=2**32 - 1),
        box(b"free") * 1_000_001,
        NESTED,
        mov(30_000_000)[12:],  # after the brand
        compressed(mov(30_000_000), 400),
        compressed(bytes(1 << 27), 1 << 27),
        compressed(compressed(mov(30_000_000), 400), 400),
        mov(30_000_000, lasts=(1,)),
        mov(30_000_000, lasts=(1, 40), kinds=(b"soun",)),
        mov(30_000_000, lasts=(1,), kinds=(b"soun", b"vide")),
        mov(1, lasts=(1,), kinds=(b"soun", b"alis"), chunk=2**31),
        mov(30_000_000) + struct.pack(">I4s", 4, b"free"),
        mov(30_000_000) + struct.pack(">I4s", 1, b"free"),
        mov(30_000_000) + struct.pack(">I4s", 16, b"trun"),
        mov(30_000_000) + box(b"moov", box(b"cmov", box(b"cmvd", bytes(20)))),
    ],
    ids=[
        *("samples", "edits", "fragment", "boxes", "nested", "unnamed", "compressed", "bomb", "twice"),
        *("ticks", "two tables", "two kinds", "chunks"),
        *("short box", "cut length", "cut box", "damaged head"),
    ],
)
def test_an_index_that_is_larger_than_its_file_is_not_made(tmp_path, content):
    path = tmp_path / "a.mov"
    path.write_bytes(content)
    with pytest.raises(
        UnreadableFileError, match=r"a\.mov: (claims .* frames|more than .* boxes|its header)"
    ):
        rows(path)


def test_a_file_that_ends_within_its_compressed_head_is_not_called_too_large(tmp_path):
    path = tmp_path / "a.mov"
    path.write_bytes(compressed(mov(30), 400)[:-10])
    with pytest.raises(UnreadableFileError, match="not a video that can be read"):
        rows(path)


@pytest.mark.parametrize("options", [{}, {"movflags": "frag_keyframe+empty_moov"}])
def test_an_honest_index_is_believed(tmp_path, options):
    path = tmp_path / "a.mov"
    with av.open(str(path), "w", options=options) as container:
        pictures, sound = (
            container.add_stream("mpeg4", rate=25),
            container.add_stream("pcm_s16le", rate=48000),
        )
        pictures.width = pictures.height = 32
        pictures.pix_fmt, sound.layout = "yuv420p", "mono"
        for number in range(25):
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 1920), np.int16), format="s16", layout="mono")
            samples.sample_rate, samples.pts = 48000, 1920 * number
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            container.mux(pictures.encode(frame.reformat(format="yuv420p")))
            container.mux(sound.encode(samples))
        for stream in (pictures, sound):
            container.mux(stream.encode())
    assert rows(path, rate=25) == 25


LISTS = {
    "concat": "ffconcat version 1.0\nfile {other}\n",
    "a list that names itself": "ffconcat version 1.0\nfile a.mp4\n",
    "HLS": "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{other}\n#EXT-X-ENDLIST\n",
    "SDP": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
    "a=rtpmap:96 H264/90000\n",
    "DASH": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT5S"><Period><AdaptationSet><Representation id="1" bandwidth="1">'
    "<BaseURL>{other}</BaseURL></Representation></AdaptationSet></Period></MPD>",
}


@pytest.mark.parametrize("content", LISTS.values(), ids=LISTS)
@pytest.mark.parametrize("name", ["a.mp4", "a.m3u8.mkv"])
def test_a_file_that_names_other_files_is_not_read(tmp_path, monkeypatch, name, content):
    monkeypatch.chdir(tmp_path)
    other = write(tmp_path / "other.mp4", [0, 1])
    Path(name).write_text(content.format(other=other.name))
    for path in (Path(name), tmp_path / name):
        with pytest.raises(UnreadableFileError, match=r"not (a video|in a format)"):
            rows(path)
    with pytest.raises((av.FFmpegError, ValueError)):
        read_video(tmp_path / name)


def with_outside_data(content: bytes, other: Path) -> bytes:
    """Say that the samples of a QuickTime file, whose head stands at its end, lie in another file."""
    name = str(other).encode()
    name += b"\0" * (len(name) % 2)
    alias = bytes(10) + bytes(1 + 27 + 12) + bytes(1 + 63 + 16) + struct.pack(">HH", 1, 1) + bytes(16)
    alias += struct.pack(">HH", 2, len(name)) + name + struct.pack(">hH", -1, 0)
    references = box(b"dref", struct.pack(">II", 0, 1), box(b"alis", bytes(4), alias))
    begin = content.index(b"dref") - 4
    (length,) = struct.unpack_from(">I", content, begin)
    changed = bytearray(content[:begin] + references + content[begin + length :])
    for parent in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
        at = content.index(parent, content.index(b"moov")) - 4
        (size,) = struct.unpack_from(">I", changed, at)
        struct.pack_into(">I", changed, at, size + len(references) - length)
    start = changed.index(b"mdat") + 4
    changed[start : changed.index(b"moov") - 4] = bytes(changed.index(b"moov") - 4 - start)
    return bytes(changed)


def test_samples_in_another_file_are_not_read(tmp_path):
    other = write(tmp_path / "other.mov", [0, 1])
    path = tmp_path / "a.mov"
    path.write_bytes(with_outside_data(other.read_bytes(), other))
    follow = {"enable_drefs": "1", "use_absolute_path": "1", "protocol_whitelist": "file"}
    with av.open(str(path), container_options=follow) as container:
        assert len(list(container.decode(video=0))) == 2  # FFmpeg could
    with pytest.raises(UnreadableFileError):
        rows(path)


def test_a_sequence_of_images_is_not_read(tmp_path):
    for number in range(3):
        (tmp_path / f"a{number}.mp4").write_bytes(b"\xff\xd8\xff\xe0")
    (tmp_path / "a%d.mp4").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(UnreadableFileError, match="a%d"):
        rows(tmp_path / "a%d.mp4")


@pytest.mark.parametrize("name", ["concat:a.mp4", "http:a.mp4", "subfile,,start,0,end,9,,:a.mp4", "a:b.mp4"])
def test_a_name_is_no_address(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "plain.mp4", [0, 1]).rename(tmp_path / name)
    assert rows(Path(name)) > 0


def test_nothing_of_a_library_reaches_the_screen(cases, tmp_path, capfd):
    """Damaged, cut and strange files: our lines, or nothing."""
    (tmp_path / "films").mkdir()
    for path in cases.iterdir():
        if path.suffix in {".ts", ".mp4", ".mkv", ".webm", ".m1v"}:
            content = bytearray(path.read_bytes())
            (tmp_path / "films" / path.name).write_bytes(content)
            third = len(content) // 3
            content[third : third + 200] = os.urandom(200)
            (tmp_path / "films" / f"damaged-{path.name}").write_bytes(content)
            (tmp_path / "films" / f"cut-{path.name}").write_bytes(content[: 2 * third])
    extract(tmp_path / "films", tmp_path / "c", rate=2)
    assert capfd.readouterr() == ("", "")
    assert all(json.loads(json.dumps(record.times)) for record in read_videos(tmp_path / "c"))
