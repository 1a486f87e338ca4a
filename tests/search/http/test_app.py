"""The HTTP API: what it answers, what it refuses; nothing makes it fail or tell what it should not."""

import gc
import os
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
import uvicorn
from hypothesis import assume, given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from mlcmr.cli import main
from mlcmr.data.ids import IMAGE_ENDINGS, VIDEO_ENDINGS
from mlcmr.errors import MlcmrError
from mlcmr.search.filters import Filters
from mlcmr.search.http import app as api
from mlcmr.search.http.app import create_app
from mlcmr.search.http.batching import Batcher, TextQuery
from mlcmr.search.http.media import media_type
from mlcmr.search.http.middleware import Overloaded, Rate, _host, cookie_value, is_loopback
from mlcmr.search.http.service import ServerLimits
from tests.helpers.fake_searcher import FakeVideo, plain_searcher

TOKEN = "correct-horse-battery"
PNG = b"\x89PNG\r\n\x1a\n"
BYTES = bytes(range(256)) * 4


@pytest.fixture
def searcher(tmp_path):
    return plain_searcher(tmp_path / "films")


@contextmanager
def served(searcher, **options):
    limits = ServerLimits(**{"rate": 0.0, **options.pop("limits", {})})
    app = create_app(searcher, limits=limits, **options)
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


def raw(client, address):
    """An address that is sent as it is written."""
    return type(client.base_url)("http://localhost", raw_path=address.encode())


@pytest.fixture
def client(searcher):
    with served(searcher) as client:
        yield client


# ─── answers ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("q", "video"), [("a dog runs", "dog.park-1"), ("鸟在唱歌", "鸟")])
def test_search(client, q, video):
    answer = client.get("/api/search", params={"q": q, "k": 3}).json()
    assert len(answer["hits"]) == 3
    hit = answer["hits"][0]
    assert hit["video"] == video
    assert (hit["start"], hit["end"], hit["segment"]) == (0, 5, 0)
    assert client.get(hit["thumbnail"]).content == b"\xff\xd8\xff picture"
    assert client.get(hit["media"]).content == BYTES


def test_filters_reach_the_searcher(client):
    params = {"q": "dog", "filter": ["kind=image", "duration<60"]}
    assert client.get("/api/search", params=params).json()["hits"] == []


def test_similar_leaves_the_video_itself_out(client):
    hits = client.get("/api/similar/cat", params={"segment": 1}).json()["hits"]
    assert {hit["video"] for hit in hits} == {"dog.park-1", "鸟"}


def test_a_video_has_its_segments_and_captions(client):
    answer = client.get("/api/videos/鸟").json()
    assert [segment["start"] for segment in answer["segments"]] == [0, 5]
    assert answer["captions"][1] == {
        "video": "鸟", "caption": "鸟#zh#0", "language": "zh", "text": "一只鸟在唱歌", "score": 0.5,
    }  # fmt: skip


def test_the_index_gives_examples_in_its_languages(client):
    answer = client.get("/api/index").json()
    assert answer["size"] == 6
    assert answer["search"] == "exact"
    assert {example["language"] for example in answer["examples"]} == {"en", "zh"}


