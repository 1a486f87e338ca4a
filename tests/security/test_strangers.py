"""Data made by a stranger leads to no file, server or model that this user has not named."""

import json
import os
import re
import shutil
from contextlib import closing, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from starlette.testclient import TestClient

import mlcmr
from mlcmr.cli import main
from mlcmr.errors import CorruptFileError, MlcmrError, NotFoundError
from mlcmr.extraction.extract_collection import extract
from mlcmr.extraction.media import decode
from mlcmr.extraction.records import read_videos, videos_file, write_videos
from mlcmr.search import Searcher
from mlcmr.search.hits import read_caption_hit, read_files
from mlcmr.search.http.app import create_app
from mlcmr.search.http.service import ServerLimits
from mlcmr.search.indexing.manifest import read_info, write_info
from mlcmr.search.indexing.storage import IndexWriter
from mlcmr.search.models import open_again
from mlcmr.search.record import Record
from tests.helpers.indexes import copy_index
from tests.helpers.qdrant_server import QdrantServer
from tests.helpers.videos import write_films

VIDEO = "0"


@pytest.fixture(autouse=True)
def user(tmp_path, monkeypatch):
    """A user who has named nothing yet."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("QDRANT_API_KEY", raising=False)
    return lambda: monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))


@pytest.fixture
def mine(films, drawn, tmp_path):
    """An index of one's own films."""
    mlcmr.index(films, tmp_path / "mine", run=drawn / "run", device="cpu")
    return tmp_path / "mine"


@pytest.fixture(scope="module")
def original(drawn, tmp_path_factory):
    """A folder with films, their index, and the record of the user who has made it."""
    folder = tmp_path_factory.mktemp("original")
    write_films(drawn, folder / "films")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        mlcmr.index(folder / "films", folder / "index", run=drawn / "run", device="cpu")
    return folder


@pytest.fixture
def downloaded(original, tmp_path):
    """A copy of an index of this user, which anybody may have changed."""
    shutil.copytree(original / "state", tmp_path / "state")
    (tmp_path / "downloads").mkdir()
    return copy_index(original / "index", tmp_path / "downloads" / "index")


def forge(index, videos=(VIDEO,), **changes):
    """Changes what an index has stored of videos, or of all."""
    with IndexWriter(index) as writer:
        points = writer.open_stores().segments.get(all_ids(writer))
        changed = [
            replace(one, payload=one.payload | changes)
            for one in points
            if not videos or one.payload["video"] in videos
        ]
        writer.open_for_writing().segments.upsert(changed)


def all_ids(writer):
    return [one for one, _ in writer.open_stores().segments.scan(["video"])]


@contextmanager
def served(index, **options):
    searcher = Searcher(index, device="cpu", **options)
    try:
        app = create_app(searcher, limits=ServerLimits(rate=0.0))
        with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
            yield client
    finally:
        searcher.close()


def statuses(index, **options):
    """The status of a video and of its thumbnail."""
    with served(index, **options) as client:
        return [client.get(f"/{what}").status_code for what in (f"media/{VIDEO}", f"thumbnails/{VIDEO}/0")]


# ─── files ───────────────────────────────────────────────────────────────────────────────────────────────


def test_who_indexed_his_own_films_notices_nothing(mine, films, capfd, monkeypatch):
    monkeypatch.setattr("uvicorn.Server.run", lambda *_, **__: None)
    assert statuses(mine) == [200, 200]
    assert main(["serve", str(mine), "--port", "0", "--device", "cpu"]) == 0
    assert len(capfd.readouterr().out.splitlines()) == 2
    with served(mine) as client:
        assert client.get(f"/media/{VIDEO}").content == (films / "0.mp4").read_bytes()
        assert client.get("/media/photo").headers["Content-Type"] == "image/png"
    mine.rename(mine.with_name("moved"))
    assert statuses(mine.with_name("moved")) == [200, 200]


