"""The server over a real index: what it answers, and what it is sent."""

import io
import random
import resource
import shutil
import socket
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import av
import httpx
import pytest
from PIL import Image
from starlette.testclient import TestClient

import mlcmr
from mlcmr import MLCMR
from mlcmr.extraction.encoders.histogram import HistogramEncoder
from mlcmr.search import Searcher
from mlcmr.search.filters import Filters
from mlcmr.search.http.app import create_app
from mlcmr.search.http.service import ServerLimits
from tests.helpers import processes
from tests.helpers.bombs import BOMBS, film, gif, png
from tests.helpers.http_api import TOKEN, raw
from tests.helpers.indexes import copy_index

LANGUAGES = [("en", "A red circle moves left."), ("zh", "一个红色的圆形"), ("de", "Ein roter Kreis")]


@pytest.fixture(scope="module")
def searcher(index):
    searcher = Searcher(index, device="cpu")
    yield searcher
    searcher.close()


@contextmanager
def served(searcher, *, token=None, **limits):
    app = create_app(searcher, token=token, limits=ServerLimits(**{"rate": 0.0, **limits}))
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def client(searcher):
    with served(searcher) as client:
        yield client


def post(client, content, name="a.png", **options):
    return client.post("/api/search", files={"file": (name, content)}, **options)


# ─── answers ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("language", "text"), LANGUAGES)
def test_a_sentence_finds_what_the_searcher_finds(client, searcher, language, text):
    hits = client.get("/api/search", params={"q": text, "k": 7, "language": language}).json()["hits"]
    expected = searcher.search(text, k=7, language=language)
    assert [(hit["video"], hit["path"]) for hit in hits] == [(one.video, one.path) for one in expected]
    assert [hit["score"] for hit in hits] == pytest.approx([one.score for one in expected], abs=1e-5)
    assert hits[0]["media"] == f"/media/{hits[0]['video']}"


@pytest.mark.parametrize("kind", ["video", "picture"])
def test_an_upload_finds_what_it_shows(client, searcher, kind):
    for hit in (searcher.segment("sample00003"), searcher.segment("sample00011")):
        if kind == "video":
            answer = post(client, Path(hit.path).read_bytes(), "mine.mp4").json()
            assert answer["hits"][0]["video"] == hit.video
            assert answer["hits"][0]["score"] == pytest.approx(1, abs=1e-3)
        else:
            answer = post(client, Path(hit.thumbnail).read_bytes(), "mine.jpg").json()
            assert [one["video"] for one in answer["hits"]] == [
                one.video for one in searcher.search_file(hit.thumbnail)
            ]
        assert len(answer["hits"]) == 10


def test_similar_and_the_video_itself(client):
    answer = client.get("/api/videos/sample00004").json()
    assert [(one["start"], one["end"]) for one in answer["segments"]] == [(0, 2)]
    assert {one["language"] for one in answer["captions"]} <= {"en", "de", "es", "zh"}
    assert len(answer["captions"]) == 10
    hits = client.get("/api/similar/sample00004", params={"k": 50}).json()["hits"]
    assert len(hits) == 19
    assert "sample00004" not in {hit["video"] for hit in hits}
    for address in ("/api/similar/sample00004?segment=1", "/api/similar/no", "/thumbnails/sample00004/1"):
        assert client.get(address).status_code == 404


def test_files_whole_and_in_ranges(client, searcher):
    hit = searcher.segment("sample00005")
    whole = Path(hit.path).read_bytes()
    assert client.get("/media/sample00005").content == whole
    for wanted, part in (("0-99", whole[:100]), ("100-", whole[100:]), ("-7", whole[-7:])):
        answer = client.get("/media/sample00005", headers={"Range": f"bytes={wanted}"})
        assert (answer.status_code, answer.content) == (206, part)
    thumbnail = client.get("/thumbnails/sample00005/0")
    assert thumbnail.content == Path(hit.thumbnail).read_bytes()
    assert thumbnail.headers["Content-Type"] == "image/jpeg"


