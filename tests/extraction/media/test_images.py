"""Pictures, still and moving: their content decides what they are, and they look as they are meant to."""

import io
import logging
import shutil
import struct
import subprocess
import sys
import tracemalloc
import zlib
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from mlcmr.data.ids import IMAGE_ENDINGS
from mlcmr.extraction import extract, sample_file
from mlcmr.extraction.encoders.histogram import HistogramEncoder
from mlcmr.extraction.media import animations
from mlcmr.extraction.media import images as pictures
from mlcmr.extraction.media.decode import UnknownFormatError, open_media
from mlcmr.extraction.media.images import Canvas, UnreadableFileError
from mlcmr.extraction.media.sampling import Sampling
from mlcmr.extraction.records import read_videos
from tests.helpers.frame_number import frame_number
from tests.helpers.videos import make_video


def shown(path: Path) -> np.ndarray:
    """The picture of a still picture's file."""
    with open_media(path) as media:
        (frame,) = media.sample(Sampling(num_frames=1))
        assert (media.kind, media.duration) == ("image", 0)
        assert (media.height, media.width) == frame.picture.shape[:2]
    return frame.picture


def sampled(path: Path, sampling: Sampling) -> tuple[list[float], list[int], float]:
    """Times, numbers of the frames, and duration of a moving picture."""
    with open_media(path) as media:
        frames = list(media.sample(sampling))
        assert media.kind == "video"
    return [one.time for one in frames], [frame_number(one.picture) for one in frames], media.duration


def numbered(number: int) -> Image.Image:
    picture = np.zeros((48, 100, 3), np.uint8)
    for bit in range(10):
        if number >> bit & 1:
            picture[:, bit * 10 : bit * 10 + 10] = 255
    return Image.fromarray(picture)


def moving_picture(path: Path, kind: str, durations: list[int], **options) -> Path:
    """A moving picture whose frames show their numbers; durations in milliseconds."""
    first, *others = [numbered(number) for number in range(len(durations))]
    options |= {"WEBP": {"lossless": True}, "AVIF": {"quality": 90}}.get(kind, {})
    first.save(path, kind, save_all=True, append_images=others, duration=durations, loop=0, **options)
    return path


# ─── moving pictures ─────────────────────────────────────────────────────────────────────────────────────

KINDS = ["GIF", "WEBP", "PNG", "AVIF"]
DURATIONS = [100, 300, 50, 1000, 20, 200, 400, 130]


@pytest.mark.parametrize("ending", [".webp", ".png", ".gif", ".jpg", ".mp4"])
def test_a_moving_picture_is_a_video_whatever_its_ending(cases, tmp_path, ending):
    path = shutil.copy(cases / "anim.webp", tmp_path / f"a{ending}")
    times, numbers, duration = sampled(path, Sampling(fps=2))
    assert duration == 10
    assert len(times) == 20
    assert numbers == sorted(set(numbers))
    assert len(sampled(path, Sampling(num_frames=8))[1]) == 8


@pytest.mark.parametrize("sampling", [Sampling(fps=2), Sampling(fps=10), Sampling(num_frames=5)])
def test_all_kinds_of_one_moving_picture_have_the_same_rows(tmp_path, sampling):
    found = [sampled(moving_picture(tmp_path / kind, kind, DURATIONS), sampling) for kind in KINDS]
    assert found[0][2] == 2.2
    assert all(one == found[0] for one in found)


@pytest.mark.parametrize("kind", KINDS)
def test_frames_that_are_said_to_last_no_time_are_shown_as_browsers_do(tmp_path, kind):
    _times, numbers, duration = sampled(
        moving_picture(tmp_path / "a", kind, [500, 10, 10, 500]), Sampling(fps=10)
    )
    assert duration == 1.2
    assert numbers == [0, 0, 0, 0, 0, 1, 2, 3, 3, 3, 3, 3]


@given(st.lists(st.integers(2, 60), min_size=2, max_size=6), st.integers(1, 7))
def test_the_frames_are_those_of_the_same_video(tmp_path_factory, hundredths, count):
    """As FFmpeg reads the GIF."""
    folder = tmp_path_factory.mktemp("same")
    path = moving_picture(folder / "a.gif", "GIF", [10 * one for one in hundredths])
    with av.open(str(path)) as container:
        ends = np.cumsum(hundredths) / 100
        assert len(list(container.decode(video=0))) == len(hundredths)
    _times, numbers, duration = sampled(path, Sampling(num_frames=count))
    assert duration == pytest.approx(ends[-1])
    middles = ends[-1] * (2 * np.arange(count) + 1) / (2 * count)
    expected = [int(np.searchsorted(ends, middle - 1e-9)) for middle in middles]
    assert numbers == expected


