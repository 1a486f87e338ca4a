"""Files: their ranges of bytes, their types, and what a browser keeps of them."""

from dataclasses import replace
from pathlib import Path

import pytest

from mlcmr.data.ids import IMAGE_ENDINGS, VIDEO_ENDINGS
from mlcmr.search.http.media import media_type
from tests.helpers.http_api import BYTES

# ─── byte ranges ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("wanted", "first", "last"),
    [("bytes=0-0", 0, 0), ("bytes=10-19", 10, 19), ("bytes=-4", 1020, 1023), ("bytes=1000-9999", 1000, 1023),
     ("bytes=5-", 5, 1023), ("bytes=-9999", 0, 1023), ("Bytes = 0-9", 0, 9), ("bytes=0-1,5000-", 0, 1)],
)  # fmt: skip
def test_a_range_of_bytes(client, wanted, first, last):
    answer = client.get("/media/cat", headers={"Range": wanted})
    assert answer.status_code == 206
    assert answer.content == BYTES[first : last + 1]
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/1024"


@pytest.mark.parametrize(
    ("wanted", "status"),
    [("bytes=1024-", 416), ("bytes=-0", 416), ("bytes=2000-,5000-", 416), ("bytes=9-3", 400),
     ("bytes=a-b", 400), ("bytes=0-1,x", 400), ("bytes=", 400), ("bytes=" + "9" * 5000 + "-", 400)],
)  # fmt: skip
def test_a_bad_range_is_refused(client, wanted, status):
    answer = client.get("/media/cat", headers={"Range": wanted})
    assert answer.status_code == status
    assert answer.json()["error"].startswith("Range: ")


def test_a_range_that_is_not_of_bytes_is_ignored(client):
    answer = client.get("/media/cat", headers={"Range": "items=0-5"})
    assert (answer.status_code, answer.content) == (200, BYTES)


@pytest.mark.parametrize("wanted", ["bytes=0-1", "bytes=5000-"])
def test_a_file_that_did_not_change_is_not_sent_in_part_for_another(client, wanted):
    etag = client.head("/media/cat").headers["ETag"]
    same = client.get("/media/cat", headers={"Range": wanted, "If-Range": etag})
    other = client.get("/media/cat", headers={"Range": wanted, "If-Range": '"other"'})
    assert (same.status_code, other.status_code) == (206 if wanted == "bytes=0-1" else 416, 200)
    assert same.status_code == 206 or same.json() == {"error": "Range: the file has 1024 bytes"}


# ─── what browsers keep ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["/media/cat", "/thumbnails/cat/0", "/page/app.js", "/", "/favicon.ico"])
def test_what_a_browser_has_is_not_sent_again(client, path):
    first = client.get(path)
    again = client.get(path, headers={"If-None-Match": first.headers["ETag"], "Range": "bytes=0-1"})
    assert (first.status_code, again.status_code, again.content) == (200, 304, b"")
    for answer in (first, again):
        assert answer.headers["Cache-Control"] == "private, no-cache"  # it asks each time
    same = ("ETag", "Content-Security-Policy")
    assert [again.headers[name] for name in same] == [first.headers[name] for name in same]


def test_what_has_changed_is_sent_again(client, searcher):
    etag = client.get("/thumbnails/cat/0").headers["ETag"]
    Path(searcher.videos["cat"].hits[0].thumbnail).write_bytes(b"\xff\xd8\xff another picture")
    answer = client.get("/thumbnails/cat/0", headers={"If-None-Match": etag})
    assert (answer.status_code, answer.content) == (200, b"\xff\xd8\xff another picture")


@pytest.mark.parametrize(
    "path", ["/", "/health", "/favicon.ico", "/page/app.js", "/thumbnails/cat/0", "/media/cat"]
)
def test_the_head_of_an_answer_can_be_asked_for(client, path):
    head, whole = client.head(path), client.get(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == whole.headers["Content-Length"]


# ─── what files are ──────────────────────────────────────────────────────────────────────────────────────


def test_every_file_that_is_indexed_has_a_media_type():
    assert {media_type(f"a{one}").partition("/")[0] for one in IMAGE_ENDINGS} == {"image"}
    unnamed = {one for one in VIDEO_ENDINGS if media_type(f"a{one}") == "application/octet-stream"}
    elementary = {".h264", ".h265", ".hevc", ".mjpeg", ".mjpg"}
    unplayed = {".ivf", ".mxf", ".nut", ".rm", ".rmvb", ".wtv", ".y4m"}
    assert unnamed == elementary | unplayed  # no browser plays them
    moving = {one for one in VIDEO_ENDINGS - unnamed if not media_type(f"a{one}").startswith("video/")}
    assert moving == {".apng", ".gif"}


@pytest.mark.parametrize(
    ("ending", "content", "kind"),
    [("TS", "mpegts", "video/mp2t"), ("gif", "GIF", "image/gif"), ("txt", "mxf", "application/octet-stream")],
)
def test_a_file_is_sent_as_what_it_is(client, searcher, ending, content, kind):
    searcher.format = content
    searcher.videos["cat"] = moved(searcher.videos["cat"], ending)
    answer = client.get("/api/videos/cat").json()
    assert answer["media_type"] == kind
    assert client.get(answer["media"]).headers["Content-Type"] == kind


def test_the_content_of_a_file_decides_its_type_not_its_name(client, searcher):
    searcher.format = "WEBP"
    assert client.get("/media/cat").headers["Content-Type"] == "image/webp"


def moved(video, ending):
    """A video whose file has another ending."""
    path = Path(video.hits[0].path)
    path = path.rename(path.with_suffix(f".{ending}"))
    return replace(video, hits=tuple(replace(hit, path=str(path)) for hit in video.hits))
