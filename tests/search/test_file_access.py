"""Files that an index names: what is checked is what is handed out."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from mlcmr.extraction.media import decode
from mlcmr.search import file_access as handout
from mlcmr.search.file_access import NotHandedOut, open_media_file, open_thumbnail
from mlcmr.search.http.media import media_type


@pytest.fixture
def folder(tmp_path):
    return tmp_path.resolve()


def test_a_file_that_takes_the_name_after_the_check_is_not_judged(folder, cases, monkeypatch):
    """The descriptor holds a text; a film takes its name before the content is judged."""
    path = folder / "a.mp4"
    path.write_text("secret")
    opened = handout.open_below

    def open_and_swap(*arguments):
        file = opened(*arguments)
        path.unlink()
        shutil.copy(cases / "mdhd.mp4", path)
        return file

    monkeypatch.setattr(handout, "open_below", open_and_swap)
    with pytest.raises(NotHandedOut, match="neither a video nor a picture"):
        open_media_file(str(path), [str(folder)])


@pytest.mark.parametrize("content", [b"\xff\xd8\xff", b"\xff\xd8\xff\xe0\x00\x10JFIF\x00 secret", b"GIF89a"])
def test_the_first_bytes_of_a_jpeg_file_make_no_thumbnail(folder, content):
    (folder / "a.jpg").write_bytes(content + 100 * b"root:x:0:0:")
    with pytest.raises(NotHandedOut):
        open_thumbnail(str(folder / "a.jpg"), folder, [str(folder)])


def test_a_picture_of_another_format_is_no_thumbnail(folder):
    Image.new("RGB", (8, 8)).save(folder / "a.jpg", "PNG")
    with pytest.raises(NotHandedOut, match="not a JPEG file"):
        open_thumbnail(str(folder / "a.jpg"), folder, [str(folder)])


@pytest.mark.parametrize("allowed", [False, True])
def test_a_thumbnail_outside_its_collection_cannot_be_allowed(folder, allowed):
    (folder / "collection").mkdir()
    Image.new("RGB", (8, 8)).save(folder / "a.jpg")
    link = folder / "collection/link.jpg"
    link.symlink_to(folder / "a.jpg")
    with pytest.raises(NotHandedOut, match=r"link\.jpg: lies outside its collection, \S+/collection$"):
        open_thumbnail(str(link), folder / "collection", [str(folder)] if allowed else [])


@pytest.mark.parametrize("name", ["passwd", "a.txt", "mp4"])
def test_no_folder_is_advised_for_a_file_without_the_name_of_a_video(folder, name):
    link = folder / "link.mp4"
    link.symlink_to(folder / "other" / name)
    with pytest.raises(NotHandedOut, match=r"link\.mp4: lies outside .*; its name is not that of a video"):
        open_media_file(str(link), [])
    with pytest.raises(NotHandedOut, match=r"its name is not that of a video"):
        open_thumbnail(str(folder / "other" / name), folder / "other", [])


def test_the_folder_of_a_video_is_advised_as_the_shell_reads_it(folder):
    link = folder / "link"
    link.symlink_to(folder / "my films" / "A.MP4")
    with pytest.raises(NotHandedOut, match=rf"`mlcmr serve --media-root '{folder}/my films'`$"):
        open_media_file(str(link), [])


def test_a_content_is_judged_once_until_it_changes(folder, cases, monkeypatch):
    judged = []
    opened = decode.open_media
    monkeypatch.setattr(decode, "open_media", lambda path: judged.append(path) or opened(path))
    path = shutil.copy(cases / "mdhd.mp4", folder / "a.mp4")
    for _ in range(3):
        open_media_file(str(path), [str(folder)]).file.close()
    assert len(judged) == 1
    shutil.copy(cases / "sar.mkv", path)
    assert media_type("a.mkv", format_of(path)) == "video/x-matroska"
    assert len(judged) == 2


def format_of(path: Path) -> str:
    with (media := open_media_file(str(path), [str(path.parent)])).file:
        return media.format


@pytest.mark.parametrize(
    ("case", "kind"),
    [
        ("anim.webp", "image/webp"), ("a.jp2", "image/jp2"), ("cat.ts", "video/mp2t"),
        ("es.m1v", "video/mpeg"), ("int32.tif", "image/tiff"), ("live.webm", "video/webm"),
        ("mdhd.mp4", "video/mp4"), ("sar.mkv", "video/x-matroska"), ("transparent_black.png", "image/png"),
        ("turned1.heic", "image/heic"),
    ],
)  # fmt: skip
def test_the_type_of_a_file_is_that_of_its_content(folder, cases, case, kind):
    content = format_of(Path(shutil.copy(cases / case, folder / case)))
    assert media_type(case, content) == kind
    for ending in ("mp4", "webp", ""):
        assert format_of(Path(shutil.copy(cases / case, folder / f"a.{ending}"))) == content


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.mp4", "WEBP", "image/webp"),
        ("a.webp", "mov,mp4,m4a,3gp,3g2,mj2", "video/mp4"),
        ("a.mov", "mov,mp4,m4a,3gp,3g2,mj2", "video/quicktime"),
        ("a.mp4", "matroska,webm", "video/webm"),
        ("a.apng", "PNG", "image/apng"),
        ("a.mp4", "mxf", "application/octet-stream"),
        ("a.mp4", None, "video/mp4"),
    ],
)
def test_the_ending_decides_only_among_the_types_of_a_format(name, content, kind):
    assert media_type(name, content) == kind