def test_an_upload_is_searched_and_removed(searcher, client, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    content = PNG + bytes(3_000_000)
    answer = client.post("/api/search?k=2", files={"file": ("../../a.png", content)})
    assert len(answer.json()["hits"]) == 2
    assert searcher.files == [content]
    assert list(tmp_path.glob("mlcmr-*")) == []


def test_an_unknown_video_is_404(client):
    for path in (
        "/api/videos/cow",
        "/api/similar/cow",
        "/media/cow",
        "/thumbnails/cow/0",
        "/thumbnails/cat/2",
    ):
        answer = client.get(path)
        assert answer.status_code == 404
        assert "in the index" in answer.json()["error"]


def test_a_file_that_is_gone_is_404(client, searcher):
    Path(searcher.videos["cat"].hits[0].path).unlink()
    answer = client.get("/media/cat")
    assert answer.status_code == 404
    assert answer.json() == {"error": "the file is no longer where it was when it was indexed"}


def test_a_file_that_may_not_be_read_is_404(client, monkeypatch):
    opened = os.open

    def refuse(path, *rest, **options):  # root may read all
        if str(path).endswith("cat.mp4"):
            raise PermissionError(13, "Permission denied")
        return opened(path, *rest, **options)

    monkeypatch.setattr("os.open", refuse)
    for method in ("GET", "HEAD"):
        assert client.request(method, "/media/cat").status_code == 404


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


def test_a_language_that_the_model_was_trained_in_is_taken_by_its_code(client, searcher):
    refused = client.get("/api/search?q=ki&language=br")
    assert refused.status_code == 422
    assert "'br' is the code of Breton and of Brazil" in refused.json()["error"]
    searcher._trained = ("en", "br")
    assert client.get("/api/search?q=ki&language=br").status_code == 200


def moved(video, ending):
    """A video whose file has another ending."""
    path = Path(video.hits[0].path)
    path = path.rename(path.with_suffix(f".{ending}"))
    return replace(video, hits=tuple(replace(hit, path=str(path)) for hit in video.hits))


@pytest.mark.parametrize("slash", ["/", "%2F"])
def test_ids_may_have_slashes(client, searcher, slash):
    searcher.videos["dir/vid1"] = FakeVideo(
        tuple(replace(hit, video="dir/vid1") for hit in searcher.videos["cat"].hits),
        {"en": ["A cat sleeps."]},
    )
    name = f"dir{slash}vid1"
    assert len(client.get(f"/api/videos/{name}").json()["segments"]) == 2
    assert len(client.get(f"/api/similar/{name}?segment=1&k=3").json()["hits"]) == 3
    assert client.get(f"/media/{name}").content == BYTES
    assert client.get(f"/thumbnails/{name}/1").content == b"\xff\xd8\xff picture"
    answer = client.get(f"/api/videos/{name}").json()
    for address in (answer["media"], answer["segments"][1]["thumbnail"]):
        assert client.get(address).status_code == 200


# ─── refusals ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("/api/search", "q: "),
        ("/api/search?q=", "q: "),
        ("/api/search?q=" + "x" * 1001, "q: "),
        ("/api/search?q=a&k=0", "k: "),
        ("/api/search?q=a&k=101", "k: "),
        ("/api/search?q=a&k=many", "k: "),
        ("/api/search?q=%20%09", "q: blank; say what to look for"),
        ("/api/search?q=%00%0a%c2%85", "q: blank; say what to look for"),
        ("/api/search?q=%f0%9f%98%80", "q: nothing in it that the model can read; say what to look for"),
        ("/api/search?q=a&filter=age<3", "filter 'age<3': filters are duration"),
        ("/api/search?q=a&filter=kind=video&filter=duration<long", "filter 'duration<long': filters are "),
        (
            "/api/search?q=a&language=" + "x" * 50,
            "language: expected an ISO 639 code, such as zh, or an English",
        ),
        ("/api/search?q=a&language=z!", "language: expected an ISO 639 code, such as zh, or an English"),
        ("/api/search?q=a&language=gibberish", "language: 'gibberish' is no language: give its ISO 639 code"),
        ("/api/similar/cat?segment=-1", "segment: "),
        ("/thumbnails/cat/x", "segment: "),
        ("/api/videos/" + "x" * 600, "video: "),
    ],
)
def test_bad_input_is_one_message(client, path, part):
    answer = client.get(path)
    assert answer.status_code == 422
    assert list(answer.json()) == ["error"]
    assert part in answer.json()["error"]
    assert "/secret" not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/media/../films/secret.txt",
        "/media/..%2ffilms%2fsecret.txt",
        "/media/secret.txt",
        "/media/%2fetc%2fpasswd",
        "/media/....//secret.txt",
        "/media/cat%00.mp4",
        "/thumbnails/..%2f..%2fsecret.txt/0",
        "/api/videos/..%2f..%2fetc%2fpasswd",
        "/page/../api.py",
        "/page/..%2fapi.py",
        "/page/%2e%2e/api.py",
        "/page/..\\api.py",
        "/page/%00",
        "/page//etc/passwd",
    ],
)
def test_no_path_leads_to_a_file_that_is_not_indexed(client, path):
    answer = client.request("GET", raw(client, path))
    assert answer.status_code in (404, 405, 422)
    assert list(answer.json()) == ["error"]


