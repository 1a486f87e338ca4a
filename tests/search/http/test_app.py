"""The HTTP API: what it answers, what it refuses; nothing makes it fail or tell what it should not."""

import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from hypothesis import given

from mlcmr.cli import main
from mlcmr.data.ids import IMAGE_ENDINGS, VIDEO_ENDINGS
from mlcmr.errors import MlcmrError
from mlcmr.search.http.app import create_app
from mlcmr.search.http.service import ServerLimits
from tests.helpers.fake_searcher import FakeVideo
from tests.helpers.http_api import BYTES, PNG, TOKEN, raw, running, served

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


def test_a_language_that_the_model_was_trained_in_is_taken_by_its_code(client, searcher):
    refused = client.get("/api/search?q=ki&language=br")
    assert refused.status_code == 422
    assert "'br' is the code of Breton and of Brazil" in refused.json()["error"]
    searcher.trained_languages = ("en", "br")
    assert client.get("/api/search?q=ki&language=br").status_code == 200


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
    assert broken.json() == {"error": "the file cannot be read as a picture or video: cannot be decoded"}
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


# ─── anything at all ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_it_keeps_to_its_own_description(searcher):
    schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis")
    from hypothesis import HealthCheck, Phase, settings
    from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

    app = create_app(searcher, token=TOKEN, limits=ServerLimits(rate=0.0))
    shown = {"Authorization": f"Bearer {TOKEN}"}
    schema = schemathesis.openapi.from_asgi("/api/openapi.json", app, headers=shown)
    without_fields = ("/api/index", "/api/session", "/health", "/metrics")
    operations = [one.ok() for one in schema.get_all_operations()]
    assert len(operations) == 10
    # Without parameters, a request may be wrong only in one that nothing reads, and in the token, which is
    # sent all the same. Few files are pictures, and few words are codes of languages, which the description
    # cannot say.
    unless = {one.label: [] if one.query.items else [negative_data_rejection] for one in operations}
    for label in ("GET /api/search", "POST /api/search"):
        unless[label].append(positive_data_acceptance)
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
                case.call_and_validate(headers=shown, excluded_checks=unless[case.operation.label])

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