@pytest.mark.parametrize("kind", KINDS)
def test_one_frame_is_a_still_picture(tmp_path, kind):
    numbered(77).save(tmp_path / "a.gif", kind, quality=95)
    assert frame_number(shown(tmp_path / "a.gif")) == 77


def test_an_apng_s_picture_for_other_programs_is_no_frame(tmp_path):
    path = moving_picture(tmp_path / "a.png", "PNG", [100, 200, 999], default_image=True)
    assert sampled(path, Sampling(fps=10))[1:] == ([1, 2, 2], 0.3)
    one = moving_picture(tmp_path / "b.png", "PNG", [100, 100], default_image=True)
    assert frame_number(shown(one)) == 0


@pytest.mark.parametrize("kind", ["TIFF", "MPO"])
def test_pages_and_views_are_no_frames(tmp_path, kind):
    first, second = numbered(5), numbered(6)
    first.save(tmp_path / "a.jpg", kind, save_all=True, append_images=[second])
    assert frame_number(shown(tmp_path / "a.jpg")) == 5


def test_a_moving_picture_is_extracted_as_a_video(cases, tmp_path):
    (tmp_path / "in").mkdir()
    shutil.copy(cases / "anim.webp", tmp_path / "in")
    moving_picture(tmp_path / "in" / "b.avif", "AVIF", [500] * 50)
    extract(tmp_path / "in", tmp_path / "out", rate=2, segment=10.0)
    anim, b = read_videos(tmp_path / "out")
    assert (anim.kind, anim.duration, len(anim.times)) == ("video", 10, 20)
    assert [(one.start, one.end, one.frames) for one in b.segments] == [
        (0, 10, (0, 20)),
        (10, 20, (20, 40)),
        (20, 25, (40, 50)),
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_moving_picture_that_breaks_off_is_read_as_far_as_it_goes(tmp_path, kind):
    path = moving_picture(tmp_path / "a", kind, [100] * 200)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    if kind == "WEBP":  # its decoder refuses a broken container
        with pytest.raises(UnreadableFileError), open_media(path):
            pass
        return
    _, numbers, duration = sampled(path, Sampling(fps=10))
    assert numbers == list(range(len(numbers)))
    assert 50 < len(numbers) < 150
    assert duration == pytest.approx(len(numbers) / 10)


def test_a_frame_that_is_larger_than_its_screen_changes_no_size(tmp_path):
    content = bytearray(moving_picture(tmp_path / "a.gif", "GIF", [100] * 3).read_bytes())
    content[6:10] = struct.pack("<HH", 60, 20)  # the logical screen
    (tmp_path / "a.gif").write_bytes(content)
    with open_media(tmp_path / "a.gif") as media:
        sizes = {frame.picture.shape for frame in media.sample(Sampling(fps=10))}
        assert sizes == {(media.height, media.width, 3)}


@pytest.mark.parametrize("kind", KINDS)
def test_a_moving_picture_cut_anywhere_is_read_or_refused(tmp_path, kind):
    whole = moving_picture(tmp_path / "a", kind, [100] * 5).read_bytes()
    for size in range(20, len(whole), max(1, len(whole) // 40)):
        (tmp_path / "b").write_bytes(whole[:size])
        with suppress(UnreadableFileError), open_media(tmp_path / "b") as media:
            assert list(media.sample(Sampling(num_frames=3)))


@pytest.mark.parametrize("kind", KINDS)
def test_too_many_frames_are_refused(tmp_path, monkeypatch, kind):
    path = moving_picture(tmp_path / "a", kind, [100] * 30)
    monkeypatch.setattr(animations, "_MOST_FRAMES", 20)
    with pytest.raises(UnreadableFileError, match="too many"), open_media(path) as media:
        list(media.sample(Sampling(fps=10)))
    monkeypatch.setattr(animations, "_MOST_FRAMES", 10**6)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100 * 50)
    monkeypatch.setattr(animations, "_MOST_PICTURES", 10)
    with pytest.raises(UnreadableFileError, match="too many"), open_media(path) as media:
        list(media.sample(Sampling(fps=10)))


# ─── content, not names ──────────────────────────────────────────────────────────────────────────────────


def test_the_content_decides_what_a_file_is(cases, tmp_path):
    numbered(9).save(tmp_path / "a.mp4", "PNG")
    assert frame_number(shown(tmp_path / "a.mp4")) == 9
    make_video(tmp_path / "b.mp4").rename(tmp_path / "b.jpg")
    with open_media(tmp_path / "b.jpg") as media:
        assert (media.kind, len(list(media.sample(Sampling(fps=10))))) == ("video", 30)


@pytest.mark.parametrize("name", ["a.png", "a.eps", "a.jpg", "a.mp4"])
@pytest.mark.parametrize(
    "content",
    [
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n",
        b"%!PSfree\n%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n",
        b"\xc5\xd0\xd3\xc6" + struct.pack("<II", 30, 100) + bytes(18) + b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"\xd7\xcd\xc6\x9a\x00\x00" + bytes(60),  # WMF
        b"SIMPLE  =                    T" + b" " * 2850,  # FITS
        b"\x89HDF\r\n\x1a\n" + bytes(100),
        b"\0\0\1\0\1\0\x10\x10\0\0\1\0\x20\0" + bytes(2000),  # ICO
        b"P6 10 10 255\n" + bytes(300),
    ],
)
def test_no_other_reader_of_pictures_is_started(tmp_path, monkeypatch, name, content):
    started = []
    monkeypatch.setattr(subprocess, "Popen", lambda *given, **_: started.append(given))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnknownFormatError, match=rf"{name}: not an? "), open_media(tmp_path / name):
        pass
    assert started == []


# ─── how pictures look ───────────────────────────────────────────────────────────────────────────────────


def quarters(kind: str) -> Image.Image:
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:24, :32], picture[:24, 32:] = (220, 30, 30), (30, 200, 30)
    picture[24:42], picture[42:] = 200, (30, 30, 220)
    return Image.fromarray(picture)