def test_uploads_that_are_refused(searcher, client):
    def post(**form):
        return client.post("/api/search", **form)

    assert post(content=PNG).status_code == 415
    assert post(files={"other": ("a.png", PNG)}).status_code == 422
    assert post(data={"file": "text"}, files={"x": b""}).status_code == 422
    assert post(content=b"x", headers={"Content-Type": "multipart/form-data"}).status_code == 400
    boundary = {"Content-Type": "multipart/form-data; boundary=b"}
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    assert post(content=head + PNG, headers=boundary).status_code in (400, 422)
    assert post(content=b"\x00" * 10_000, headers=boundary).status_code == 400
    two = post(files=[("file", ("a.png", PNG)), ("file", ("b.png", PNG))])
    assert two.status_code == 400
    assert "a multipart form with one file" in two.json()["error"]
    broken = post(files={"file": ("a.png", PNG + b"broken")})
    assert broken.status_code == 422
    assert broken.json() == {"error": "the file cannot be read as a picture or video"}
    assert searcher.files == [PNG + b"broken"]


def test_the_page_and_the_documentation_name_all_formats(client):
    page = client.get("/").text
    accepted = re.search(r'accept="([^"]*)"', page)[1].split(",")
    assert set(accepted) == {"image/*", "video/*"} | IMAGE_ENDINGS | VIDEO_ENDINGS
    operation = client.get("/api/openapi.json").json()["paths"]["/api/search"]["post"]
    form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
    said = set(re.findall(r"\w+", form["properties"]["file"]["description"]))
    assert {one[1:] for one in IMAGE_ENDINGS | VIDEO_ENDINGS} <= said


@pytest.mark.parametrize("declared", [True, False])
def test_a_large_upload_is_refused_before_it_is_kept(searcher, declared):
    sent = 0

    def body():
        nonlocal sent
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n' + PNG
        for _ in range(300):
            sent += 1
            yield bytes(10_000)

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    if declared:
        headers["Content-Length"] = str(10**12)
    with served(searcher, limits={"upload_mb": 1}) as client:
        answer = client.post("/api/search", content=body(), headers=headers)
    assert answer.status_code == 413
    assert answer.json() == {"error": "the file is larger than 1 MB"}
    assert searcher.files == []


def test_what_goes_wrong_here_is_not_told(searcher, client):
    searcher.error = RuntimeError("at /secret/place")
    for answer in (client.get("/api/search?q=a"), client.post("/api/search", files={"file": ("a.png", PNG)})):
        assert answer.status_code == 500
        assert answer.json() == {"error": "internal error"}
    searcher.error = None
    assert client.get("/api/search?q=a").status_code == 200


def test_what_the_index_fails_at_is_not_the_clients_fault(searcher, client):
    searcher.error = MlcmrError("Qdrant server at http://secret:6333, collection 'films': refused")
    for answer in (client.get("/api/search?q=a"), client.post("/api/search", files={"file": ("a.png", PNG)})):
        assert answer.status_code == 503
        assert answer.json() == {
            "error": "the index cannot be searched at the moment; the server's log says why"
        }
        assert answer.headers["Retry-After"] == "10"


def test_nobody_waits_for_an_index_that_is_opened_again(searcher, monkeypatch):
    opening, opened = threading.Event(), threading.Event()

    def size(_):
        opening.set()
        return 6 if opened.wait(20) else 0

    monkeypatch.setattr(type(searcher), "size", property(size))
    with running(searcher) as url, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(httpx.get, f"{url}/api/index", timeout=30)
        assert opening.wait(20)
        assert httpx.get(f"{url}/health", timeout=10).status_code == 200
        assert not asked.done()
        opened.set()
        assert asked.result().json()["size"] == 6