def test_an_index_of_an_own_collection_serves_what_was_extracted(films, drawn, tmp_path):
    extract(films, tmp_path / "collection", workers=1)
    summary = mlcmr.index(tmp_path / "collection", tmp_path / "index", run=drawn / "run", device="cpu")
    assert summary.closed == ""
    assert statuses(tmp_path / "index") == [200, 200]


def test_a_downloaded_index_serves_no_file_outside_its_folder(downloaded, original, capfd, monkeypatch):
    films = original / "films"
    assert statuses(downloaded) == [403, 200]  # its thumbnails lie in it
    monkeypatch.setattr("uvicorn.Server.run", lambda *_, **__: None)
    assert main(["serve", str(downloaded), "--port", "0", "--device", "cpu"]) == 0
    (line,) = [line for line in capfd.readouterr().out.splitlines() if line.startswith("closed:")]
    assert line.endswith(f"`mlcmr serve --media-root {films}`")
    assert statuses(downloaded, media_roots=[films]) == [200, 200]
    shutil.copy(films / "0.mp4", downloaded / "own.mp4")
    forge(downloaded, path=str(downloaded / "own.mp4"))
    assert statuses(downloaded) == [200, 200]


def test_an_index_in_the_place_of_an_own_one_is_a_strangers(mine, tmp_path):
    downloaded = copy_index(mine, tmp_path / "downloaded")
    write_info(downloaded, replace(read_info(downloaded), id="another"))
    shutil.rmtree(mine)
    downloaded.rename(mine)
    assert statuses(mine) == [403, 200]


def test_another_users_record_does_not_count(mine, user):
    user()
    assert statuses(mine) == [403, 200]


@pytest.mark.parametrize("changes", [{"path": "/etc/passwd"}, {"path": "{index}/link.mp4"},
                                     {"source": "/etc", "thumbnail": "passwd"}])  # fmt: skip
def test_serve_does_not_advise_to_hand_out_what_is_no_video(downloaded, changes):
    (downloaded / "link.mp4").symlink_to("/etc/passwd")
    forge(downloaded, (), **{name: text.format(index=downloaded) for name, text in changes.items()})
    with closing(Searcher(downloaded, device="cpu")) as searcher:
        assert "/etc" not in searcher.folders_outside(1000)


def test_index_does_not_advise_to_hand_out_what_is_no_video(collection, drawn, tmp_path, films):
    link = collection / "link.mp4"
    link.symlink_to("/etc/passwd")
    rewrite(collection, path=str(link))
    summary = mlcmr.index(collection, tmp_path / "index", run=drawn / "run", device="cpu")
    assert summary.closed.endswith(f"`mlcmr serve --media-root {films}`")
    records = [replace(one, path=str(link)) for one in read_videos(collection)]
    write_videos(collection, records)
    write_videos(collection, records, "hues228")
    summary = mlcmr.index(collection, tmp_path / "index", run=drawn / "run", device="cpu")
    assert summary.closed.startswith("7 files outside the folders that were extracted, as")
    assert "--media-root" not in summary.closed


def test_a_refusal_is_logged_once(downloaded, caplog):
    forge(downloaded, path="/etc/passwd")
    with served(downloaded) as client:
        for _ in range(3):
            assert client.get(f"/media/{VIDEO}").status_code == 403
    assert caplog.text.count("not handed out: /etc/passwd: lies outside") == 1


@pytest.mark.parametrize("allowed", [False, True])
@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd", "{index}/link.mp4", "{index}/link/passwd", "{index}/text.mp4", "{index}/index.json",
        "{index}/pipe.mp4", "{index}", "{index}/../secret.txt", "/dev/zero", "/proc/self/environ",
        "{index}/no.mp4",
        "{index}/script.mp4", "{index}/../index-2/own.mp4", "{index}/page.html", "{index}/" + 300 * "x",
    ],
)  # fmt: skip
def test_only_films_and_pictures_below_are_handed_out(downloaded, path, allowed):
    (downloaded.parent / "secret.txt").write_text("secret")
    (downloaded / "link.mp4").symlink_to("/etc/passwd")
    (downloaded / "link").symlink_to("/etc")
    (downloaded / "text.mp4").write_text("root:x:0:0:" * 500)
    (downloaded / "page.html").write_text("<script>alert(1)</script>")
    (downloaded / "script.mp4").write_text("ffconcat version 1.0\nfile /etc/passwd\n")
    os.mkfifo(downloaded / "pipe.mp4")
    forge(downloaded, path=path.format(index=downloaded))
    # Even if every folder is allowed, only films are served.
    media, _ = statuses(downloaded, media_roots=["/"] if allowed else [])
    assert media in (403, 404)