def test_queries_with_different_filters_are_embedded_in_one_call(searcher, monkeypatch):
    texts = [f"A red circle moves {where}." for where in ("left", "right", "up", "down")]
    filters = [None, Filters.parse(["video=sample00001"]), Filters.parse(["duration>5"]), None]
    alone = [searcher.search(text, k=4, filters=one) for text, one in zip(texts, filters, strict=True)]
    calls = []
    encode = MLCMR.encode_texts
    monkeypatch.setattr(
        MLCMR, "encode_texts", lambda self, many, *rest: calls.append(len(many)) or encode(self, many, *rest)
    )
    together = searcher.search_many(texts, k=4, filters=filters)
    assert calls == [4]
    assert [len(hits) for hits in together] == [4, 1, 0, 4]
    assert [[hit.video for hit in hits] for hits in together] == [
        [hit.video for hit in hits] for hits in alone
    ]


# ─── the index changes ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def copied(index, tmp_path):
    """An index that may be changed, and its searcher."""
    copy = copy_index(index, tmp_path / "index")
    searcher = Searcher(copy, device="cpu", media_roots=[index.parent])  # a copy may be anybody's
    yield copy, searcher
    searcher.close()


def test_what_is_indexed_meanwhile_is_served(copied, index):
    folder, searcher = copied
    with served(searcher) as client:
        before = client.get("/api/index").json()
        assert before["size"] == 20
        assert {one["language"] for one in before["examples"]} == {"en", "zh"}
        hits = searcher.search("video", k=8)  # those whose captions are the examples
        mlcmr.index(None, folder, remove=[hit.video for hit in hits])
        after = client.get("/api/index").json()
        assert after["size"] == 12
        assert len(client.get("/api/search?q=a&k=50").json()["hits"]) == 12
        assert client.get(f"/api/videos/{hits[0].video}").status_code == 404
        assert client.get(f"/media/{hits[0].video}").status_code == 404
        left = {one.text for one in searcher.captions(searcher.search("a")[0].video, k=1000)}
        assert after["examples"]
        assert {one["text"] for one in after["examples"]} <= left
        assert not {one["text"] for one in before["examples"]} <= left


def test_an_index_that_is_removed_meanwhile(copied):
    folder, searcher = copied
    with served(searcher) as client:
        shutil.rmtree(folder)
        assert len(client.get("/api/search?q=a&k=50").json()["hits"]) == 20  # they are still open
        assert client.get("/thumbnails/sample00003/0").status_code == 200  # which lie with the films
        assert client.get("/media/sample00003").status_code == 200
        assert client.get("/health").status_code == 200


@pytest.mark.parametrize("damage", ["text", "vectors", "another model"])
def test_an_index_that_breaks_meanwhile_is_503_and_back_when_it_is_mended(copied, damage, monkeypatch):
    folder, searcher = copied
    logged = []
    monkeypatch.setattr("mlcmr.search.http.app._log.warning", lambda text, *rest: logged.append(text % rest))
    file = folder / "index.json"
    whole = file.read_text()
    asked = ["/api/search?q=a", "/api/index", "/api/similar/sample00003", "/api/videos/sample00003",
             "/media/sample00003", "/thumbnails/sample00003/0"]  # fmt: skip
    with served(searcher) as client:
        if damage == "text":
            file.write_text("{")
        elif damage == "vectors":
            file.write_text(whole.replace('"generation": 1', '"generation": 7'))
        else:
            file.write_text(whole.replace('"fingerprint": "', '"fingerprint": "0'))
        for address in asked:
            answer = client.get(address)
            assert answer.status_code == 503
            assert answer.json() == {
                "error": "the index cannot be searched at the moment; the server's log says why"
            }
            assert answer.headers["Retry-After"] == "10"
        film = Path(folder / "film.mp4")
        film.write_bytes(b"\x00\x00\x00\x18ftypisom no film")
        assert post(client, film.read_bytes(), "a.mp4").status_code == 415  # but this is the client's fault
        assert [str(folder) in line for line in logged] == [True] * len(asked)
        file.write_text(whole)
        for address in asked:
            assert client.get(address).status_code == 200