_TO_STORE = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: np.rot90,
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "HEIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_eight_orientations(cases, tmp_path, kind, orientation):
    upright = np.asarray(quarters(kind))
    path = cases / f"turned{orientation}.heic"  # by `irot` and `imir`
    if kind != "HEIF":
        path = tmp_path / "a.png"
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = np.ascontiguousarray(_TO_STORE[orientation](upright))
        Image.fromarray(stored).save(path, kind, exif=exif, quality=95)
    assert np.abs(shown(path).astype(int) - upright).mean() < 10


@pytest.mark.parametrize("kind", ["WEBP", "PNG"])
def test_a_moving_picture_is_turned_too(tmp_path, kind):
    upright = np.asarray(quarters(kind))
    exif = Image.Exif()
    exif[0x0112] = 6
    first = Image.fromarray(np.ascontiguousarray(_TO_STORE[6](upright)))
    second = first.copy()
    second.putpixel((0, 0), (0, 0, 0))
    first.save(tmp_path / "a", kind, save_all=True, append_images=[second], duration=100, exif=exif)
    with open_media(tmp_path / "a") as media:
        assert (media.width, media.height) == (64, 48)
        for frame in media.sample(Sampling(fps=10)):
            assert np.abs(frame.picture.astype(int) - upright).mean() < 15


def test_broken_exif_data_break_no_picture(tmp_path):
    quarters("JPEG").save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x01\x12" * 40)
    assert shown(tmp_path / "a.jpg").shape == (48, 64, 3)


GREYS = np.linspace(0, 1, 64 * 48).reshape(48, 64)


@pytest.mark.parametrize(
    "values",
    [
        (GREYS * 2**31 - 2**30).astype(np.int32),
        (GREYS * 1e6).astype(np.int32),
        (GREYS * 200).astype(np.int32),
        (GREYS * 60_000).astype(np.int32),
        (GREYS * 60_000).astype(np.uint16),
        (GREYS * 4000).astype(np.uint16),
        (GREYS * 200).astype(np.uint16),
        (GREYS * 5).astype(np.uint16),
        GREYS.astype(np.float32),
        (GREYS * 1e-3).astype(np.float32),
        (GREYS * 255).astype(np.float32),
        (GREYS * 1e6 - 5e5).astype(np.float32),
        (GREYS * 1e30).astype(np.float32),
        np.where(GREYS < 0.1, np.nan, GREYS).astype(np.float32),
        np.where(GREYS < 0.1, np.inf, GREYS).astype(np.float32),
        np.where(GREYS < 0.1, -np.inf, GREYS * 1000).astype(np.float32),
    ],
    ids=str,
)
def test_numbers_of_any_range_keep_their_greys(tmp_path, values, recwarn):
    Image.fromarray(values).save(tmp_path / "a.tif")
    picture = shown(tmp_path / "a.tif")
    assert picture.std() > 30
    assert 60 < picture.mean() < 200
    finite = np.isfinite(values)
    order = np.argsort(values[finite], kind="stable")
    assert (np.diff(picture[..., 0][finite][order].astype(int)) >= 0).all()  # darker stays darker
    assert not recwarn.list


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0, 200.0, -7.0, 1e9, np.nan, np.inf])
def test_a_picture_of_one_number_is_of_one_grey(tmp_path, value, recwarn):
    Image.fromarray(np.full((8, 8), value, np.float32)).save(tmp_path / "a.tif")
    assert len(np.unique(shown(tmp_path / "a.tif"))) == 1
    assert not recwarn.list