def test_other_sites_are_kept_out(client):
    answer = client.get("/api/index", headers={"Origin": "http://evil.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert client.options("/api/search").status_code == 405
    assert client.get("/api/index", headers={"Host": "evil.example:8000"}).status_code == 421
    for site in ("cross-site", "same-site"):  # a form needs no permission to send a file here
        sent = {"Sec-Fetch-Site": site, "Origin": "http://evil.example"}
        assert client.post("/api/search", files={"file": ("a.png", PNG)}, headers=sent).status_code == 403
        assert client.get("/", headers=sent).status_code == 200  # but links may lead here
    page = client.get("/")
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in client.get("/media/cat").headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:8000", "localhost.", "localhost:", "127.0.0.1", "127.9.9.9:80", "[::1]",
     "[::1]:8000", "[::ffff:127.0.0.1]:1"],
)  # fmt: skip
def test_without_a_token_a_loopback_name_is_answered(client, host):
    assert client.get("/api/index", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "", "evil.example", "[::1].evil.example", "[::1]evil.example", "[::1", "::1",
        "127.0.0.1.evil.example", "127.0.0.1.", "localhost.evil.example", "localhost..",
        "localhost@evil.example", "evil.example@localhost", "localhost:evil.example",
        "localhost:80:80", "localhost:80@evil.example", "localhost/evil.example",
        "localhost evil.example", "localhost,evil.example", "[::1%25lo]", "[::ffff:192.0.2.1]", "0.0.0.0",
        "[::]", "2130706433", "0x7f.1", "ｌocalhost", "locaſhost", "xn--localhost-", "[localhost]",
        "[127.0.0.1", ".localhost", "localhost:８０",
    ],
)  # fmt: skip
def test_without_a_token_no_other_name_is_answered(client, host):
    sent = {"Host": host.encode()}
    assert client.get("/api/index", headers=sent).status_code == 421
    assert client.get("/", headers=sent).status_code == 421


@given(
    st.sampled_from(["localhost", "127.0.0.1", "[::1]"]),
    st.text(st.sampled_from("abz09.:@[]/% -\t"), min_size=1, max_size=9),
    st.booleans(),
)
def test_nothing_but_a_port_may_stand_beside_a_loopback_name(name, other, before):
    assume(before or not re.fullmatch(r"(\.|)(:[0-9]{0,5})?|[0-9]+(:[0-9]*)?", other))
    assert not is_loopback(_host(other + name if before else name + other))


# ─── token ───────────────────────────────────────────────────────────────────────────────────────────────


def test_without_the_token_nothing_is_answered(searcher):
    with served(searcher, token=TOKEN) as client:
        shown = [
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": TOKEN},
            {"Cookie": "mlcmr=wrong"},
            {"Cookie": f"mlcmr={TOKEN}"},
            {"Cookie": ";=é"},
        ]
        for path in ("/api/search?q=a", "/api/index", "/media/cat", "/thumbnails/cat/0", "/metrics",
                     "/api/openapi.json", "/nothing"):  # fmt: skip
            for headers in shown:
                encoded = {name: value.encode("latin-1") for name, value in headers.items()}
                assert client.get(path, headers=encoded).status_code == 401
            assert client.get(path, headers={"Authorization": f"Bearer {TOKEN}"}).status_code in (200, 404)
        assert client.get("/health").json() == {"status": "ok"}
        assert client.get("/").status_code == 200
        assert client.get(
            "/api/index", headers={"Authorization": f"bearer {TOKEN}", "Host": "films.example"}
        ).is_success


@pytest.mark.parametrize("way", ["header", "address"])
def test_a_browser_gets_a_cookie_for_the_token(searcher, way):
    with served(searcher, token=TOKEN) as client:
        if way == "header":
            answer = client.post("/api/session", headers={"Authorization": f"Bearer {TOKEN}"})
        else:
            answer = client.get("/", params={"token": TOKEN}, follow_redirects=False)
            assert answer.headers["Location"] == "./"
        cookie = answer.headers["Set-Cookie"]
        assert TOKEN not in cookie
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert client.get("/api/index").status_code == 200


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_cookie_goes_over_tls_only_where_there_is_some(searcher, scheme):
    app = create_app(searcher, token=TOKEN)
    with TestClient(app, base_url=f"{scheme}://films.example") as client:
        answer = client.post("/api/session", headers={"Authorization": f"Bearer {TOKEN}"})
    assert ("; Secure" in answer.headers["Set-Cookie"]) == (scheme == "https")


@pytest.mark.parametrize("token", [TOKEN, "wrong"])
def test_only_the_token_goes_from_the_address(searcher, token):
    query = [("q", "猫 & \r\nx: y"), ("token", token), ("video", "dir/vid1"), ("video", "//evil.example")]
    with served(searcher, token=TOKEN) as client:
        answer = client.get("/", params=query, follow_redirects=False)
    place = urlsplit(answer.headers["Location"])
    assert (answer.status_code, place.scheme, place.netloc, place.path) == (303, "", "", "./")
    assert parse_qsl(place.query) == [one for one in query if one[0] != "token"]