@pytest.mark.parametrize(
    "changes",
    [
        {"thumbnail": "link.jpg"}, {"thumbnail": "text.jpg"}, {"thumbnail": "../films/photo.png"},
        {"thumbnail": "/etc/passwd"}, {"thumbnail": "../index.json"}, {"thumbnail": "../../picture.jpg"},
        {"source": "/etc", "thumbnail": "passwd"}, {"source": "../..", "thumbnail": "picture.jpg"},
        {"source": "/", "thumbnail": "{outside}/picture.jpg"},
    ],
)  # fmt: skip
def test_only_thumbnails_of_the_index_are_handed_out(downloaded, changes):
    (thumbnail, *_) = (downloaded / "collection" / "thumbnails").rglob("*.jpg")
    shutil.copy(thumbnail, downloaded.parent / "picture.jpg")
    (downloaded / "collection" / "link.jpg").symlink_to(downloaded.parent / "picture.jpg")
    (downloaded / "collection" / "text.jpg").write_text("secret")
    forge(downloaded, **{name: text.format(outside=downloaded.parent) for name, text in changes.items()})
    assert statuses(downloaded)[1] == 403


def test_a_file_that_changes_is_looked_at_again(mine, films):
    with served(mine) as client:
        assert client.get(f"/media/{VIDEO}").status_code == 200
        (films / "0.mp4").write_text("no film any more")
        assert client.get(f"/media/{VIDEO}").status_code == 403
        (films / "0.mp4").unlink()
        assert client.get(f"/media/{VIDEO}").status_code == 404
        (films / "0.mp4").symlink_to("/etc/passwd")
        assert client.get(f"/media/{VIDEO}").status_code == 403


def test_files_are_closed_again(mine):
    with served(mine) as client:

        def ask():
            client.head(f"/media/{VIDEO}")
            for name, value in (("A", "b"), ("Range", "bytes=0-9"), ("Range", "bytes=9-0")):
                client.get(f"/media/{VIDEO}", headers={name: value})
            return len(list(Path("/proc/self/fd").iterdir()))

        before = ask()
        assert [ask() for _ in range(10)][-1] <= before  # what an earlier test left may close meanwhile


@pytest.mark.parametrize(
    "changes",
    [{"path": 3}, {"path": "relative.mp4"}, {"path": "/a\0b.mp4"}, {"start": "x"}, {"captions": 3},
     {"caption": None}, {"width": 1e308}, {"duration": [1]}, {"thumbnail": {}}, {"kind": None},
     {"segment": "0"}, {"segments": 10**12}, {"segments": "many"}, {"source": 3}, {"source": "a\0b"},
     {"source": "a\0b", "thumbnail": ""}, {"thumbnail": "a\0b.jpg"}, {"path": "", "thumbnail": "a\0b.jpg"},
     {"path": f"/{'x' * 5000}.mp4"}, {"source": "x" * 5000}, {"thumbnail": f"{'x' * 5000}.jpg"}],
)  # fmt: skip
def test_a_record_that_is_nonsense_is_one_line(downloaded, changes, monkeypatch):
    forge(downloaded, **changes)
    with served(downloaded) as client:
        addresses = [f"/{what}/{VIDEO}" for what in ("api/videos", "media")]
        for address in (*addresses, f"/thumbnails/{VIDEO}/0", "/api/search?q=a"):
            answer = client.get(address)
            assert answer.status_code in (200, 403, 404, 503)
            assert b"internal error" not in answer.content
    monkeypatch.setattr("uvicorn.Server.run", lambda *_, **__: None)
    assert main(["serve", str(downloaded), "--port", "0", "--device", "cpu"]) == 0