# ─── uploads ─────────────────────────────────────────────────────────────────────────────────────────────


class Slow:
    """Makes preparing a wide picture slow, and counts how often that was done."""

    def __init__(self, monkeypatch, seconds=0.05):
        self.count = 0
        self.began = threading.Event()
        prepare = HistogramEncoder.prepare

        def slow(encoder, picture):
            if picture.shape[1] == 200:
                self.count += 1
                self.began.set()
                time.sleep(seconds)
            return prepare(encoder, picture)

        monkeypatch.setattr(HistogramEncoder, "prepare", slow)


def test_a_slow_upload_holds_up_no_other_and_ends_with_its_time(searcher, monkeypatch):
    slow = Slow(monkeypatch)
    with served(searcher, seconds=1.0, uploads=4) as client:  # of four places, one client has three
        answers = []
        content = film(600)
        long = [
            threading.Thread(target=lambda: answers.append(post(client, content, "a.mkv"))) for _ in range(2)
        ]
        for one in long:
            one.start()
        assert slow.began.wait(10)
        thumbnail = Path(searcher.segment("sample00003").thumbnail).read_bytes()
        assert post(client, thumbnail, "a.jpg").status_code == 200
        assert answers == []
        for one in long:
            one.join()
        for answer in answers:
            assert answer.status_code == 422
            assert "more than 1 s" in answer.json()["error"]
        time.sleep(0.5)
        count = slow.count
        time.sleep(0.3)
        assert slow.count == count < 60
        assert [post(client, thumbnail, "a.jpg").status_code for _ in range(3)] == [200] * 3


def test_a_film_of_which_hardly_a_frame_is_taken_ends_with_its_time_too(index, tmp_path, monkeypatch):
    from mlcmr.extraction.extract_collection import sample_file
    from mlcmr.extraction.media import video
    from mlcmr.extraction.media.sampling import Sampling

    (tmp_path / "a.mkv").write_bytes(film(200))
    monkeypatch.setattr(video, "_WORTH_A_SEEK", 1000)
    calls = 0

    def check():
        nonlocal calls
        calls += 1
        if calls == 10:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        sample_file(tmp_path / "a.mkv", HistogramEncoder(), Sampling(num_frames=1), check_cancelled=check)
    assert calls == 10, calls


@pytest.mark.parametrize(("size", "room"), [(900_000, 100_000), (5_000_000, 2_000_000)])
def test_an_upload_that_the_disk_has_no_room_for_is_503(client, tmp_path, monkeypatch, size, room):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    content = b"\x89PNG\r\n\x1a\n" + bytes(size)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))  # as if the disk were full
    try:
        answer = post(client, content)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert answer.status_code == 503
    assert answer.json() == {"error": "the server has no room for the file; try again later"}
    assert list(tmp_path.iterdir()) == []
    assert post(client, content).status_code == 415  # it is no picture


def peak_mb():
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in status if line.startswith("VmHWM"))) / 1000


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_that_unpacks_to_much_is_refused(searcher, name):
    bomb = BOMBS[name]()
    assert len(bomb) < 40_000_000
    with served(searcher, seconds=2.0) as client:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before, start = peak_mb(), time.monotonic()
        answer = post(client, bomb, name)
        assert time.monotonic() - start < 10
        assert peak_mb() - before < 200
        assert answer.status_code == 422
        assert list(answer.json()) == ["error"]
        assert client.get("/api/search?q=a").status_code == 200


@pytest.mark.parametrize(
    "name",
    [
        "mid.ts",
        "a.jp2",
        "cat.ts",
        "es.m1v",
        "live.webm",
        "mdhd.mp4",
        "anim.webp",
        "turned6.heic",
        "int32.tif",
    ],
)
def test_an_upload_finds_what_search_finds_for_the_same_file(client, searcher, cases, name):
    expected = [(hit.video, hit.score) for hit in searcher.search_file(cases / name)]
    answer = post(client, (cases / name).read_bytes(), "a").json()
    assert [(hit["video"], pytest.approx(hit["score"], abs=1e-5)) for hit in answer["hits"]] == expected