def test_a_wrong_token_gets_no_cookie(searcher):
    with served(searcher, token=TOKEN) as client:
        assert "Set-Cookie" not in client.get("/", params={"token": "wrong"}, follow_redirects=False).headers
        assert client.post("/api/session", headers={"Authorization": "Bearer wrong"}).status_code == 401


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--host", "0.0.0.0"], "needs --token"),
        (["--host", "0.0.0.0", "--token", "short"], "12 or more"),
        (["--token", "schlüsselschlüssel"], "ASCII"),
        (["--port", "99999"], "cannot listen"),
        (["--upload-mb", "0"], "upload_mb is 0"),
        ([], "index"),
    ],
)
def test_a_server_that_cannot_be_started_is_one_line(words, part, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLCMR_TOKEN", raising=False)
    assert main(["serve", *words, *([] if "--port" in words else ["--port", "0"])]) == 2
    error = capsys.readouterr().err
    assert part in error
    assert error.count("\n") == 1


# ─── limits ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """The time that rates go by, which stands still: a busy machine would let more requests through."""
    now = [0.0]
    monkeypatch.setattr(api, "Rate", lambda per_second: Rate(per_second, lambda: now[0]))
    return now


def test_a_client_that_asks_too_often_waits(searcher, clock):
    with served(searcher, limits={"rate": 1.0}) as client:
        answers = [client.get("/api/search?q=a") for _ in range(8)]
        assert [answer.status_code for answer in answers] == [200] * 3 + [429] * 5
        assert answers[-1].headers["Retry-After"] == "1"
        assert "try again" in answers[-1].json()["error"]
        assert client.get("/health").status_code == 200
        assert client.get("/media/cat").status_code == 200


GUESSES = {
    "the page": ("/?token={}", {}),
    "the API": ("/api/index", {"Authorization": "Bearer {}"}),
    "a file": ("/media/cat", {"Authorization": "Bearer {}"}),
    "metrics": ("/metrics", {"Authorization": "bearer {}"}),
    "a path that is not there": ("/nothing", {"Authorization": "Bearer {}"}),
}


@pytest.mark.parametrize("way", GUESSES)
def test_who_guesses_tokens_waits(searcher, clock, way):
    path, headers = GUESSES[way]

    def guess(client, token):
        filled = {name: text.format(token) for name, text in headers.items()}
        return client.get(path.format(token), headers=filled, follow_redirects=False).status_code

    app = create_app(searcher, token=TOKEN, limits=ServerLimits(rate=1.0))
    with (
        TestClient(app, client=("192.0.2.1", 1)) as client,
        TestClient(app, client=("192.0.2.2", 1)) as other,
    ):
        assert [guess(client, f"guess-{n}") for n in range(8)] == [303 if way == "the page" else 401] * 3 + [
            429
        ] * 5
        assert guess(client, TOKEN) == 429  # else it would be found all the same
        assert client.get("/health").status_code == client.get("/").status_code == 200
        assert client.get("/media/cat", headers={"Cookie": f"mlcmr={cookie_value(TOKEN)}"}).status_code == 200
        assert guess(other, TOKEN) in (200, 303, 404)
        clock[0] += 1.05
        assert guess(client, TOKEN) in (200, 303, 404)


@pytest.mark.parametrize("path", ["/metrics", "/api/index", "/media/cat", "/thumbnails/cat/0", "/nothing"])
def test_who_guesses_cookies_waits_and_nobody_else(searcher, clock, path):
    def ask(client, **headers):
        return client.get(path, headers=headers).status_code

    app = create_app(searcher, token=TOKEN, limits=ServerLimits(rate=1.0))
    with (
        TestClient(app, client=("192.0.2.1", 1)) as client,
        TestClient(app, client=("192.0.2.2", 1)) as other,
    ):
        guesses = [ask(client, Cookie=f"a=b; mlcmr={n}") for n in range(300)]
        assert guesses[:3] == [401] * 3
        assert set(guesses[3:]) == {429}
        # Who shares the address, and has the right cookie or token, notices nothing.
        assert ask(client, Cookie=f"mlcmr={cookie_value(TOKEN)}") in (200, 404)
        assert ask(client, Authorization=f"Bearer {TOKEN}") in (200, 404)
        assert ask(client, Authorization=f"Bearer {TOKEN}", Cookie="mlcmr=of-another-server") in (200, 404)
        assert ask(other, Cookie="mlcmr=1") == 401


def test_a_cookie_is_slow_to_compute_from_a_guess():
    start = time.perf_counter()
    assert cookie_value("a token nobody has") != cookie_value("a token nobody had")
    assert time.perf_counter() - start > 0.02


def test_who_shows_the_token_or_nothing_is_no_guesser(searcher, clock):
    shown = {"Authorization": f"Bearer {TOKEN}"}
    with served(searcher, token=TOKEN, limits={"rate": 1.0}) as client:
        assert {client.get("/media/cat").status_code for _ in range(8)} == {401}
        assert {client.get("/media/cat", headers=shown).status_code for _ in range(8)} == {200}
        # Cookies go to all servers of a host; and what another site loads by itself is nobody's guess.
        foreign = {"Cookie": "mlcmr=of-another-server"}
        assert {client.get("/media/cat", headers=foreign).status_code for _ in range(8)} == {401, 429}
        for mode, destination in (("no-cors", "image"), ("navigate", "iframe")):
            loaded = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": destination}
            assert {client.get("/?token=x", headers=loaded).status_code for _ in range(8)} == {403}
        assert client.get("/media/cat", headers=shown).status_code == 200


@pytest.mark.parametrize(
    ("address", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("somebody", "else", False),
    ],
)
def test_who_is_one_client(searcher, address, other, same):
    app = create_app(searcher, limits=ServerLimits(rate=0.001))
    statuses = [
        TestClient(app, base_url="http://localhost", client=(one, 1)).get("/api/openapi.json").status_code
        for one in (address, other)
    ]
    assert statuses == [200, 429 if same else 200]


def test_a_bucket_fills_again():
    now = 0.0
    rate = Rate(2.0, lambda: now)
    assert [rate.wait("a") for _ in range(7)] == [0] * 6 + [1]
    assert rate.wait("b") == 0
    now = 0.5
    assert [rate.wait("a"), rate.wait("a")] == [0, 1]
    now = 1000.0
    assert [rate.wait("a") for _ in range(7)] == [0] * 6 + [1]


@contextmanager
def running(searcher, **limits):
    """A real server, asked over real connections."""
    listener = socket.create_server(("127.0.0.1", 0))
    app = create_app(searcher, limits=ServerLimits(rate=0.0, **limits))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


def together(url, count, path="/api/search?q=a"):
    """The status and seconds of requests sent at one time."""

    with httpx.Client(timeout=30) as client, ThreadPoolExecutor(count) as pool:

        def ask(_):
            start = time.monotonic()
            return client.get(url + path).status_code, time.monotonic() - start

        return list(pool.map(ask, range(count)))


def test_queries_that_arrive_together_are_encoded_together(searcher):
    searcher.seconds = 0.3
    with running(searcher) as url:
        assert [status for status, _ in together(url, 24)] == [200] * 24
        assert "mlcmr_batch_size_count" in httpx.get(f"{url}/metrics").text
    assert sum(searcher.batches) == 24
    assert len(searcher.batches) <= 6


def test_more_than_can_wait_is_refused_while_the_others_wait(searcher):
    searcher.gate.clear()
    with (
        running(searcher, waiting=4) as url,
        httpx.Client(timeout=30) as client,
        ThreadPoolExecutor(24) as pool,
    ):
        asked = [pool.submit(client.get, f"{url}/api/search?q=a")]
        until(lambda: searcher.batches)
        asked += [pool.submit(client.get, f"{url}/api/search?q=a") for _ in range(23)]
        refused = [one.result() for one in islice(as_completed(asked, timeout=20), 24 - 4 - 1)]
        waiting = [one for one in asked if not one.done()]
        assert {answer.status_code for answer in refused} == {503}
        assert {answer.headers["Retry-After"] for answer in refused} == {"1"}
        assert httpx.get(f"{url}/health").status_code == 200
        searcher.gate.set()
        assert [one.result().status_code for one in waiting] == [200] * 5  # the one that is answered, and 4
        assert client.get(f"{url}/api/search?q=a").status_code == 200


def test_a_query_that_takes_too_long_is_given_up(searcher):
    searcher.seconds = 0.5
    with served(searcher, limits={"seconds": 0.1}) as client:
        answer = client.get("/api/search?q=a")
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "1"
        answer = client.post("/api/search", files={"file": ("a.png", PNG)})
        assert answer.status_code == 422
        assert "more than 0.1 s" in answer.json()["error"]


def test_uploads_at_a_time_are_limited_and_their_places_come_free(searcher):
    searcher.gate.clear()
    with running(searcher, uploads=3) as url, ThreadPoolExecutor(6) as pool:

        def post(_):
            return httpx.post(f"{url}/api/search", files={"file": ("a.png", PNG)}, timeout=30).status_code

        asked = [pool.submit(post, number) for number in range(6)]
        assert [one.result() for one in islice(as_completed(asked, timeout=20), 4)] == [429] * 4
        assert len(searcher.files) == 2
        searcher.gate.set()
        assert sorted(one.result() for one in asked) == [200] * 2 + [429] * 4
        assert [post(0), post(0), post(0)] == [200] * 3


def test_a_slow_upload_is_ended(searcher):
    with running(searcher, seconds=0.3) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), 10) as connection:
            connection.sendall(
                b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
                b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
            )
            assert connection.recv(1000).startswith(b"HTTP/1.1 408 ")