@pytest.mark.parametrize(
    "changes",
    [{"source": "a\0b"}, {"source": 3}, {"source": f"/{'x' * 5000}"}, {"video": []}, {"segment": {}},
     {"segment": "x"}, {"stamp": None}],
)  # fmt: skip
def test_an_index_with_a_record_that_is_nonsense_is_not_updated(downloaded, films, drawn, changes):
    forge(downloaded, **changes)
    (name,) = changes
    for dry_run in (True, False):
        with pytest.raises(MlcmrError, match=rf"index: a record is damaged: {name} is|: video '0'"):
            mlcmr.index(films, downloaded, run=drawn / "run", device="cpu", dry_run=dry_run)


@pytest.mark.parametrize("name", ["caption_id", "video", "language", "text"])
def test_a_caption_that_is_nonsense_is_one_line(tmp_path, name):
    caption = dict.fromkeys(("caption_id", "video", "language", "text"), "a")
    for value in (None, [], 3):
        with pytest.raises(CorruptFileError, match=f"a record is damaged: {name} is"):
            read_caption_hit(Record(tmp_path, {**caption, name: value}), 1.0)


@pytest.mark.parametrize("name", ["path", "source", "thumbnail"])
def test_a_path_that_is_not_unicode_is_damaged(tmp_path, name):
    """Strings of stores of other packages may hold lone surrogates."""
    payload = {"path": "/a.mp4", "source": "collection", "thumbnail": "a.jpg", name: "/\ud800.mp4"}
    with pytest.raises(CorruptFileError, match=rf"{name} is '/\\ud800"):
        read_files(Record(tmp_path, payload))


# ─── collections ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def collection(films, drawn, tmp_path, user):
    """A collection that somebody else made: its films lie beside it, and so does what is secret."""
    extract(films, tmp_path / "collection", workers=1)
    user()
    return tmp_path / "collection"


def rewrite(collection, **changes):
    (features,) = (path for path in (collection / "FeatureData").iterdir() if not path.name.startswith("."))
    records = [replace(one, **changes) if one.video == VIDEO else one for one in read_videos(collection)]
    write_videos(collection, records)
    write_videos(collection, records, features.name)
    return videos_file(collection, features.name)


def test_a_foreign_collection_is_searched_but_opens_no_file_outside_it(
    collection, drawn, tmp_path, monkeypatch, films
):
    opened = []
    monkeypatch.setattr(decode, "open_media", lambda path, *_: opened.append(path) or 1 / 0)
    rewrite(collection, width=0, height=0)
    (films / "new.mp4").write_bytes((films / "1.mp4").read_bytes())
    summary = mlcmr.index(collection, tmp_path / "index", run=drawn / "run", device="cpu")
    assert opened == []
    assert summary.missing == ""  # nobody looks round in a folder that the collection names
    assert f"as {films}/" in summary.closed
    assert summary.closed.endswith(f"`mlcmr serve --media-root {films}`")
    monkeypatch.undo()


@pytest.mark.parametrize("name", ["x" * 300, "x" * 4090, "y/" * 2040 + "a"])
def test_a_foreign_collection_may_name_a_file_that_no_system_can_have(collection, drawn, tmp_path, name):
    rewrite(collection, path=f"/{name}.mp4")
    assert mlcmr.index(collection, tmp_path / "index", run=drawn / "run", device="cpu").added == 7
    assert statuses(tmp_path / "index") == [403, 200]


def test_what_a_foreign_collection_names_is_handed_out_once_it_is_allowed(collection, drawn, tmp_path, films):
    mlcmr.index(collection, tmp_path / "index", run=drawn / "run", device="cpu")
    assert statuses(tmp_path / "index") == [403, 200]
    words = ["index", collection, "--to", tmp_path / "index", "--media-root", films, "--device", "cpu"]
    assert main([*map(str, words)]) == 0
    assert statuses(tmp_path / "index") == [200, 200]