ENCODED = {
    "mpeg": "mpeg2video", "vob": "mpeg2video", "dvd": "mpeg2video", "mpegts": "mpeg2video",
    "avi": "mpeg4", "flv": "flv", "ogg": "libtheora", "asf": "wmv2", "mxf": "mpeg2video",
    "mov": "mjpeg", "matroska": "libx264", "mpeg2video": "mpeg2video", "h264": "libx264",
    "ivf": "libvpx", "nut": "mpeg4", "yuv4mpegpipe": "rawvideo",
}  # fmt: skip


@pytest.mark.parametrize("container", [*ENCODED, "m2ts"])
def test_uploads_of_all_containers(client, container):
    file = io.BytesIO()
    file.name = f"a.{container}"
    kind, options = ("mpegts", {"mpegts_m2ts_mode": "1"}) if container == "m2ts" else (container, {})
    try:
        with av.open(file, "w", format=kind, options=options) as output:
            stream = output.add_stream(ENCODED.get(container, "mpeg2video"), rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            if container == "mov":
                stream.pix_fmt = "yuvj420p"
            for number in range(25):
                frame = av.VideoFrame(64, 48, "rgb24")
                frame.pts = number
                output.mux(stream.encode(frame))
            output.mux(stream.encode())
    except (av.error.EncoderNotFoundError, av.codec.codec.UnknownCodecError):
        pytest.skip("PyAV cannot write it")
    answer = post(client, file.getvalue(), "a")
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "AVIF", "TIFF", "BMP", "JPEG2000"])
def test_uploads_of_all_kinds_of_pictures(client, kind):
    file = io.BytesIO()
    Image.effect_mandelbrot((64, 48), (-3, -2.5, 2, 2.5), 20).convert("RGB").save(file, kind)
    assert post(client, file.getvalue(), "a").status_code == 200


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"#EXTM3U\nfile:///etc/passwd",
        b"ffconcat version 1.0\nfile a.mp4\n",
        b"%!PSfree\n%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",
        b"GIF8" + bytes(100),
    ],
)
@pytest.mark.parametrize("name", ["a.mp4", "a.png", "a.eps"])
def test_other_uploads_are_refused_with_a_list_of_formats(client, name, content):
    answer = post(client, content, name)
    assert answer.status_code == 415
    assert {"heic", "jp2", "m2ts", "webm"} <= set(answer.json()["error"].replace(",", "").split())


def test_truncated_uploads(client, searcher, tmp_path):
    """A truncated file is read as far as it goes, or refused; the server never fails."""
    hit = searcher.segment("sample00003")
    sources = {
        "a.mp4": Path(hit.path).read_bytes(),
        "a.jpg": Path(hit.thumbnail).read_bytes(),
        "a.mkv": film(30),
        "a.gif": gif(64, frames=20),
        "a.png": png(200),
    }
    draw = random.Random(5)
    statuses = set()
    for name, whole in sources.items():
        for _ in range(12):
            part = bytearray(whole[: draw.randrange(1, len(whole))])
            for _ in range(draw.randrange(4)):
                part[draw.randrange(len(part))] ^= 1 << draw.randrange(8)
            answer = post(client, bytes(part), name)
            statuses.add(answer.status_code)
            if answer.status_code != 200:
                assert list(answer.json()) == ["error"]
    assert {200, 422} <= statuses <= {200, 415, 422}


# ─── paths ───────────────────────────────────────────────────────────────────────────────────────────────

UP = ("../", "..%2f", "%2e%2e%2f", "%2e%2e/", "%252e%252e%252f", "..\\", "..%5c", "%2e%2e%5c", "..%c0%af",
      "%c0%ae%c0%ae/", "....//", "..;/", ".%00./", "..%0d/")  # fmt: skip