def test_an_upload_that_ends_too_late_leaves_nothing_in_the_log(searcher, caplog):
    searcher.seconds, searcher.error = 0.5, TimeoutError()
    with running(searcher, seconds=0.1) as url:
        assert httpx.post(url + "/api/search", files={"file": ("a.png", PNG)}).status_code == 422
        time.sleep(0.6)
        gc.collect()
    gc.collect()
    assert "never retrieved" not in caplog.text


def test_look_ups_that_hang_leave_the_page_and_files_alone(searcher, monkeypatch):
    gate, similar = threading.Event(), type(searcher).similar
    monkeypatch.setattr(
        type(searcher), "similar", lambda *given, **options: gate.wait(20) and similar(*given, **options)
    )
    with running(searcher, waiting=40) as url, ThreadPoolExecutor(60) as pool:
        asked = [pool.submit(httpx.get, f"{url}/api/similar/cat", timeout=30) for _ in range(60)]
        try:
            refused = [one.result() for one in islice(as_completed(asked, timeout=20), 12)]
            for path in ("/", "/page/app.js", "/media/cat", "/thumbnails/cat/0", "/health"):
                assert httpx.get(url + path, timeout=5).status_code == 200, path
        finally:
            gate.set()
        assert {answer.status_code for answer in refused} == {503}
        assert [one.result().status_code for one in asked].count(200) == 48
        assert httpx.get(f"{url}/api/similar/cat").status_code == 200