def test_a_picture_of_32_bits_is_neither_white_nor_black(cases):
    assert 30 < shown(cases / "int32.tif").mean() < 225
    assert shown(cases / "int32.tif").std() > 20


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB", "P", "1", "L"])
def test_colours_of_other_models(tmp_path, mode):
    from PIL import ImageCms

    picture = quarters("TIFF")
    if mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        other = ImageCms.applyTransform(picture, ImageCms.buildTransform(*profiles, "RGB", "LAB"))
    else:
        other = picture.convert(mode)
    other.save(tmp_path / "a.tif")
    expected = np.asarray(other.convert("RGB") if mode in "P1L" else picture)
    assert np.abs(shown(tmp_path / "a.tif").astype(int) - expected).mean() < 12


def drawing(colour: int) -> Image.Image:
    image = Image.new("RGBA", (64, 48), (255 - colour,) * 3 + (0,))
    ImageDraw.Draw(image).ellipse((16, 8, 48, 40), fill=(colour,) * 3 + (255,))
    return image


@pytest.mark.parametrize("colour", [0, 20, 128, 240, 255])
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "AVIF", "TIFF", "GIF", "PNG LA", "PNG P", "PNG tRNS"])
def test_a_drawing_on_transparency_is_seen(tmp_path, colour, kind):
    kind, _, mode = kind.partition(" ")
    image = drawing(colour)
    options = {}
    if mode == "LA":
        image = image.convert("LA")
    elif mode == "P":
        image = image.quantize(8)
    elif mode == "tRNS":
        image, options = image.convert("RGB"), {"transparency": (255 - colour,) * 3}
        if colour == 128:
            pytest.skip("the colour of the drawing is next to that of the background")
    image.save(tmp_path / "a.png", kind, **options)
    picture = shown(tmp_path / "a.png").astype(int)
    assert np.abs(picture[24, 32] - colour).max() < 12
    assert np.abs(picture[24, 32] - picture[2, 2]).min() > 90
    assert picture[2, 2].min() in (0, 255)


def test_a_drawing_of_black_and_white_is_shown_as_it_is_on_paper(cases, tmp_path):
    image = drawing(0)
    ImageDraw.Draw(image).ellipse((24, 16, 40, 32), fill=(255, 255, 255, 255))
    image.save(tmp_path / "a.png")
    assert shown(tmp_path / "a.png")[2, 2].min() == 255
    black = shown(cases / "transparent_black.png")
    assert 0 < black.mean() < 255
    assert black.std() > 20


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
@pytest.mark.parametrize("colour", [0, 255])
def test_a_moving_drawing_on_transparency_is_seen(tmp_path, kind, colour):
    frames = [drawing(colour).rotate(angle, translate=(angle, 0)) for angle in (0, 5, 10)]
    frames[0].save(
        tmp_path / "a", kind, save_all=True, append_images=frames[1:], duration=100, disposal=2, lossless=True
    )
    with open_media(tmp_path / "a") as media:
        shots = [frame.picture for frame in media.sample(Sampling(fps=10))]
    assert len(shots) == 3
    assert all(shot.std() > 60 for shot in shots)
    assert len({int(shot[2, 2].mean()) for shot in shots}) == 1  # one background for all frames


def test_a_channel_of_transparency_without_meaning_hides_nothing():
    image = quarters("PNG").convert("RGBA")
    image.putalpha(0)
    np.testing.assert_array_equal(Canvas().draw(image), np.asarray(quarters("PNG")))


def test_a_transparent_picture_takes_little_memory():
    """Pixels that NumPy mixes take five times as much."""
    image = drawing(0).resize((2000, 1500))
    tracemalloc.start()
    Canvas().draw(image)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * image.width * image.height * 2.5


# ─── damage, and warnings of libraries ───────────────────────────────────────────────────────────────────