PLACES = ("/media/{}", "/thumbnails/{}/0", "/thumbnails/sample00003/{}", "/api/videos/{}", "/api/similar/{}",
          "/page/{}", "/{}", "/media/sample00003/{}", "/page/app.js/{}")  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_no_way_of_writing_a_path_leads_out(client, index, place):
    (index.parent / "secret.txt").write_text("the secret")
    secret = str(index.parent / "secret.txt")
    written = [
        secret,
        secret.replace("/", "%2f"),
        f"file:%2f%2f{secret}",
        "secret.txt",
        "sample00003%00" + secret,
        "~%2fsecret.txt",
        *(up * count + end for up in UP for count in (1, 3, 12)
          for end in ("secret.txt", "etc/passwd", "etc%2fpasswd", "api.py", secret[1:])),
    ]  # fmt: skip
    for path in written:
        answer = client.get(raw(client, place.format(path)), follow_redirects=False)
        assert answer.status_code in (404, 422), path
        assert list(answer.json()) == ["error"]
        assert "secret" not in answer.text
        assert "root:" not in answer.text


# ─── anything at all ─────────────────────────────────────────────────────────────────────────────────────

SIZE = 10_000
SIGNATURES = (
    b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"BM", b"II*\0", b"RIFF\0\0\1\0AVI ",
    b"RIFF\0\0\1\0WEBP", b"\0\0\0\x18ftypisom", b"\x1aE\xdf\xa3", b"OggS", b"FLV\1",
    b"0&\xb2u\x8ef\xcf\x11", b"\0\0\1\xba", b"G@\0\x10",
)  # fmt: skip
ENDINGS = (
    "png",
    "jpg",
    "gif",
    "bmp",
    "tif",
    "avi",
    "webp",
    "mp4",
    "mkv",
    "ogv",
    "flv",
    "wmv",
    "mpg",
    "ts",
    "",
)


PIECES = (
    b"\0", b"../", b"%00", b"'", b'"', b"<", b"=", b"~", b";", b",", b" ", b"{", b"]", b"\\", b"\r\n",
    b"\xff", b"\xed\xa0\x80", b"1e999", b"-1", b"NaN", b"9" * 20, b"bytes=", b"0-", b"duration<", b"kind=",
)  # fmt: skip


def percent(content):
    return "".join(f"%{byte:02x}" for byte in content)


def header(content):
    """Remove the bytes that a header cannot hold."""
    return content.replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b"")


