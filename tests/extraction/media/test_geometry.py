"""Pictures as players show them: turned, mirrored, of square pixels, cropped."""

import struct
import subprocess
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mlcmr.extraction import extract
from mlcmr.extraction.media.cropping import Cropping, container_cropping
from mlcmr.extraction.media.decode import open_media
from mlcmr.extraction.media.geometry import Geometry
from mlcmr.extraction.media.sampling import Sampling
from mlcmr.extraction.records import read_videos
from tests.helpers.frame_number import frame_number

WIDTH, HEIGHT = 64, 48
COLOURS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)
"""One for each quarter of the picture."""


def make_video(path: Path, *, ratio: Fraction | None = None, matrix: tuple[int, ...] | None = None) -> Path:
    picture = COLOURS.repeat(HEIGHT // 2, axis=0).repeat(WIDTH // 2, axis=1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=5, options={"qp": "10"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv444p"
        if ratio:
            stream.codec_context.sample_aspect_ratio = ratio
        if matrix:
            stream.set_display_matrix(matrix)
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def first(path: Path) -> tuple[np.ndarray, tuple[int, int]]:
    with open_media(path) as media:
        frame = next(media.sample(Sampling(num_frames=1)))
    return frame.picture, (media.width, media.height)


def quarters(picture: np.ndarray) -> np.ndarray:
    """The colours of the quarters."""
    height, width = picture.shape[:2]
    seen = picture[[height // 4, height * 3 // 4]][:, [width // 4, width * 3 // 4]]
    return np.where(seen > 127, 255, 0).astype(np.uint8)


def matrix(a: int, b: int, c: int, d: int) -> tuple[int, ...]:
    return (a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)


ORIENTATIONS = [
    matrix(*numbers)
    for numbers in [
        *((1, 0, 0, 1), (-1, 0, 0, 1), (1, 0, 0, -1), (-1, 0, 0, -1)),
        *((0, 1, 1, 0), (0, -1, 1, 0), (0, 1, -1, 0), (0, -1, -1, 0)),
    ]
]


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("ratio", [None, Fraction(2)])
def test_all_orientations_as_ffmpeg_shows_them(ffmpeg, tmp_path, orientation, ratio):
    path = make_video(tmp_path / "a.mp4", matrix=orientation, ratio=ratio)
    command = [ffmpeg, "-v", "error", "-i", str(path), "-frames:v", "1", str(tmp_path / "a.png")]
    subprocess.run(command, check=True)
    shown = np.asarray(Image.open(tmp_path / "a.png").convert("RGB"))
    picture, size = first(path)
    np.testing.assert_array_equal(quarters(picture), quarters(shown))
    wide = WIDTH * (ratio or 1), HEIGHT
    expected = wide if shown.shape[1] == WIDTH else wide[::-1]
    assert picture.shape[1::-1] == size == expected


def test_the_eight_orientations_differ(tmp_path):
    seen = {quarters(first(make_video(tmp_path / "a.mp4", matrix=one))[0]).tobytes() for one in ORIENTATIONS}
    assert len(seen) == 8


@pytest.mark.parametrize(("name", "size"), [("hflip.mp4", (160, 96)), ("transpose.mp4", (96, 160))])
def test_mirrored_recordings(cases, tmp_path, name, size):
    extract(cases / name, tmp_path / "c", rate=1)
    (record,) = read_videos(tmp_path / "c")
    assert (record.width, record.height) == size
    with Image.open(tmp_path / "c" / record.segments[0].thumbnail) as thumbnail:
        assert thumbnail.size == size
        red, green, blue = (4, 4), (4, size[1] - 5), (size[0] - 5, 4)
        if name == "hflip.mp4":
            red, green, blue = (size[0] - 5, 4), (4, 4), (4, size[1] - 5)
        for place, channel in ((red, 0), (green, 1), (blue, 2)):
            assert np.argmax(thumbnail.getpixel(place)) == channel


def test_pixels_that_are_not_square(cases, tmp_path):
    extract(cases / "sar.mkv", tmp_path / "c", rate=1)
    (record,) = read_videos(tmp_path / "c")
    assert (record.width, record.height) == (342, 96)
    with Image.open(tmp_path / "c" / record.segments[0].thumbnail) as thumbnail:
        assert thumbnail.size == (320, 90)
    picture, size = first(cases / "sar.mkv")
    assert picture.shape[1::-1] == size == (342, 96)
    assert frame_number(picture) == 14


def of(size: tuple[int, int], ratio: Fraction | None, hidden: Cropping) -> Geometry:
    frame = SimpleNamespace(width=size[0], height=size[1], side_data=[])
    return Geometry.of(hidden, SimpleNamespace(sample_aspect_ratio=ratio), frame)


@pytest.mark.parametrize("ratio", [Fraction(1, 1000), Fraction(1000), Fraction(0), None, Fraction(1)])
def test_strange_pixels_are_square(ratio):
    assert of((WIDTH, HEIGHT), ratio, Cropping()).shown_size == (WIDTH, HEIGHT)


@pytest.mark.parametrize(("ratio", "width"), [("16/15", 68), ("1/2", 32), ("2", 128)])
def test_pixels_become_square_by_their_width(ratio, width):
    assert of((WIDTH, HEIGHT), Fraction(ratio), Cropping()).shown_size == (width, HEIGHT)


@given(
    st.tuples(st.integers(1, 12_000), st.integers(1, 12_000)),
    st.fractions(0, 20, max_denominator=100),
    st.tuples(*[st.integers(0, 7_000)] * 4),
)
def test_any_header_gives_a_picture_of_bounded_size(size, ratio, sides):
    width, height = of(size, ratio, Cropping(*sides)).shown_size
    assert min(width, height) >= 1
    assert width * height <= max(size[0] * size[1], Image.MAX_IMAGE_PIXELS)


# ─── what the container crops ────────────────────────────────────────────────────────────────────────────


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), name) + content


def with_clean_aperture(path: Path, width: int, height: int, right: int, down: int) -> Path:
    """Give an mp4 file whose head stands at its end a `clap` box."""
    content = path.read_bytes()
    clap = box(b"clap", struct.pack(">IIIIiIiI", width, 1, height, 1, right, 2, down, 2))
    entry = content.index(b"avc1", content.index(b"stsd")) - 4
    size = struct.unpack_from(">I", content, entry)[0]
    changed = bytearray(content[: entry + size] + clap + content[entry + size :])
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1"):
        at = changed.index(name, content.index(b"moov")) - 4
        struct.pack_into(">I", changed, at, struct.unpack_from(">I", changed, at)[0] + len(clap))
    path.write_bytes(changed)
    return path


def elements(content: bytes) -> list[tuple[bytes, bytes]]:
    """Ids and contents of EBML elements."""
    found = []
    while content:
        past = 9 - content[0].bit_length()
        length = 9 - content[past].bit_length()
        size = int.from_bytes(content[past : past + length], "big") & ((1 << 7 * length) - 1)
        begin = past + length
        found.append((content[:past], content[begin : begin + size]))
        content = content[begin + size :]
    return found


def element(name: bytes, content: bytes) -> bytes:
    return name + (1 << 56 | len(content)).to_bytes(8, "big") + content


def with_pixel_crop(path: Path, crop: Cropping) -> Path:
    """Give the first track of a Matroska file crops; its index is left out."""
    names = (b"\x54\xcc", b"\x54\xbb", b"\x54\xdd", b"\x54\xaa")
    sides = b"".join(element(name, bytes([side])) for name, side in zip(names, crop, strict=True))

    def changed(name: bytes, content: bytes) -> bytes:
        if name == b"\xe0":  # Video
            return element(name, content + sides)
        if name in (b"\x18\x53\x80\x67", b"\x16\x54\xae\x6b", b"\xae"):  # Segment, Tracks, TrackEntry
            content = b"".join(changed(*one) for one in elements(content))
        is_index = name in (b"\x11\x4d\x9b\x74", b"\x1c\x53\xbb\x6b")
        return b"" if is_index else element(name, content)

    path.write_bytes(b"".join(changed(*one) for one in elements(path.read_bytes())))
    return path


def test_a_clean_aperture_is_what_is_shown(tmp_path):
    path = with_clean_aperture(make_video(tmp_path / "a.mp4"), 32, 24, -32, -24)  # the first quarter
    assert container_cropping(path, "mov,mp4", 0) == Cropping(0, 0, 32, 24)
    picture, size = first(path)
    assert picture.shape[1::-1] == size == (32, 24)
    assert (quarters(picture) == COLOURS[0, 0]).all()


@pytest.mark.parametrize(
    ("aperture", "hidden"),
    [
        (
            (31, 23, 0, 0),
            Cropping(16, 12, 17, 13),
        ),  # in the middle: half a pixel is cut on the right and below
        ((32, 24, 3, -3), Cropping(17, 10, 15, 14)),
        ((32, 24, -3, 3), Cropping(14, 13, 18, 11)),
        ((32, 24, 200, 0), Cropping(116, 12, 0, 12)),
        ((200, 200, 0, 0), Cropping()),
    ],
)
def test_a_clean_aperture_keeps_its_size_at_odd_offsets(tmp_path, aperture, hidden):
    path = with_clean_aperture(make_video(tmp_path / "a.mp4"), *aperture)
    assert container_cropping(path, "mov,mp4", 0) == hidden


def test_a_clean_aperture_of_wide_pixels_is_turned(tmp_path):
    path = make_video(tmp_path / "a.mp4", ratio=Fraction(2), matrix=ORIENTATIONS[6])
    picture, size = first(with_clean_aperture(path, 32, 24, 32, -24))  # the second quarter
    assert picture.shape[1::-1] == size == (24, 64)
    assert (quarters(picture) == COLOURS[0, 1]).all()


def test_a_pixel_crop_of_matroska(tmp_path):
    path = make_video(tmp_path / "a.mkv")
    with_pixel_crop(path, Cropping(0, 24, 32, 0))  # the third quarter
    assert container_cropping(path, "matroska,webm", 0) == Cropping(0, 24, 32, 0)
    picture, size = first(path)
    assert picture.shape[1::-1] == size == (32, 24)
    assert (quarters(picture) == COLOURS[1, 0]).all()


@given(st.binary(max_size=300), st.sampled_from(["mov", "matroska"]))
def test_a_damaged_head_crops_nothing_and_ends(tmp_path_factory, content, kind):
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content)
    assert min(container_cropping(path, kind, 0)) >= 0


def test_a_mutated_head_crops_nothing_that_is_not_there(tmp_path):
    random = np.random.default_rng(0)
    for path in (
        with_clean_aperture(make_video(tmp_path / "a.mp4"), 32, 24, 0, 0),
        with_pixel_crop(make_video(tmp_path / "a.mkv"), Cropping(1, 2, 3, 4)),
    ):
        content = path.read_bytes()
        for _ in range(100):
            changed = bytearray(content)
            for place in random.integers(0, len(content), 20):
                changed[place] = random.integers(256)
            path.write_bytes(changed)
            for kind in ("mov", "matroska"):
                shown = of((WIDTH, HEIGHT), None, container_cropping(path, kind, 0)).shown_size
                assert 1 <= shown[0] <= WIDTH
                assert 1 <= shown[1] <= HEIGHT