def test_a_look_up_that_takes_too_long_is_given_up(searcher, monkeypatch):
    gate = threading.Event()
    monkeypatch.setattr(type(searcher), "video", lambda *_: gate.wait(20))
    with served(searcher, limits={"seconds": 0.1}) as client:
        answer = client.get("/api/videos/cat")
        gate.set()
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "1"


def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def occupied(searcher, **options):
    """A batcher whose thread answers one query until the searcher's gate is opened."""
    searcher.gate.clear()
    batcher = Batcher(searcher, **options)
    batcher.submit(TextQuery("first", None, 1, None))
    until(lambda: searcher.batches)
    return batcher


def test_one_query_that_fails_does_not_fail_its_neighbours(searcher):
    batcher = occupied(searcher)
    answers = [
        batcher.submit(TextQuery(text, language, 1, None))
        for text, language in (("cat", "en"), ("x", "xx"), ("狗", "zh"))
    ]
    searcher.gate.set()
    assert answers[0].result(5)[0].video == "cat"
    assert answers[2].result(5)[0].video == "dog.park-1"
    with pytest.raises(ValueError, match="language xx"):
        answers[1].result(5)
    batcher.close()


def test_queries_with_different_filters_are_one_batch(searcher):
    batcher = occupied(searcher)
    wanted = [None, Filters.parse(["kind=image"]), Filters.parse(["kind=video"]), None]
    answers = [batcher.submit(TextQuery("cat", None, 1, one)) for one in wanted]
    searcher.gate.set()
    assert [len(answer.result(5)) for answer in answers] == [1, 0, 1, 1]
    batcher.close()
    assert searcher.batches == [1, 4]