def anything(draw, size=SIZE):
    """Random bytes: any, those that mean something somewhere, or those of text in any script."""
    kind = draw.randrange(3)
    if kind == 0:
        return draw.randbytes(size)
    if kind == 1:
        return b"".join(draw.choices(PIECES, k=size))[:size]
    text = "".join(chr(draw.randrange(0x20, 0xD800)) for _ in range(size // 2)).encode()
    return text[:size].decode(errors="ignore").encode()


def requests(draw, size):
    """One request for each field that the server reads, the field filled with anything."""

    def some():
        return anything(draw, size)

    for name in ("q", "language", "k", "filter"):
        yield "GET", f"/api/search?q=a&{name}={percent(some())}", {}
    yield "GET", f"/api/search?{percent(some())}={percent(some())}&q=a", {}
    yield "GET", f"/api/search?q=a&filter=path~{percent(some())}", {}
    yield "GET", f"/api/search?q=a&filter=video!={percent(some())}", {}
    yield "POST", f"/api/search?k={percent(some())}", {"files": {"file": ("a.png", b"")}}
    yield "GET", f"/api/similar/sample00003?segment={percent(some())}", {}
    yield "GET", f"/?token={percent(some())}", {"follow_redirects": False}
    for place in PLACES:
        yield draw.choice(("GET", "HEAD")), place.format(percent(some())), {}
    for name in ("Range", "If-Range", "Cookie", "Authorization", "Content-Type", "Content-Length", "Accept",
                 "Sec-Fetch-Site", "X-Forwarded-For", "Origin", "Host", "If-None-Match"):  # fmt: skip
        sent = {"headers": {name: header(some())}}
        yield "GET", "/media/sample00003", sent
        yield "POST", "/api/search", sent | {"content": some()}
    yield "GET", "/media/sample00003", {"headers": {"Range": b"bytes=" + header(some())}}
    yield "GET", "/api/index", {"headers": {"Authorization": b"Bearer " + header(some())}}
    yield "GET", "/api/index", {"headers": {"Cookie": b"mlcmr=" + header(some())}}
    for kind in ("application/json", "text/plain", "multipart/form-data; boundary=b", "multipart/form-data"):
        for address in ("/api/search", "/api/session"):
            yield "POST", address, {"headers": {"Content-Type": kind}, "content": some()}
    head = b"--b\r\nContent-Disposition: form-data; name="
    tail = b"\r\n\r\n\x89PNG\r\n\x1a\n\r\n--b--\r\n"
    forms = [
        head + b'"' + header(some()) + b'"; filename="a.png"' + tail,
        head + b'"file"; filename="' + header(some()) + b'"' + tail,
        head + b'"file"; filename="a.png"\r\nContent-Type: ' + header(some()) + tail,
        head + b'"file"; filename="a.png"\r\n' + header(some()) + b": x" + tail,
        head + b'"file"\r\n\r\n' + some() + b"\r\n--b--\r\n",
        b"--b\r\n" + some() + tail,
    ]
    for form in forms:
        yield (
            "POST",
            "/api/search",
            {"headers": {"Content-Type": "multipart/form-data; boundary=b"}, "content": form},
        )
    kind = b"multipart/form-data; boundary=" + header(some())
    yield "POST", "/api/search", {"headers": {"Content-Type": kind}, "content": forms[0]}
    for signature in SIGNATURES:
        name = f"a.{draw.choice(ENDINGS)}"
        yield "POST", "/api/search", {"files": {"file": (name, signature + some())}}


def leaks(answer, index):
    """Return the forbidden words that a response contains."""
    told = answer.text if answer.status_code >= 400 else ""  # hits name the paths of their files
    told += "".join(answer.headers.values())
    forbidden = ("Traceback", 'File "', "mlcmr/search", "site-packages", "mlcmr-upload", str(index.parent))
    return [one for one in forbidden if one in told]


@pytest.mark.slow
@pytest.mark.parametrize("token", [None, TOKEN])
def test_ten_thousand_random_bytes_in_every_field(searcher, index, token):
    draw = random.Random(0)
    shown = {"Authorization": f"Bearer {TOKEN}"} if token else {}
    seen = set()
    with served(searcher, token=token, seconds=5.0) as client:
        for size in 6 * (SIZE, SIZE, 900, 40, 3):
            for method, address, options in requests(draw, size):
                sent = shown | options.get("headers", {})
                answer = client.request(method, raw(client, address), **options | {"headers": sent})
                seen.add(answer.status_code)
                assert answer.status_code < 500, (address[:80], answer.text)
                assert leaks(answer, index) == [], address[:80]
                if answer.status_code >= 400 and method != "HEAD":
                    assert list(answer.json()) == ["error"]
                    assert answer.json()["error"].isprintable()
        assert client.get("/api/search?q=a", headers=shown).status_code == 200
    assert {200, 400, 404, 415, 422} <= seen


@pytest.mark.slow
def test_random_bytes_instead_of_a_request(index, tmp_path):
    draw = random.Random(2)
    with processes.serving(index, tmp_path / "log") as (command, url):
        host, port = url.removeprefix("http://").split(":")
        starts = (b"", b"GET ", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: localhost\r\n",
                  b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
                  b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n\r\n",
                  b"\x16\x03\x01", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")  # fmt: skip
        for start in starts * 3:
            with socket.create_connection((host, int(port)), 10) as connection, suppress(ConnectionError):
                connection.sendall(start + draw.randbytes(SIZE))
                connection.shutdown(socket.SHUT_WR)
                answer = connection.recv(10_000)
                assert answer == b"" or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 200"))
                assert b"Traceback" not in answer
        assert httpx.get(f"{url}/api/search?q=a", timeout=60).status_code == 200
        assert "Traceback" not in command.output