def test_links_in_a_foreign_collection_lead_nowhere(collection, films, drawn, tmp_path):
    (collection / "VideoData").symlink_to(films)
    rewrite(collection, path=str(collection / "VideoData" / "0.mp4"))
    summary = mlcmr.index(collection, tmp_path / "index", run=drawn / "run", device="cpu")
    assert "7 files" in summary.closed
    assert statuses(tmp_path / "index") == [403, 200]


def test_extraction_writes_and_removes_nothing_behind_a_link(collection, films, tmp_path):
    (feature,) = (collection / "thumbnails").iterdir()
    mine = tmp_path / "photos"
    mine.mkdir()
    for name in ("0.jpg", "holiday.jpg"):
        (mine / name).write_text("mine")
    shutil.rmtree(feature / VIDEO)
    (feature / VIDEO).symlink_to(mine)
    (feature / "another").symlink_to(mine)
    os.utime(films / "0.mp4")
    with pytest.raises(MlcmrError, match="link out of the collection"):
        extract(films, collection, workers=1)
    (feature / VIDEO).unlink()
    extract(films, collection, workers=1)
    assert {path.name: path.read_text() for path in mine.iterdir()} == {
        "0.jpg": "mine",
        "holiday.jpg": "mine",
    }
    assert (feature / VIDEO / "0.jpg").exists()


# ─── servers ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def on_server(place, trained, user):
    """An index with a key, on a server that somebody else has named."""
    with QdrantServer(key="right") as qdrant, pytest.MonkeyPatch.context() as patch:
        patch.setenv("QDRANT_API_KEY", "right")
        mlcmr.index(place / "tiny", place / "index", run=trained, url=qdrant.url, name="films", device="cpu")
        user()
        qdrant.asked.clear()
        yield place / "index", qdrant


def test_only_a_server_that_the_user_named_is_asked(on_server, capfd):
    index, qdrant = on_server
    for words in (["search", "a", "--index"], ["serve", "--port", "0"], ["index", "--remove", "a", "--to"]):
        assert main([*words, str(index)]) == 2
        error = capfd.readouterr().err
        assert error.endswith(f"give --url {qdrant.url}\n")
        assert error.count("\n") == 1
    assert main(["search", "a", "--index", str(index), "--url", "http://127.0.0.1:9"]) == 2
    assert qdrant.asked == []
    words = ["search", "A dog runs.", "--index", str(index), "--device", "cpu"]
    assert main([*words, "--url", qdrant.url.replace("127.0.0.1", "127.0.0.1") + "/"]) == 0
    assert qdrant.asked
    assert main(words) == 2  # it is of this command only
    source = str(index.parent / "tiny")
    assert main(["index", source, "--to", str(index), "--url", qdrant.url, "--device", "cpu"]) == 0
    assert main(words) == 0


@pytest.mark.parametrize("url", ["file:///etc/passwd", "http://me:secret@host:6333"])
def test_a_wrong_address_in_an_index_is_the_file_s_fault(on_server, url, capfd):
    index, _ = on_server
    write_info(index, replace(read_info(index), url=url))
    assert main(["search", "a", "--index", str(index)]) == 2
    error = capfd.readouterr().err
    assert error.startswith(f"mlcmr: {index}/index.json: 'url' is not the address of a server")
    assert "--url" not in error
    assert "secret" not in error


class Elsewhere(BaseHTTPRequestHandler):
    """Sends every client to another server, and notes what they show."""

    shown: list[dict[str, str]]
    to: str

    def do_GET(self):
        self.shown.append(dict(self.headers))
        self.send_response(307 if self.to else 200)
        if self.to:
            self.send_header("Location", self.to + self.path)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_PUT = do_GET

    def log_message(self, *_):
        pass


@contextmanager
def redirecting(to=""):
    handler = type("Handler", (Elsewhere,), {"shown": [], "to": to})
    server = HTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", handler.shown
    finally:
        server.shutdown()
        server.server_close()