def test_when_the_index_fails_nobody_waits_for_the_others_to_fail(searcher):
    batcher = occupied(searcher)
    answers = [batcher.submit(TextQuery("cat", None, 1, None)) for _ in range(5)]
    searcher.error = MlcmrError("Qdrant server: connection refused")
    searcher.gate.set()
    for answer in answers:
        with pytest.raises(MlcmrError, match="refused"):
            answer.result(5)
    batcher.close()
    assert searcher.batches == [1, 5]


def test_queries_go_on_after_a_panic_and_health_tells_when_they_do_not(searcher):
    class Panic(BaseException):
        """As the engine's, which is no Exception."""

    with served(searcher, limits={"seconds": 5.0}) as client:
        searcher.error = Panic("index out of range")
        answer = client.get("/api/search?q=a")
        assert (answer.status_code, answer.json()) == (500, {"error": "internal error"})
        searcher.error = None
        assert client.get("/api/search?q=a").status_code == 200
        assert client.get("/health").status_code == 200
        client.app.state.service._batcher.close()
        assert client.get("/health").status_code == 503


def test_a_query_that_nobody_waits_for_is_not_answered(searcher):
    batcher = occupied(searcher, capacity=2)
    second = batcher.submit(TextQuery("second", None, 1, None))
    assert second.cancel()
    batcher.submit(TextQuery("third", None, 1, None))
    with pytest.raises(Overloaded):
        batcher.submit(TextQuery("fourth", None, 1, None))
    searcher.gate.set()
    batcher.close()
    assert searcher.batches == [1, 1]


# ─── anything at all ─────────────────────────────────────────────────────────────────────────────────────


def test_it_keeps_to_its_own_description(searcher):
    schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis")
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    app = create_app(searcher, token=TOKEN, limits=ServerLimits(rate=0.0))
    shown = {"Authorization": f"Bearer {TOKEN}"}
    schema = schemathesis.openapi.from_asgi("/api/openapi.json", app, headers=shown)
    # Few files are pictures, and few words are codes of languages, which the description cannot say.
    unless = {"/api/search": [positive_data_acceptance]}
    without_fields = ("/api/index", "/api/session", "/health", "/metrics")
    operations = [one.ok() for one in schema.get_all_operations()]
    assert len(operations) == 10
    for operation in operations:
        for mode in schemathesis.GenerationMode:
            if mode is schemathesis.GenerationMode.NEGATIVE and operation.path in without_fields:
                continue

            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(
                max_examples=15,
                deadline=None,
                derandomize=True,
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            def check(case):
                case.call_and_validate(headers=shown, excluded_checks=unless.get(case.path))

            check()


def test_the_description_says_what_errors_look_like(client):
    schema = client.get("/api/openapi.json").json()
    assert "HTTPValidationError" not in schema["components"]["schemas"]
    search = schema["paths"]["/api/search"]["get"]
    assert {"200", "401", "422", "429", "503"} <= search["responses"].keys()
    assert search["responses"]["422"]["content"]["application/json"]["schema"]["$ref"].endswith("/Error")
    assert all(
        operation.get("description") for path in schema["paths"].values() for operation in path.values()
    )
    assert client.get("/docs").status_code == 404


def test_metrics_count_by_route(client):
    for video in ("cat", "cow", "x" * 100):
        client.get(f"/media/{video}")
    client.get("/no/such/place")
    client.request("BREW", "/health")
    text = client.get("/metrics").text
    assert 'mlcmr_requests_total{method="GET",route="/media/{video}",status="200"} 1.0' in text
    assert 'mlcmr_requests_total{method="GET",route="/media/{video}",status="404"} 2.0' in text
    assert "mlcmr_requests_in_flight 1.0" in text
    assert "such" not in text
    assert "BREW" not in text
    assert 'mlcmr_request_seconds_bucket{le="0.005",route="/media/{video}"}' in text