def chunk(kind: bytes, content: bytes) -> bytes:
    checked = kind + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def png_with(*chunks: bytes) -> bytes:
    file = io.BytesIO()
    numbered(3).save(file, "PNG")
    whole = file.getvalue()
    return whole[:33] + b"".join(chunks) + whole[33:]


def test_texts_that_unpack_to_much_are_refused(tmp_path):
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(200_000_000), 9))
    (tmp_path / "a.png").write_bytes(png_with(text))
    with (
        pytest.raises(UnreadableFileError, match=r"a\.png: not an image") as caught,
        open_media(tmp_path / "a.png"),
    ):
        pass
    assert "\n" not in str(caught.value)


def test_a_tile_that_unpacks_to_more_than_the_picture_is_refused(tmp_path):
    tags = [(256, 4, 16), (257, 4, 16), (258, 3, 8), (259, 3, 8), (262, 3, 1), (277, 3, 1)]
    tags += [(322, 4, 40_000), (323, 4, 40_000), (324, 4, 8), (325, 4, 100)]
    body = struct.pack("<H", len(tags))
    body += b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags) + bytes(4)
    (tmp_path / "a.tif").write_bytes(b"II*\0" + struct.pack("<I", 200) + bytes(192) + body)
    with pytest.raises(UnreadableFileError, match="too large an image"), open_media(tmp_path / "a.tif"):
        pass


def test_a_file_that_its_decoder_reads_as_a_whole_may_be_too_large(cases, tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "_MOST_BYTES", 1000)
    with pytest.raises(UnreadableFileError, match="larger than 1,000 bytes"), open_media(cases / "anim.webp"):
        pass


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "GIF", "JPEG2000"])
def test_reading_ends_when_it_is_told_to(tmp_path, kind):
    noise = np.random.default_rng(0).integers(0, 255, (600, 600, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a", kind)
    calls = 0

    def check():
        nonlocal calls
        calls += 1
        if calls == 3:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        sample_file(tmp_path / "a", HistogramEncoder(), Sampling(num_frames=1), check_cancelled=check)
    assert calls == 3


WARNS = """
import sys
from mlcmr.extraction.media.decode import open_media
from mlcmr.extraction.media.sampling import Sampling
from mlcmr.extraction.media.images import UnreadableFileError
for path in sys.argv[1:]:
    try:
        with open_media(path) as media:
            list(media.sample(Sampling(num_frames=1)))
    except UnreadableFileError as error:
        print(error)
"""


def test_no_warning_of_a_library_reaches_the_screen(cases, tmp_path):
    whole = tmp_path / "whole.tif"
    numbered(3).save(whole, compression="tiff_lzw", exif=Image.Exif())
    content = whole.read_bytes()
    files = [cases / "int32.tif", cases / "transparent_black.png"]
    for number in range(8, len(content), max(1, len(content) // 60)):
        path = tmp_path / f"{number}.tif"
        path.write_bytes(content[:number] + bytes([content[number] ^ 0x55]) + content[number + 1 :])
        files.append(path)
    (tmp_path / "apng.png").write_bytes(png_with(chunk(b"acTL", bytes(8)), chunk(b"acTL", bytes(8))))
    (tmp_path / "cut.webp").write_bytes((cases / "anim.webp").read_bytes()[:3000])
    (tmp_path / "cut.heic").write_bytes((cases / "turned1.heic").read_bytes()[:700])
    (tmp_path / "cut.jp2").write_bytes((cases / "a.jp2").read_bytes()[:900])
    palette = Image.new("P", (8, 8))
    palette.info["transparency"] = bytes(range(200))
    palette.save(tmp_path / "palette.png")
    files += [tmp_path / name for name in ("apng.png", "cut.webp", "cut.heic", "cut.jp2", "palette.png")]
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", WARNS, *map(str, files)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines
    assert all(line.startswith(str(tmp_path)) for line in lines)


def test_the_logs_of_libraries_stay_off_the_screen():
    assert not logging.getLogger("PIL").propagate


def test_every_ending_of_images_is_one_that_is_read(cases, tmp_path):
    """A picture of each kind, by the ending that it usually has."""
    kinds = {".bmp": "BMP", ".avif": "AVIF", ".tif": "TIFF", ".webp": "WEBP", ".jp2": "JPEG2000"}
    for ending, kind in kinds.items():
        numbered(5).save(tmp_path / f"a{ending}", kind)
        assert frame_number(shown(tmp_path / f"a{ending}")) == 5
        assert ending in IMAGE_ENDINGS
    assert {".heic", ".heif", ".hif"} <= IMAGE_ENDINGS
    assert shown(cases / "a.jp2").std() > 10