def test_no_redirect_takes_the_key_elsewhere(on_server, capfd):
    index, _ = on_server
    with redirecting() as (other, shown), redirecting(other) as (url, first):
        write_info(index, replace(read_info(index), url=url))
        assert main(["search", "a", "--index", str(index), "--url", url]) == 2
        assert len(capfd.readouterr().err.splitlines()) == 1
        assert first
        assert shown == []


# ─── models ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def no_hub(monkeypatch):
    """Fails where somebody asks the hub."""
    asked = []
    monkeypatch.setattr("mlcmr.model.hub.HfApi", lambda **_: asked.append("asked"))
    return asked


def test_a_model_of_the_hub_is_not_fetched_because_an_index_says_so(downloaded, no_hub, capfd):
    info = read_info(downloaded)
    write_info(downloaded, replace(info, model=replace(info.model, kind="pretrained", name="some/model")))
    assert main(["search", "a", "--index", str(downloaded)]) == 2
    assert capfd.readouterr().err.endswith("name it yourself: --model some/model\n")
    assert main(["serve", str(downloaded), "--port", "0"]) == 2
    assert capfd.readouterr().err.endswith("name it yourself: --model some/model\n")
    assert no_hub == []
    assert main(["search", "a", "--index", str(downloaded), "--model", "some/model"]) == 2
    assert no_hub == ["asked"]


def test_an_encoder_of_the_hub_is_not_fetched_because_an_index_says_so(downloaded, films, no_hub):
    write_info(downloaded, replace(read_info(downloaded), encoder="some/encoder"))
    with pytest.raises(NotFoundError, match="name it yourself: `models` some/encoder"):
        Searcher(downloaded, device="cpu").search_file(films / "0.mp4")
    with pytest.raises(NotFoundError, match="name it yourself: `encoder` some/encoder"):
        mlcmr.index(films, downloaded, device="cpu")
    assert no_hub == []


def test_an_encoder_of_the_hub_is_not_fetched_because_a_run_says_so(drawn, films, tmp_path, no_hub):
    run = Path(shutil.copytree(drawn / "run", tmp_path / "run"))
    other = Path(shutil.copytree(drawn / "sample", tmp_path / "other" / "sample"))
    settings = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(settings.replace(str(drawn), str(tmp_path / "other")))
    (other / "FeatureData" / "hues228" / "encoder.json").write_text(
        json.dumps({"encoder": "some/encoder", "rate": 2.0})
    )
    with pytest.raises(NotFoundError, match="name it yourself: `encoder` some/encoder"):
        mlcmr.index(films, tmp_path / "index", run=run, device="cpu")
    assert no_hub == []


def test_a_model_that_is_here_is_opened_without_asking_the_hub(downloaded, no_hub, monkeypatch, tmp_path):
    """As the cache has it, whoever names it: an own index of before goes on working."""
    info = read_info(downloaded)
    wanted = replace(info.model, kind="pretrained", name="some/model")
    here = Path(shutil.copytree(Path(info.model.name) / "model", tmp_path / "cached"))
    asked = []

    def snapshot(name, **options):
        asked.append((name, options))
        return str(here)

    monkeypatch.setattr("mlcmr.model.hub.snapshot_download", snapshot)
    assert open_again(wanted, device="cpu").info.name == "some/model"
    assert asked == [("some/model", {"local_files_only": True})]
    assert no_hub == []


def test_each_promise_names_tests_that_are_there():
    root = Path(__file__).parents[2]
    said = (root / "SECURITY.md").read_text()
    tests = "".join(path.read_text() for path in (root / "tests").rglob("*.py"))
    for name in re.findall(r"`(test_\w+)`", said):
        assert f"def {name}(" in tests, name
    for path in re.findall(r"`(tests/[\w/]+\.py)`", said):
        assert (root / path).is_file(), path
    rows = [line for line in said.splitlines() if line.startswith("| ") and not line.startswith("| what")]
    assert rows
    assert all("test" in row.rpartition("| ")[2] or "test" in row.split("|")[3] for row in rows)
