"""Indexes: stores, what is embedded and when, killed writers, readers meanwhile, and searching."""

import json
import os
import random
import shlex
import shutil
import signal
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import numpy as np
import pytest
import torch

import processes
from mlcmr import MLCMR
from mlcmr.cli import main
from mlcmr.data.captions import write_captions
from mlcmr.data.features import write_features
from mlcmr.data.sample import make_sample
from mlcmr.errors import UserError
from mlcmr.extraction.extract import extract
from mlcmr.search import Filters, Searcher, edge, index, server, update
from mlcmr.search.edge import EdgeStore
from mlcmr.search.filters import Condition
from mlcmr.search.folder import IndexWriter, _copy, open_published
from mlcmr.search.index import index_videos
from mlcmr.search.info import read_info
from mlcmr.search.language import guess_language
from mlcmr.search.points import CAPTION_FIELDS, SEGMENT_FIELDS, segment_id
from mlcmr.search.searcher import UnknownVideo
from mlcmr.search.server import ServerStore
from mlcmr.search.show import time_range
from mlcmr.search.store import Point, Query, VectorStore
from mlcmr.training.train import train
from tiny import FEATURE, SCENES, frames, tiny_config, video_name, write_collection

pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact"),
]

SIZE = 16


def identity(number: int) -> str:
    return str(uuid.UUID(int=number + 1))


def vectors(count: int, seed: int = 0, size: int = SIZE) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def points(rows: np.ndarray, start: int = 0) -> list[Point]:
    return [
        Point(
            identity(start + n),
            row,
            {
                "video": f"v{start + n}",
                "kind": "image" if n % 3 == 0 else "video",
                "path": f"/films/{'holiday' if n % 2 else 'work'}/{n}.mp4",
                "duration": float(n),
            },
        )
        for n, row in enumerate(rows)
    ]


def make_store(kind: str, folder: Path) -> VectorStore:
    if kind == "edge":
        return EdgeStore(folder / "store", SIZE, SEGMENT_FIELDS, writing=True)
    return ServerStore(server.QdrantClient(":memory:"), "store", SIZE, SEGMENT_FIELDS, "abc", writing=True)


@pytest.fixture(params=["edge", "server"])
def made(request, tmp_path) -> Iterator[VectorStore]:
    """The same tests for both."""
    one = make_store(request.param, tmp_path)
    yield one
    one.close()


@pytest.fixture(scope="module", params=["edge", "server"])
def thirty(request, tmp_path_factory) -> Iterator[VectorStore]:
    """A store of thirty points, only read."""
    one = make_store(request.param, tmp_path_factory.mktemp("thirty"))
    one.upsert(points(vectors(30)))
    yield one
    one.close()


# ─── stores ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_store_finds_what_numpy_finds(made):
    rows, asked = vectors(200), vectors(7, seed=1)
    made.upsert(points(rows))
    for k, found, query in zip(
        range(1, 8), made.search([Query(q, k) for k, q in enumerate(asked, 1)]), asked, strict=True
    ):
        scores = rows @ query
        best = np.argsort(-scores)[:k]
        assert [one.id for one in found] == [identity(n) for n in best]
        np.testing.assert_allclose([one.score for one in found], scores[best], atol=1e-5)
        assert [one.payload["video"] for one in found] == [f"v{n}" for n in best]
    assert made.exact
    assert made.count() == 200


@pytest.mark.parametrize("k", [21, 2**31, 2**63, 2**64, 10**30])
def test_more_hits_wanted_than_there_are(made, k):
    assert made.search([Query(vectors(1)[0], k)]) == [[]]
    made.upsert(points(vectors(20)))
    (found,) = made.search([Query(vectors(1)[0], k)])
    assert len(found) == 20


def test_a_store_replaces_and_removes(made):
    rows = vectors(20)
    made.upsert(points(rows))
    made.upsert([Point(identity(3), -rows[3], {"video": "other"})])
    made.delete([identity(4), identity(400)])
    made.delete([])
    assert made.count() == 19
    assert {one.id for one in made.get([identity(3), identity(4)])} == {identity(3)}
    (three,) = made.get([identity(3)])
    np.testing.assert_allclose(three.vector, -rows[3], atol=1e-6)
    assert three.payload == {"video": "other"}
    (found,) = made.search([Query(-rows[3], 1)])
    assert found[0].payload == {"video": "other"}
    seen = dict(made.scan(["video"]))
    assert len(seen) == 19
    assert seen[identity(5)] == {"video": "v5"}


@pytest.mark.parametrize(
    ("written", "holds"),
    [
        ("duration<5", lambda n: n < 5),
        ("duration <= 5", lambda n: n <= 5),
        ("duration>5", lambda n: n > 5),
        ("duration>=5", lambda n: n >= 5),
        ("duration=5", lambda n: n == 5),
        ("kind=image", lambda n: n % 3 == 0),
        ("kind!=image", lambda n: n % 3),
        ("path~holiday/1", lambda n: n % 2 and str(n).startswith("1")),
        ("path=/films/work/4.mp4", lambda n: n == 4),
        ("video=v7", lambda n: n == 7),
        ("video!=v7", lambda n: n != 7),
    ],
)
def test_a_store_filters(thirty, written, holds):
    (found,) = thirty.search([Query(vectors(1)[0], 30, Filters.parse([written]))])
    assert {one.id for one in found} == {identity(n) for n in range(30) if holds(n)}


@pytest.mark.parametrize(
    ("written", "count"), [("path~\udcff", 0), ("video=\udcff", 0), ("video!=\udcff", 30)]
)
def test_filters_that_are_not_utf_8(thirty, written, count):
    (found,) = thirty.search([Query(vectors(1)[0], 30, Filters.parse([written]))])
    assert len(found) == count
    # As a server would be sent it.
    for one in Filters.parse([written]).conditions:
        str(one.value).encode()


def test_filters_are_all_met(thirty):
    (found,) = thirty.search(
        [Query(vectors(1)[0], 30, Filters.parse(["duration<9", "kind=image", "video!=v0"]))]
    )
    assert {one.id for one in found} == {identity(3), identity(6)}


def test_a_number_that_is_left_out(thirty):
    (found,) = thirty.search([Query(vectors(1)[0], 30, Filters((Condition("duration", "!=", 7.0),)))])
    assert {one.id for one in found} == {identity(n) for n in range(30) if n != 7}


def test_filters_of_one_batch_do_not_mix(thirty):
    query = vectors(1)[0]
    wanted = [Filters.parse([f"video=v{n}"]) for n in range(5)]
    found = thirty.search([Query(query, 3, one) for one in wanted])
    assert [[one.payload["video"] for one in hits] for hits in found] == [[f"v{n}"] for n in range(5)]


@pytest.mark.parametrize(
    "written",
    ["", "duration", "duration<", "duration<x", "duration<nan", "duration<inf", "duration~6",
     "kind=film", "kind<3", "colour=red", "language=en", "video", "=", "path<3", "duration<1e999",
     "x" * 10_000, "duration<5<6"],
)  # fmt: skip
def test_filters_that_cannot_be(written):
    with pytest.raises(UserError, match=r"^filter '.*(filters are|compared with)") as caught:
        Filters.parse(["duration<5", written])
    assert len(str(caught.value)) < 500


def test_a_path_may_have_anything_in_it():
    (one,) = Filters.parse(["path~a=b<c ~ d"]).conditions
    assert one == Condition("path", "~", "a=b<c ~ d")


# ─── the store in a folder ───────────────────────────────────────────────────────────────────────────────


def test_one_process_writes_a_store(tmp_path):
    one = EdgeStore(tmp_path / "store", SIZE, SEGMENT_FIELDS, writing=True)
    with pytest.raises(UserError, match="cannot be opened"):
        EdgeStore(tmp_path / "store", SIZE, SEGMENT_FIELDS, writing=True)
    one.close()


def test_a_sealed_store_is_read_by_many_and_written_again(tmp_path):
    path, rows = tmp_path / "store", vectors(50)
    for turn in range(4):
        one = EdgeStore(path, SIZE, SEGMENT_FIELDS, writing=True)
        # What is there already is replaced and removed as well as what is new is added.
        one.upsert([Point(identity(n), rows[n], {"turn": turn}) for n in range(10 * turn + 10)])
        one.delete([identity(turn)])
        one.optimize()
        one.seal()
        readers = [EdgeStore(path, SIZE, SEGMENT_FIELDS) for _ in range(3)]
        for reader in readers:
            seen = dict(reader.scan(["turn"]))
            assert seen == {identity(n): {"turn": turn} for n in range(10 * turn + 10) if n != turn}
            reader.close()


def test_a_store_of_another_size(tmp_path):
    EdgeStore(tmp_path / "store", SIZE, SEGMENT_FIELDS, writing=True).seal()
    with pytest.raises(UserError, match="cannot be opened"):
        EdgeStore(tmp_path / "store", SIZE + 1, SEGMENT_FIELDS)


def test_a_large_store_follows_a_graph(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    size, centres = 64, vectors(200, size=64)
    rows = centres[rng.integers(0, 200, 4000)] + 0.1 * rng.normal(size=(4000, size)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    one = EdgeStore(tmp_path / "store", size, {}, writing=True)
    one.upsert([Point(identity(n), row, {}) for n, row in enumerate(rows)])
    one.optimize()
    assert one.exact
    assert one._shard.info().indexed_vectors_count == 0
    monkeypatch.setattr(edge, "EXACT_NUMBERS", 4000 * size - 1)
    one.optimize()
    assert not one.exact
    assert one._shard.info().indexed_vectors_count == 4000
    asked = rows[::40]
    found = one.search([Query(query, 10) for query in asked])
    best = np.argsort(-(asked @ rows.T), axis=1)[:, :10]
    shared = [
        len({identity(n) for n in row} & {one.id for one in hits})
        for row, hits in zip(best, found, strict=True)
    ]
    assert np.mean(shared) > 9
    one.close()


def _write_forever(path: str, log: str, start: str) -> None:
    one = EdgeStore(Path(path), SIZE, SEGMENT_FIELDS, writing=True)
    draw = random.Random(start)
    with Path(log).open("a") as acknowledged:
        for turn in range(int(start) + 1, 10**9):
            # Each turn brings ten that are new, replaces some that are old, and removes the first of the ten.
            old = {number for number in (draw.randrange(10 * turn) for _ in range(10)) if number % 10}
            numbers = [*range(10 * turn, 10 * turn + 10), *sorted(old)]
            made = zip(numbers, vectors(len(numbers), seed=turn), strict=True)
            one.upsert([Point(identity(n), row, {"video": f"v{n}", "turn": turn}) for n, row in made])
            acknowledged.writelines(f"{n} {turn}\n" for n in numbers[1:])
            acknowledged.flush()
            one.delete([identity(numbers[0])])
            acknowledged.write(f"{numbers[0]} 0\n")
            acknowledged.flush()
            if draw.random() < 0.1:
                one.optimize()


def start_killable(target: Callable[..., None], *arguments: str) -> ForkServerProcess:
    context = processes.server()
    context.set_forkserver_preload(["processes", "mlcmr.cli", "test_index"])
    process = context.Process(target=target, args=arguments)
    process.start()
    return process


def wait_for_bytes(log: Path, count: int, process: ForkServerProcess) -> None:
    """Until so much is acknowledged, or the process has ended."""
    while process.is_alive() and (not log.exists() or log.stat().st_size < count):
        time.sleep(0.001)


def test_a_killed_writer_has_kept_what_it_acknowledged(tmp_path):
    draw = random.Random(7)
    path, log = tmp_path / "store", tmp_path / "log"
    start = 0
    for _ in range(4):
        before = log.stat().st_size if log.exists() else 0
        writer = start_killable(_write_forever, str(path), str(log), str(start))
        wait_for_bytes(log, before + draw.randrange(1, 1500), writer)
        assert writer.is_alive()
        time.sleep(draw.uniform(0, 0.02))
        writer.kill()
        writer.join()
        acknowledged: dict[int, int] = {}
        for line in log.read_text().splitlines():
            number, turn = map(int, line.split())
            acknowledged[number] = turn
        one = EdgeStore(path, SIZE, SEGMENT_FIELDS, writing=True)
        seen = {uuid.UUID(name).int - 1: payload for name, payload in one.scan(["video", "turn"])}
        one.close()
        start = max(acknowledged) // 10 + 2
        for number, turn in acknowledged.items():
            if number % 10:
                assert seen[number]["video"] == f"v{number}"
                assert seen[number]["turn"] >= turn
            else:
                assert number not in seen


# ─── indexing a collection ───────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("index")
    write_collection(place)
    return train(tiny_config(place, place / "run", epochs=8)).folder


@pytest.fixture(scope="module")
def indexed(trained) -> Path:
    """An index that tests only read."""
    index_videos(trained.parent / "tiny", trained.parent / "index", run=trained)
    return trained.parent / "index"


def test_an_index_that_is_not_all_there_says_so(indexed, tmp_path):
    shutil.copytree(indexed, tmp_path / "copy")
    (vectors,) = (tmp_path / "copy").glob("vectors-*")
    shutil.rmtree(vectors)
    with pytest.raises(UserError, match="missing or not whole"):
        Searcher(tmp_path / "copy")


@pytest.fixture
def place(trained, tmp_path) -> Path:
    """A copy of the collection that a test may change."""
    write_collection(tmp_path)
    return tmp_path


def content(path: Path) -> dict[str, dict[str, tuple]]:
    """All that an index holds."""
    _, stores = open_published(path)
    fields = {
        "segments": [*SEGMENT_FIELDS, "segment", "segments", "caption", "thumbnail"],
        "captions": [*CAPTION_FIELDS, "caption_id", "text"],
    }
    held = {}
    for name, one in zip(("segments", "captions"), stores, strict=False):
        ids = dict(one.scan(fields[name]))
        of = {point.id: point.vector for point in one.get(list(ids))}
        held[name] = {
            point: (tuple(sorted(payload.items())), tuple(of[point].round(4).tolist()))
            for point, payload in ids.items()
        }
    stores.close()
    return held


def test_hits_are_those_of_the_embeddings(indexed, trained):
    model = MLCMR.from_pretrained(trained / "model")
    videos = [video_name(*scene) for scene in SCENES]
    seen = model.encode_videos([frames(*scene) for scene in SCENES]).numpy()
    searcher = Searcher(indexed, device="cpu")
    for text, language in (("A dog runs.", "en"), ("一只猫在睡觉", "zh"), ("der Hund!", "de")):
        scores = model.encode_texts([text], language).numpy()[0] @ seen.T
        hits = searcher.search(text, language=language, k=5)
        best = np.argsort(-scores)[:5]
        assert [hit.video for hit in hits] == [videos[n] for n in best]
        np.testing.assert_allclose([hit.score for hit in hits], scores[best], atol=1e-5)
    assert searcher.size == len(SCENES)
    assert searcher.exact
    assert searcher.languages == ("en", "zh")
    assert searcher.model_name == "run"


def test_many_are_found_as_one_is(indexed):
    searcher = Searcher(indexed, device="cpu")
    texts, limits = ["A dog runs.", "一只狗在跑", "A girl sings.", "Ein Mädchen singt"], [1, 5, 2, 50]
    together = searcher.search_many(texts, k=limits, filters=Filters.parse(["kind=video"]))
    alone = [searcher.search(text, k=k) for text, k in zip(texts, limits, strict=True)]
    for hits, expected in zip(together, alone, strict=True):
        assert [hit.video for hit in hits] == [hit.video for hit in expected]
        np.testing.assert_allclose([h.score for h in hits], [h.score for h in expected], atol=1e-5)
    assert list(map(len, together)) == [1, 5, 2, 36]
    assert searcher.search_many([]) == []


def test_the_language_is_guessed_so_that_english_is_cleaned(indexed):
    searcher = Searcher(indexed, device="cpu")
    assert searcher.search("a DOG, runs!!!", k=3) == searcher.search("A dog runs.", language="en", k=3)


@pytest.mark.parametrize(
    ("text", "language"),
    [("a dog", "en"), ("A dog's 2nd “run” – 100 %", "en"), ("", "en"), ("größer", "und"), ("一只狗", "zh"),
     ("iPhone 手机", "zh"), ("犬が走る", "ja"), ("개가 달린다", "ko"), ("собака", "ru"),
     ("كلب", "ar"), ("कुत्ता", "hi"), ("สุนัข", "th"), ("σκύλος", "el"), ("כלב", "he")],
)  # fmt: skip
def test_languages(text, language):
    assert guess_language(text) == language


def test_a_language_by_its_other_names(indexed):
    searcher = Searcher(indexed, device="cpu")
    text = "a DOG, runs!!!"  # read as English, it is cleaned
    english, unknown = (searcher.search(text, language=one, k=3) for one in ("en", "und"))
    assert english != unknown
    for name in ("EN", "English", "en-US", "eng"):
        assert searcher.search(text, language=name, k=3) == english
    chinese = searcher.captions("dog_runs-1", language="zh")
    assert chinese
    assert searcher.captions("dog_runs-1", language="zh-CN") == chinese
    for ask in (searcher.search, searcher.captions):
        with pytest.raises(UserError, match="'klingon' is no language"):
            ask("dog_runs-1", language="klingon")


def test_similar_leaves_the_video_itself_out(indexed):
    searcher = Searcher(indexed, device="cpu")
    hits = searcher.similar("dog_runs-1", k=50)
    assert len(hits) == len(SCENES) - 1
    assert "dog_runs-1" not in {hit.video for hit in hits}
    with pytest.raises(UnknownVideo, match="'wolf_runs-1', segment 0: not in the index"):
        searcher.similar("wolf_runs-1")
    with pytest.raises(UnknownVideo):
        searcher.similar("dog_runs-1", 1)


def test_captions_of_a_video(indexed, trained):
    searcher = Searcher(indexed, device="cpu")
    found = searcher.captions("dog_runs-1", k=200)
    assert (
        len({hit.caption_id for hit in found}) == len(found) == 4 * len(SCENES)
    )  # machine translations are not
    assert all("2" not in hit.caption_id.split("#")[1] for hit in found)
    model = MLCMR.from_pretrained(trained / "model")
    video = model.encode_videos([frames("dog", "runs")]).numpy()[0]
    for hit in found[:3]:
        assert hit.score == pytest.approx(
            float(model.encode_texts([hit.text], hit.language).numpy()[0] @ video), abs=1e-5
        )
    chinese = searcher.captions("dog_runs-1", k=3, language="zh")
    assert [hit.language for hit in chinese] == ["zh"] * 3
    assert chinese == [hit for hit in found if hit.language == "zh"][:3]
    assert searcher.captions("dog_runs-1", language="fr") == []
    with pytest.raises(UnknownVideo, match="'wolf': not in the index"):
        searcher.captions("wolf")


def test_a_video_by_its_id(indexed):
    searcher = Searcher(indexed, device="cpu")
    (hit,) = searcher.video("cat_eats-1")
    assert (hit.video, hit.segment, hit.score, hit.caption, hit.path) == (
        "cat_eats-1",
        0,
        1.0,
        "A cat eats.",
        "",
    )
    with pytest.raises(UnknownVideo):
        searcher.video("../../etc/passwd")


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
def test_a_blank_query(indexed, text):
    with pytest.raises(UserError, match="blank"):
        Searcher(indexed, device="cpu").search(text)


@pytest.mark.parametrize("k", [0, -3])
def test_no_hits_wanted(indexed, k):
    searcher = Searcher(indexed, device="cpu")
    for ask in (lambda: searcher.search("a", k=k), lambda: searcher.captions("dog_runs-1", k=k)):
        with pytest.raises(UserError, match="must be at least 1"):
            ask()


def count_embedded(monkeypatch) -> list[int]:
    """Counts the videos and texts that the model is given."""
    counts = [0, 0]
    videos, texts = MLCMR.encode_videos, MLCMR.encode_texts

    def encode_videos(self, many, **options):
        many = list(many)
        counts[0] += len(many)
        return videos(self, many, **options)

    def encode_texts(self, many, *rest, **options):
        counts[1] += len(many)
        return texts(self, many, *rest, **options)

    monkeypatch.setattr(MLCMR, "encode_videos", encode_videos)
    monkeypatch.setattr(MLCMR, "encode_texts", encode_texts)
    return counts


def test_again_does_only_what_is_new(place, trained, monkeypatch):
    counts = count_embedded(monkeypatch)
    summary = index_videos(place / "tiny", place / "index", run=trained, device="cpu")
    assert (summary.added, summary.segments, summary.captions) == (36, 36, 144)
    assert counts == [36, 144]
    before = sorted(path.name for path in (place / "index").iterdir())
    summary = index_videos(place / "tiny", place / "index", device="cpu")
    assert (summary.added, summary.changed, summary.removed, summary.unchanged) == (0, 0, 0, 36)
    assert counts == [36, 144]
    assert sorted(path.name for path in (place / "index").iterdir()) == before
    # Another caption: that one is embedded, and the video that shows it is described anew.
    path = place / "tiny" / "TextData" / "tinytest.caption.txt"
    lines = [line.split(" ", 1) for line in path.read_text().splitlines()]
    lines[0][1] = "Something else."
    write_captions(path, [(one, text) for one, text in lines])
    summary = index_videos(place / "tiny", place / "index", device="cpu")
    assert (summary.added, summary.changed, summary.unchanged) == (0, 1, 35)
    assert counts == [37, 145]
    video = lines[0][0].split("#")[0]
    searcher = Searcher(place / "index", device="cpu")
    assert searcher.video(video)[0].caption == "Something else."
    assert "Something else." in {hit.text for hit in searcher.captions(video, k=200)}


def test_changed_features_are_embedded_anew(place, trained):
    index_videos(place / "tiny", place / "index", run=trained, device="cpu")
    path = place / "tiny" / "FeatureData" / FEATURE / "feature.bin"
    features = np.fromfile(path, "<f4")
    (features * -1).tofile(path)
    summary = index_videos(place / "tiny", place / "index", device="cpu")
    assert (summary.changed, summary.segments, summary.captions) == (36, 36, 144)
    model = MLCMR.from_pretrained(trained / "model")
    expected = model.encode_videos([-frames("dog", "runs")]).numpy()[0]
    _, stores = open_published(place / "index")
    (point,) = stores.segments.get([segment_id("dog_runs-1", 0)])
    np.testing.assert_allclose(point.vector, expected, atol=1e-5)
    stores.close()


def test_videos_are_taken_out(place, trained):
    index_videos(place / "tiny", place / "index", run=trained, device="cpu")
    whole = content(place / "index")
    summary = index_videos(None, place / "index", remove=["dog_runs-1", "cat_eats-1"])
    assert (summary.removed, summary.segments, summary.captions) == (2, 34, 136)
    searcher = Searcher(place / "index", device="cpu")
    assert not {"dog_runs-1", "cat_eats-1"} & {hit.video for hit in searcher.search("A dog runs.", k=50)}
    with pytest.raises(UserError, match="--remove dog_runs-1: no such video"):
        index_videos(None, place / "index", remove=["dog_runs-1"])
    index_videos(place / "tiny", place / "index", device="cpu")
    assert content(place / "index") == whole


def keep_features(place: Path, kept: list[tuple[str, str]]) -> None:
    """Leaves the collection with the features of these scenes only."""
    shutil.rmtree(place / "tiny" / "FeatureData" / FEATURE)
    blocks = [([f"{video_name(*one)}_{i}" for i in range(len(frames(*one)))], frames(*one)) for one in kept]
    write_features(place / "tiny" / "FeatureData" / FEATURE, blocks)


def test_prune_takes_out_what_is_gone_from_the_source(place, trained):
    index_videos(place / "tiny", place / "index", run=trained, device="cpu")
    keep_features(place, [scene for scene in SCENES if scene[0] != "dog"])
    assert index_videos(place / "tiny", place / "index", device="cpu").segments == 36
    summary = index_videos(place / "tiny", place / "index", prune=True, device="cpu")
    assert (summary.removed, summary.segments, summary.captions) == (6, 30, 120)


def test_videos_that_stay_keep_their_captions(place, trained):
    index_videos(place / "tiny", place / "index", run=trained, device="cpu")
    whole = content(place / "index")
    keep_features(place, [scene for scene in SCENES if scene[0] != "dog"])
    # Of a video that is in the source still, a caption that is not goes.
    path = place / "tiny" / "TextData" / "tinytrain.caption.txt"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("cat_eats-1#enc#1 ")]
    path.write_text("\n".join(lines) + "\n")
    (place / "tiny" / "TextData" / "tinytrain_half.caption.txt").unlink()
    summary = index_videos(place / "tiny", place / "index", device="cpu")
    assert (summary.segments, summary.captions) == (36, 143)
    held = content(place / "index")
    for name, ids in (("segments", [segment_id("dog_runs-1", 0)]), ("captions", list(held["captions"]))):
        assert {one: held[name][one] for one in ids} == {one: whole[name][one] for one in ids}
    searcher = Searcher(place / "index", device="cpu")
    assert len([hit for hit in searcher.captions("dog_runs-1", k=200) if hit.video == "dog_runs-1"]) == 4


def test_captions_false_takes_out_those_of_before(place, trained):
    index_videos(place / "tiny", place / "index", run=trained, device="cpu")
    keep_features(place, [scene for scene in SCENES if scene[0] != "dog"])
    summary = index_videos(place / "tiny", place / "index", captions=False, device="cpu")
    assert (summary.segments, summary.captions) == (36, 0)
    searcher = Searcher(place / "index", device="cpu")
    assert searcher.captions("cat_eats-1") == []
    assert searcher.languages == ()
    assert searcher.video("cat_eats-1")[0].caption == ""


def test_captions_of_another_source_stay(place, trained):
    for name in ("dogs", "others"):
        keep_features(place, [scene for scene in SCENES if (scene[0] == "dog") == (name == "dogs")])
        shutil.copytree(place / "tiny", place / name)
        index_videos(place / name, place / "index", run=trained, device="cpu")
    summary = index_videos(place / "others", place / "index", captions=False, device="cpu")
    assert (summary.segments, summary.captions) == (36, 24)
    searcher = Searcher(place / "index", device="cpu")
    assert searcher.languages == ("en", "zh")
    assert {hit.video.split("_")[0] for hit in searcher.captions("cat_eats-1", k=200)} == {"dog"}


def test_without_captions(place, trained):
    summary = index_videos(place / "tiny", place / "index", run=trained, captions=False, device="cpu")
    assert (summary.segments, summary.captions) == (36, 0)
    searcher = Searcher(place / "index", device="cpu")
    assert searcher.captions("dog_runs-1") == []
    assert searcher.languages == ()


# ─── what does not go together ───────────────────────────────────────────────────────────────────────────


def test_another_model_is_refused(place, trained):
    index_videos(place / "tiny", place / "index", run=trained, device="cpu")
    before = content(place / "index")
    other = train(tiny_config(place, place / "other", epochs=1, seed=5)).folder
    with pytest.raises(UserError, match=r"made with another model.*do not compare.*\(--to\)"):
        index_videos(place / "tiny", place / "index", run=other, device="cpu")
    assert content(place / "index") == before


def test_two_that_begin_an_index_with_different_models(place, trained, monkeypatch):
    other = train(tiny_config(place, place / "other", epochs=1, seed=5)).folder
    open_run = index.open_run

    def overtaken(run, **options):
        monkeypatch.undo()
        index_videos(place / "tiny", place / "index", run=other, device="cpu")
        return open_run(run, **options)

    monkeypatch.setattr(index, "open_run", overtaken)
    with pytest.raises(UserError, match=r"made with another model, .*other"):
        index_videos(place / "tiny", place / "index", run=trained, device="cpu")
    assert Path(read_info(place / "index").model.name) == other
    assert Searcher(place / "index", device="cpu").size == 36


def test_a_model_that_has_changed_since_is_refused(place, trained):
    run = Path(shutil.copytree(trained, place / "run"))
    index_videos(place / "tiny", place / "index", run=run, device="cpu")
    weights = run / "model" / "model.safetensors"
    content_ = bytearray(weights.read_bytes())
    content_[-1] ^= 1
    weights.write_bytes(content_)
    with pytest.raises(UserError, match="the model has changed since the index was made"):
        Searcher(place / "index", device="cpu")
    with pytest.raises(UserError, match="made with another model"):
        index_videos(place / "tiny", place / "index", run=run, device="cpu")


def test_a_model_that_has_moved_is_taken(place, trained):
    run = Path(shutil.copytree(trained, place / "run"))
    index_videos(place / "tiny", place / "index", run=run, device="cpu")
    run.rename(place / "elsewhere")
    with pytest.raises(UserError, match=r"config\.yaml: no such file"):
        Searcher(place / "index", device="cpu")
    summary = index_videos(place / "tiny", place / "index", run=place / "elsewhere", device="cpu")
    assert summary.unchanged == 36
    assert Searcher(place / "index", device="cpu").search("A dog runs.", k=1)


def test_features_of_another_size_are_refused(place, trained):
    blocks = [([f"{video_name(*one)}_0"], np.ones((1, 5), np.float32)) for one in SCENES]
    write_features(place / "tiny" / "FeatureData" / "narrow", blocks)
    with pytest.raises(UserError, match=r"features of 5 numbers, but the model takes 12.*--feature"):
        index_videos(place / "tiny", place / "index", run=trained, feature="narrow", device="cpu")
    index_videos(place / "tiny", place / "index", run=trained, device="cpu")
    shutil.copytree(place / "tiny/FeatureData" / FEATURE, place / "tiny/FeatureData/copy")
    with pytest.raises(UserError, match=f"made from the feature '{FEATURE}', not 'copy'"):
        index_videos(place / "tiny", place / "index", feature="copy", device="cpu")


def test_two_collections_with_the_same_videos_are_refused(place, trained):
    index_videos(place / "tiny", place / "index", run=trained, device="cpu")
    shutil.copytree(place / "tiny", place / "twin")
    with pytest.raises(UserError, match=r"is in this index already, from .*tiny"):
        index_videos(place / "twin", place / "index", device="cpu")


def test_a_collection_is_one_source_however_it_is_named(place, trained, monkeypatch):
    index_videos(place / "tiny", place / "index", run=trained, device="cpu")
    (place / "link").symlink_to("tiny")
    (place / "elsewhere").mkdir()
    monkeypatch.chdir(place / "elsewhere")
    for name in ("../tiny", place / "link", "../elsewhere/../tiny/"):
        assert index_videos(name, "../index", device="cpu").unchanged == 36
    assert index_videos("../tiny", "again", run=trained, device="cpu").added == 36
    assert index_videos(place / "tiny", "again", device="cpu").unchanged == 36


def test_the_encoder_that_was_named_is_remembered(place, trained, monkeypatch):
    (place / "encoder").mkdir()
    monkeypatch.chdir(place)
    index_videos("tiny", "index", run=trained, encoder="encoder", device="cpu")
    index_videos("tiny", "index", device="cpu")
    index_videos("tiny", "index", run=trained, device="cpu")
    assert read_info(place / "index").encoder == str(place / "encoder")
    index_videos("tiny", "index", encoder="a/nother", device="cpu")
    assert read_info(place / "index").encoder == "a/nother"


def test_one_writes_at_a_time(place, trained):
    index_videos(place / "tiny", place / "index", run=trained, device="cpu")
    with (
        IndexWriter(place / "index"),
        pytest.raises(UserError, match="another process writes this index; wait"),
    ):
        index_videos(place / "tiny", place / "index", device="cpu")


@pytest.mark.parametrize(
    "damage",
    [b"", b"{}", b"[]", b"\xff\xfe", b'{"format": 1}', b'{"format": 99}', b'{"format": 1, "model": 5}'],
)
def test_a_damaged_index(indexed, tmp_path, damage):
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "index.json").write_bytes(damage)
    with pytest.raises(UserError, match=r"index\.json: (damaged|of another version)"):
        Searcher(tmp_path / "index")


def test_damaged_vectors(indexed, tmp_path):
    path = Path(shutil.copytree(indexed, tmp_path / "index"))
    (segments,) = path.glob("vectors-*/segments/segments")
    for file in segments.rglob("segment.json"):
        file.write_text("{")
    with pytest.raises(UserError, match="cannot be opened"):
        Searcher(path)


def test_a_folder_that_is_no_index_is_left_alone(place, trained):
    with pytest.raises(UserError, match="is there already and is no index"):
        index_videos(place / "tiny", place / "tiny", run=trained, device="cpu")
    (place / "file").touch()
    with pytest.raises(UserError, match="is a file"):
        index_videos(place / "tiny", place / "file", run=trained, device="cpu")


# ─── readers, writers, and the killed ────────────────────────────────────────────────────────────────────


def test_reading_goes_on_while_another_writes(place, trained):
    index_videos(place / "tiny", place / "index", run=trained, device="cpu")
    searcher = Searcher(place / "index", device="cpu")
    before = searcher.search("A dog runs.", k=5)
    with IndexWriter(place / "index") as writer:
        stores = writer.begin()
        stores.segments.delete([segment_id(before[0].video, 0)])
        assert searcher.search("A dog runs.", k=5) == before
        second = Searcher(place / "index", device="cpu")
        assert second.search("A dog runs.", k=5) == before
    # As soon as it is written, both find in the new one; nobody reads the old one any more.
    for reader in (searcher, second):
        assert before[0].video not in {hit.video for hit in reader.search("A dog runs.", k=5)}
        assert reader.size == 35
    index_videos(place / "tiny", place / "index", device="cpu")
    assert searcher.search("A dog runs.", k=5) == before
    second.close()
    searcher.close()
    index_videos(None, place / "index", remove=["dog_runs-1"])
    assert len(list((place / "index").glob("vectors-*"))) == 1


def test_threads_search_while_the_index_changes(place, trained):
    index_videos(place / "tiny", place / "index", run=trained, device="cpu")
    searcher = Searcher(place / "index", device="cpu")
    stop, errors, done = threading.Event(), [], [0] * 4

    def search(thread: int) -> None:
        try:
            while not stop.is_set():
                assert len(searcher.search("A dog runs.", k=3)) == 3
                assert searcher.video("cat_eats-1")
                assert searcher.captions("cat_eats-1", k=2)
                done[thread] += 1
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=search, args=(n,)) for n in range(4)]
    for one in threads:
        one.start()
    index_videos(None, place / "index", remove=["dog_runs-1"])
    index_videos(place / "tiny", place / "index", device="cpu")
    stop.set()
    for one in threads:
        one.join()
    assert errors == []
    assert min(done) > 0


def test_what_a_killed_writer_acknowledged_is_found(place, trained):
    index_videos(place / "tiny", place / "index", run=trained, captions=False, device="cpu")
    writer = processes.server().Process(
        target=_take_out_and_hang, args=(str(place / "index"), str(place / "done"))
    )
    writer.start()
    while not (place / "done").exists():
        assert writer.is_alive()
        time.sleep(0.001)
    assert len(Searcher(place / "index", device="cpu").search("A dog runs.", k=50)) == 36  # it still writes
    writer.kill()
    writer.join()
    hits = Searcher(place / "index", device="cpu").search("A dog runs.", k=50)
    assert len(hits) == 35
    assert "dog_runs-1" not in {hit.video for hit in hits}


def _take_out_and_hang(path: str, done: str) -> None:
    with IndexWriter(Path(path)) as writer:
        writer.begin().segments.delete([segment_id("dog_runs-1", 0)])
        Path(done).touch()
        time.sleep(600)


def test_copies_have_no_more_on_disk_than_there_is(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "sendfile", raising=False)  # of two files it is Linux' own
    file, copy = tmp_path / "file", tmp_path / "copy"
    with file.open("wb") as made:
        for at in (0, 20_000_000):
            made.seek(at)
            made.write(bytes(range(1, 256)) * 10_000)
        made.truncate(90_000_000)
    _copy(str(file), str(copy))
    assert copy.read_bytes() == file.read_bytes()
    assert copy.stat().st_blocks <= file.stat().st_blocks + 16
    (tmp_path / "empty").touch()
    _copy(str(tmp_path / "empty"), str(copy))
    assert copy.read_bytes() == b""


def test_what_a_power_cut_may_leave_is_whole(place, trained, monkeypatch):
    """All of a copy is on the disk before it has the name that the next writer goes by."""
    index_videos(place / "tiny", place / "index", run=trained, captions=False, device="cpu")
    synced: set[Path] = set()
    fsync, rename = os.fsync, Path.rename

    def noted(handle):
        fsync(handle)
        synced.add(Path(f"/proc/self/fd/{handle}").readlink())

    def checked(self, target):
        if Path(target).name == "vectors-2":
            assert {self, *self.rglob("*")} <= synced
            synced.clear()
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(Path, "rename", checked)
    with IndexWriter(place / "index") as writer:
        writer.begin()
        assert synced == {place / "index"}
        writer.begin().segments.delete([segment_id("dog_runs-1", 0)])


def test_a_damaged_leftover_is_named_and_stays(place, trained):
    index_videos(place / "tiny", place / "index", run=trained, captions=False, device="cpu")
    left = place / "index" / "vectors-2"
    shutil.copytree(place / "index" / "vectors-1", left)
    for file in left.rglob("segment.json"):
        file.write_text("{")
    with pytest.raises(UserError, match=f"cannot be opened: .*; remove {left}, which an interrupted writer"):
        index_videos(None, place / "index", remove=["dog_runs-1"])
    assert left.is_dir()
    assert Searcher(place / "index", device="cpu").size == 36
    shutil.rmtree(left)
    assert index_videos(None, place / "index", remove=["dog_runs-1"]).segments == 35


def test_a_disk_that_gets_full(place, trained, monkeypatch):
    """The engine's process would be killed: so there is room, or it is not begun."""
    room = shutil.disk_usage(place)
    free = iter([2**30, 2**30, 2**20])  # bytes: when it begins, at the first batch, at the second

    def usage(_):
        return room._replace(free=next(free, 2**20))

    monkeypatch.setattr(update, "BATCH", 10)
    monkeypatch.setattr(shutil, "disk_usage", usage)
    with pytest.raises(UserError, match=r"the disk is nearly full: 1 MB are free, .* needed: make room"):
        index_videos(place / "tiny", place / "index", run=trained, captions=False, device="cpu")
    monkeypatch.undo()
    assert Searcher(place / "index", device="cpu").size == 10
    summary = index_videos(place / "tiny", place / "index", captions=False, device="cpu")
    assert (summary.added, summary.unchanged) == (26, 10)


def test_an_index_that_is_only_read(indexed, tmp_path, monkeypatch):
    """A superuser may write all the same: so it is told that it may not."""
    folder = Path(shutil.copytree(indexed, tmp_path / "index"))
    (vectors,) = folder.glob("vectors-*")
    before = sorted(vectors.rglob("*"))
    for path in [*folder.rglob("*"), folder]:
        path.chmod(path.stat().st_mode & ~0o222)
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    try:
        reader, expected = Searcher(folder, device="cpu"), Searcher(indexed, device="cpu")
        assert reader.search("A dog runs.", k=5) == expected.search("A dog runs.", k=5)
        assert len(reader.captions("dog_runs-1", k=200)) == 144
        assert sorted(vectors.rglob("*")) == before
        _, stores = open_published(folder)
        assert not stores.segments.folder.is_relative_to(
            folder
        )  # the engine writes there, or would be refused
        stores.close()
        assert {path.name for path in tmp_path.iterdir()} == {"index"}
    finally:
        for path in [folder, *folder.rglob("*/")]:
            path.chmod(0o755)


def test_vectors_that_are_gone_are_missed_by_a_writer_too(place, trained):
    index_videos(place / "tiny", place / "index", run=trained, captions=False, device="cpu")
    shutil.rmtree(place / "index" / "vectors-1")
    with pytest.raises(UserError, match="vectors-1: is missing or not whole; make a new index"):
        index_videos(place / "tiny", place / "index", device="cpu")


def _index_in_small_steps(source: str, to: str, run: str, log: str) -> None:
    update.BATCH = 4
    upsert = EdgeStore.upsert

    def logged(self: EdgeStore, points: list[Point]) -> None:
        upsert(self, points)
        with Path(log).open("a") as acknowledged:
            acknowledged.write("." * len(points))

    EdgeStore.upsert = logged  # type: ignore[method-assign]
    torch.set_num_threads(1)
    index_videos(source, to, run=run, device="cpu")


def test_killed_is_as_not_killed(place, trained, indexed):
    """`kill -9` at any moment, again and again, then the same command to its end; nothing is done twice."""
    draw = random.Random(3)
    words = [str(path) for path in (place / "tiny", place / "index", trained, place / "log")]
    kills = done = 0
    while True:
        command = start_killable(_index_in_small_steps, *words)
        wait_for_bytes(place / "log", done + draw.randrange(1, 80), command)
        time.sleep(draw.uniform(0, 0.02))
        command.kill()
        command.join()
        if command.exitcode == 0:
            break
        assert command.exitcode == -signal.SIGKILL
        kills += 1
        done = (place / "log").stat().st_size
    assert kills > 2
    assert done <= 36 + 144 + 4 * kills  # at most what it was at when it was killed
    summary = index_videos(place / "tiny", place / "index", device="cpu")
    assert (summary.added, summary.changed, summary.unchanged) == (0, 0, 36)
    assert content(place / "index") == content(indexed)
    assert not list((place / "index").glob(".*"))


# ─── videos ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    """A small sample, and a run trained on it."""
    folder = tmp_path_factory.mktemp("drawn")
    make_sample(folder, videos=20, captions=1)
    train(tiny_config(folder, folder / "run", collection="sample", feature="hues228", epochs=1))
    return folder


@pytest.fixture
def films(drawn, tmp_path) -> Path:
    """A folder of six videos, and a photograph."""
    from PIL import Image

    folder = tmp_path / "films"
    (folder / "holiday").mkdir(parents=True)
    for number in range(6):
        shutil.copy(drawn / f"sample/VideoData/sample0000{number}.mp4", folder / f"{number}.mp4")
    (folder / "5.mp4").rename(folder / "holiday" / "beach.mp4")
    Image.fromarray(np.full((48, 64, 3), 99, np.uint8)).save(folder / "photo.png")
    return folder


def test_a_folder_of_videos(drawn, films, tmp_path):
    summary = index_videos(films, tmp_path / "index", run=drawn / "run", device="cpu")
    assert (summary.added, summary.segments, summary.captions) == (7, 7, 0)
    assert "7 extracted now" in str(summary)
    searcher = Searcher(tmp_path / "index", device="cpu")
    hits = {hit.video: hit for hit in searcher.search("a red circle", k=20)}
    assert set(hits) == {"0", "1", "2", "3", "4", "holiday_beach", "photo"}
    beach, photo = hits["holiday_beach"], hits["photo"]
    assert beach.path == str(films / "holiday" / "beach.mp4")
    assert (beach.start, beach.end, beach.duration, beach.width, beach.height) == (0, 2, 2, 96, 96)
    assert (photo.kind, photo.duration, photo.width, photo.height) == ("image", 0, 64, 48)
    assert all(Path(hit.thumbnail).read_bytes()[:2] == b"\xff\xd8" for hit in hits.values())
    filters = Filters.parse(["path~holiday/"])
    assert [hit.video for hit in searcher.search("a", filters=filters)] == ["holiday_beach"]
    # The index can be moved, thumbnails and all.
    searcher.close()
    (tmp_path / "index").rename(tmp_path / "moved")
    (hit,) = Searcher(tmp_path / "moved", device="cpu").search("a", filters=filters)
    assert Path(hit.thumbnail).is_file()


def test_names_that_are_not_text(drawn, films, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bad = os.fsdecode(b"caf\xe9.mp4")
    shutil.copy(films / "1.mp4", films / bad)
    (films / "holiday").rename(films / os.fsdecode(b"\xff"))
    words = ["index", "films", "--run", str(drawn / "run"), "--device", "cpu"]
    assert main(words) == 0
    shown = capfd.readouterr()
    skipped = [line for line in shown.err.splitlines() if line.startswith("skipped: ")]
    assert len(skipped) == 2
    assert all("its name is not UTF-8; rename it" in line for line in skipped)
    assert "2 files that cannot be read" in shown.out
    assert "6 added" in shown.out
    # To search by, a file needs no name.
    assert main(["search", "--video", os.fsdecode(b"films/caf\xe9.mp4"), "-k", "1", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)[0]["video"] == "1"
    for words, status, said in (
        (["--filter", f"path~{bad}"], 0, "nothing found"),
        (["--filter", f"video!={bad}", "-k", "1"], 0, "search in 6 segments"),
        (["--similar", bad], 2, "not in the index"),
        (["--similar", "1", "--captions", "--language", bad], 2, "is no language"),
    ):
        text = [] if "--similar" in words else ["a"]
        assert main(["search", *text, *words]) == status
        shown = capfd.readouterr()
        assert said in shown.out + shown.err
    films.rename(bad)
    for words in (
        ["index", bad],
        ["index", str(drawn / "sample"), "--run", str(drawn / "run"), "--to", bad + "i"],
        ["index", str(drawn / "sample"), "--run", bad],
        ["index", str(drawn / "sample"), "--encoder", bad],
    ):
        assert main(words) == 2
        error = capfd.readouterr().err
        assert error.count("\n") == 1
        assert "is not UTF-8; rename that" in error
    assert not Path(bad + "i").exists()


def test_videos_are_sampled_as_for_training(drawn, films, tmp_path):
    shutil.copytree(drawn / "sample" / "TextData", tmp_path / "sample" / "TextData")
    extract(drawn / "sample" / "VideoData", tmp_path / "sample", count=4)
    config = tiny_config(tmp_path, tmp_path / "run", collection="sample", feature="hues228", epochs=1)
    run = Path(train(config).folder)
    index_videos(films, tmp_path / "index", run=run, device="cpu")
    info = read_info(tmp_path / "index")
    assert (info.encoder, info.rate, info.count) == ("hues228", None, 4)
    made = tmp_path / "index" / "collection" / "FeatureData" / "hues228" / "encoder.json"
    assert json.loads(made.read_text())["count"] == 4
    # From then on as the index itself was made, wherever the collection has gone.
    (tmp_path / "sample").rename(tmp_path / "moved")
    shutil.copy(films / "1.mp4", films / "new.mp4")
    assert index_videos(films, tmp_path / "index", device="cpu").added == 1


def test_videos_are_sampled_as_before_though_a_collection_was_not(drawn, films, tmp_path):
    index_videos(films, tmp_path / "index", run=drawn / "run", device="cpu")
    shutil.copytree(films / "holiday", tmp_path / "more")
    (tmp_path / "more" / "beach.mp4").rename(tmp_path / "more" / "sea.mp4")
    extract(tmp_path / "more", tmp_path / "slow", rate=2)
    index_videos(tmp_path / "slow", tmp_path / "index", device="cpu")
    assert index_videos(films, tmp_path / "index", device="cpu").unchanged == 7


def test_by_a_file(drawn, films, tmp_path):
    index_videos(films, tmp_path / "index", run=drawn / "run", device="cpu")
    searcher = Searcher(tmp_path / "index", device="cpu")
    for name, video in (("3.mp4", "3"), ("photo.png", "photo")):
        best, second = searcher.search_file(films / name, k=2)
        assert best.video == video
        assert best.score == pytest.approx(1, abs=1e-3)
        assert second.score < best.score
    with pytest.raises(UserError, match=r"nothing\.mp4"):
        searcher.search_file(films / "nothing.mp4")
    (films / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(UserError, match=r"broken\.mp4"):
        searcher.search_file(films / "broken.mp4")


def test_files_come_change_and_go(drawn, films, tmp_path):
    index_videos(films, tmp_path / "index", run=drawn / "run", device="cpu")
    shutil.copy(films / "1.mp4", films / "new.mp4")
    shutil.copy(films / "2.mp4", films / "3.mp4")
    (films / "0.mp4").unlink()
    summary = index_videos(films, tmp_path / "index", device="cpu")
    assert (summary.added, summary.changed, summary.removed, summary.segments) == (1, 1, 0, 8)
    searcher = Searcher(tmp_path / "index", device="cpu")
    for copy, original in (("new", "1"), ("3", "2")):
        assert searcher.similar(copy, k=1)[0].video == original
        assert searcher.similar(copy, k=1)[0].score == pytest.approx(1, abs=1e-3)
    summary = index_videos(films, tmp_path / "index", prune=True, device="cpu")
    assert (summary.added, summary.changed, summary.removed, summary.segments) == (0, 0, 1, 7)
    assert "0" not in {hit.video for hit in searcher.search("a", k=50)}


def test_a_collection_whose_videos_are_there(drawn, tmp_path):
    index_videos(drawn / "sample", tmp_path / "index", run=drawn / "run", device="cpu")
    searcher = Searcher(tmp_path / "index", device="cpu")
    (hit,) = searcher.video("sample00003")
    assert hit.path == str(drawn / "sample/VideoData/sample00003.mp4")
    assert (hit.end, hit.duration, hit.width, hit.height) == (2, 2, 96, 96)
    assert searcher.languages == ("en", "de", "es", "zh")
    assert searcher.known_languages == ("en", "zh")  # those of the training
    # Described as it was for training, so found again by its file.
    best = searcher.search_file(hit.path, k=1)[0]
    assert (best.video, round(best.score, 3)) == ("sample00003", 1)
    of_file = searcher.captions_of_file(hit.path, k=1)[0]
    assert of_file.score == pytest.approx(searcher.captions("sample00003", k=1)[0].score, abs=1e-3)


def test_files_without_features_are_told(drawn, films, tmp_path):
    mine = tmp_path / "my films"
    extract(films, mine, rate=2, segment=None)
    first = index_videos(mine, tmp_path / "index", run=drawn / "run", device="cpu")
    assert "missing" not in str(first)
    (films / "notes.txt").write_text("no video")
    for name in ("new.mp4", "newer.mp4"):
        shutil.copy(films / "1.mp4", films / name)
    told = str(index_videos(mine, tmp_path / "index", device="cpu"))
    assert f"  missing:  2 files without features, as {films / 'new.mp4'}; mlcmr extract " in told
    words = shlex.split(told[told.index("mlcmr extract") :].splitlines()[0])
    assert main(words[1:]) == 0
    again = index_videos(mine, tmp_path / "index", device="cpu")
    assert (again.added, again.changed, again.segments) == (2, 0, 9)
    assert "missing" not in str(again)


def test_videos_of_a_collection_without_features(drawn, tmp_path):
    mine = Path(shutil.copytree(drawn / "sample", tmp_path / "mine"))
    shutil.copy(mine / "VideoData" / "sample00001.mp4", mine / "VideoData" / "new.mp4")
    told = str(index_videos(mine, tmp_path / "index", run=drawn / "run", device="cpu"))
    assert told.endswith(f"  missing:  1 file without features, as {mine / 'VideoData' / 'new.mp4'}")
    shutil.rmtree(mine / "FeatureData" / "hues228")
    with pytest.raises(
        UserError, match=r"no such feature; there is none; to make it: mlcmr extract"
    ) as caught:
        index_videos(mine, tmp_path / "other", run=drawn / "run", device="cpu")
    assert not (tmp_path / "other").exists()
    words = shlex.split(str(caught.value).partition("to make it: mlcmr ")[2].replace("ENCODER", "hues228"))
    assert main(words) == 0
    index_videos(mine, tmp_path / "other", run=drawn / "run", device="cpu")
    assert "new" in {hit.video for hit in Searcher(tmp_path / "other", device="cpu").search("a", k=50)}


def test_a_file_and_a_video_of_one_name_are_two(drawn, films, tmp_path, capsys, monkeypatch):
    index_videos(drawn / "sample", tmp_path / "index", run=drawn / "run", device="cpu")
    shutil.copy(drawn / "sample/VideoData/sample00009.mp4", films / "sample00003")
    monkeypatch.chdir(films)
    searcher = Searcher(tmp_path / "index", device="cpu")
    for own, other, options in (
        (searcher.captions("sample00003"), "sample00009", ["--similar"]),
        (searcher.captions_of_file("sample00003"), "sample00003", ["--video"]),
    ):
        assert [one.score for one in own] != [one.score for one in searcher.captions(other)]
        words = ["--captions", "--json", "--device", "cpu", "--index", str(tmp_path / "index")]
        assert main(["search", *options, "sample00003", *words]) == 0
        shown = [one["score"] for one in json.loads(capsys.readouterr().out)]
        assert shown == pytest.approx([one.score for one in own], abs=1e-5)
    with pytest.raises(UnknownVideo):
        searcher.captions(str(films / "0.mp4"))  # no string names a file but as a file


def test_segments_of_a_long_video(drawn, films, tmp_path):
    for name in ("1.mp4", "2.mp4", "4.mp4", "photo.png"):
        (films / name).unlink()
    extract(films, tmp_path / "mine", segment=0.5)
    index_videos(tmp_path / "mine", tmp_path / "index", run=drawn / "run", device="cpu")
    searcher = Searcher(tmp_path / "index", device="cpu")
    parts = searcher.video("3")
    assert [(hit.segment, hit.start, hit.end) for hit in parts] == [
        (n, 0.5 * n, 0.5 * n + 0.5) for n in range(4)
    ]
    assert {hit.video for hit in searcher.similar("3", 2, k=20)} == {"0", "holiday_beach"}
    # Cut otherwise, there are fewer: those that were there before go.
    shutil.rmtree(tmp_path / "mine")
    extract(films, tmp_path / "mine", segment=1.0)
    summary = index_videos(tmp_path / "mine", tmp_path / "index", device="cpu")
    assert (summary.changed, summary.segments) == (3, 6)
    assert [hit.end for hit in searcher.video("3")] == [1, 2]


def test_an_encoder_of_another_size(trained, drawn, films, tmp_path):
    with pytest.raises(UserError, match="takes the feature 'feat'; say what makes it from videos"):
        index_videos(films, tmp_path / "index", run=trained, device="cpu")
    with pytest.raises(UserError, match="makes features of 228 numbers, but the model takes 12"):
        index_videos(films, tmp_path / "index", run=trained, encoder="hues228", device="cpu")


# ─── a server ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def client(monkeypatch) -> server.QdrantClient:
    """A server in memory, which whoever connects finds."""
    one = server.QdrantClient(":memory:")
    monkeypatch.setattr(one, "close", lambda: None)
    monkeypatch.setattr(server, "connect", lambda url: one)
    return one


def test_a_server_keeps_the_vectors(indexed, place, trained, client):
    summary = index_videos(
        place / "tiny", place / "index", run=trained, url="http://qdrant:6333", name="films", device="cpu"
    )
    assert (summary.added, summary.segments, summary.captions, summary.exact) == (36, 36, 144, True)
    assert {one.name for one in client.get_collections().collections} == {"films-segments", "films-captions"}
    assert not list((place / "index").glob("vectors-*"))
    here, there = Searcher(indexed, device="cpu"), Searcher(place / "index", device="cpu")
    for ask in (
        lambda one: one.search("一只狗在跑", k=5),
        lambda one: one.similar("dog_runs-1", k=5),
        lambda one: one.captions("dog_runs-1", k=5, language="zh"),
        lambda one: one.video("dog_runs-1"),
    ):
        for hit, expected in zip(ask(there), ask(here), strict=True):
            assert hit.video == expected.video
            assert hit.score == pytest.approx(expected.score, abs=1e-5)
    summary = index_videos(None, place / "index", remove=["dog_runs-1"])
    assert (summary.removed, summary.segments, summary.captions) == (1, 35, 140)
    assert there.size == 35


def test_connections_to_a_server_are_closed(place, trained, client, monkeypatch):
    """Also those of an index that a newer one has followed, once nobody searches in it."""
    open_now: set[object] = set()

    class Connection:
        def __init__(self, _: str) -> None:
            open_now.add(id(self))

        def __getattr__(self, name: str) -> object:
            return getattr(client, name)

        def close(self) -> None:
            open_now.remove(id(self))  # once

    monkeypatch.setattr(server, "connect", Connection)
    index_videos(place / "tiny", place / "index", run=trained, url="http://q", name="films", device="cpu")
    assert not open_now
    searcher = Searcher(place / "index", device="cpu")
    for video in ("dog_runs-1", "dog_eats-1", "cat_eats-1"):
        in_use = searcher._current()
        index_videos(None, place / "index", remove=[video])
        assert searcher.search("a")
        assert len(open_now) == 4
        assert in_use.stores.segments.get([segment_id("cat_runs-1", 0)])
        del in_use
        assert len(open_now) == 2
    searcher.close()
    assert not open_now
    with pytest.raises(UserError, match="is another index's"):
        ServerStore(server.connect("http://q"), "films-segments", 32, SEGMENT_FIELDS, "other")
    assert not open_now


def test_two_indexes_do_not_share_what_is_on_a_server(place, trained, client):
    on_server = {"run": trained, "url": "http://q", "device": "cpu"}
    index_videos(place / "tiny", place / "first", name="films", **on_server)
    keep_features(place, SCENES[:3])
    with pytest.raises(UserError, match=r"'films-segments' .* is another index's; choose another --name"):
        index_videos(place / "tiny", place / "second", prune=True, name="films", **on_server)
    assert not (place / "second" / "index.json").exists()
    assert Searcher(place / "first", device="cpu").size == 36
    assert index_videos(place / "tiny", place / "second", name="more", **on_server).segments == 3
    # Also where the other one came later, under the name that this one had.
    for name in ("films-segments", "films-captions"):
        client.delete_collection(name)
    with pytest.raises(
        UserError, match=r"'films-segments' is not on the server; run `mlcmr index` \(again\)"
    ):
        Searcher(place / "first", device="cpu")
    index_videos(place / "tiny", place / "third", name="films", **on_server)
    for ask in (
        lambda: index_videos(place / "tiny", place / "first", device="cpu"),
        lambda: Searcher(place / "first", device="cpu"),
    ):
        with pytest.raises(UserError, match="is another index's; index into another folder"):
            ask()


def test_what_makes_filters_fast_is_made_though_the_first_run_was_killed(place, trained, client, monkeypatch):
    """The server in memory keeps no payload indexes: here it is noted which it was asked for."""
    made: dict[str, set[str]] = {"films-segments": set(), "films-captions": set()}
    create, about = client.create_payload_index, client.get_collection

    def killed(*_, **__):
        raise KeyboardInterrupt

    def noted(name, field, *rest, **options):
        assert field not in made[name]
        made[name].add(field)
        return create(name, field, *rest, **options)

    def with_indexes(name):
        kind = server.models.PayloadIndexInfo(data_type="keyword", points=0)
        return about(name).model_copy(update={"payload_schema": dict.fromkeys(made[name], kind)})

    def again(**options):
        index_videos(place / "tiny", place / "index", url="http://q", name="films", device="cpu", **options)

    monkeypatch.setattr(client, "get_collection", with_indexes)
    monkeypatch.setattr(client, "create_payload_index", killed)
    with pytest.raises(KeyboardInterrupt):
        again(run=trained)
    monkeypatch.setattr(client, "create_payload_index", noted)
    again()
    assert made == {"films-segments": set(SEGMENT_FIELDS), "films-captions": set(CAPTION_FIELDS)}
    again()  # and not once more


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "nonsense://", "http://["])
def test_no_server(place, trained, url):
    with pytest.raises(UserError):
        index_videos(place / "tiny", place / "index", run=trained, url=url, device="cpu")
    # Whoever has mistyped it says it anew.
    assert index_videos(place / "tiny", place / "index", run=trained, device="cpu").segments == 36


# ─── commands ────────────────────────────────────────────────────────────────────────────────────────────


def test_commands(place, trained, capsys, monkeypatch):
    monkeypatch.chdir(place)
    assert main(["index", "tiny", "--run", str(trained), "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "36 added" in out
    assert "search:   exact" in out
    assert main(["search", "A dog runs.", "-k", "3", "--device", "cpu"]) == 0
    captured = capsys.readouterr()
    assert "dog_runs-1" in captured.out
    assert "A dog runs." in captured.out
    assert "exact search in 36 segments" in captured.err
    assert (
        main(["search", "A dog runs.", "-k", "2", "--json", "--filter", "kind=video", "video!=dog_runs-1"])
        == 0
    )
    hits = json.loads(capsys.readouterr().out)
    assert len(hits) == 2
    assert "dog_runs-1" not in {hit["video"] for hit in hits}
    assert hits[0].keys() == {
        "video", "segment", "score", "path", "start", "end", "duration", "width", "height", "kind",
        "thumbnail", "caption",
    }  # fmt: skip
    assert (
        main(["search", "--similar", "dog_runs-1", "--captions", "--language", "zh", "--json", "-k", "1"])
        == 0
    )
    (caption,) = json.loads(capsys.readouterr().out)
    assert caption["language"] == "zh"
    assert main(["search", "--similar", "dog_runs-1", "--captions"]) == 0
    assert "exact search in 144 captions" in capsys.readouterr().err
    assert main(["search", "a dog", "--filter", "duration>5"]) == 0
    assert "nothing found" in capsys.readouterr().out
    assert main(["index", "--remove", "dog_runs-1"]) == 0
    assert "1 removed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["index", "no/such/folder", "--run", "run"], "no/such/folder: no such folder"),
        (["index"], "give videos or a collection, and a model"),
        (["index", ".", "--run", "no/such/run", "--to", "i"], "config.yaml: no such file"),
        (["index", ".", "--run", "a", "--model", "b"], "give one"),
        (["search"], "a text, --video FILE or --similar VIDEO"),
        (["search", "dog", "--video", "dog.mp4"], "one of the three"),
        (["search", "dog", "--captions"], "--captions finds those of a video"),
        (["search", "--similar", "a", "--captions", "--filter", "kind=video"], "--filter limits videos"),
        (["search", "dog", "--segment", "0"], "--segment is for --similar"),
        (["search", "--video", "dog.mp4", "--segment", "1"], "--segment is for --similar"),
        (["search", "--similar", "a", "--captions", "--segment", "1"], "without --captions"),
        (["search", "--video", "dog.mp4", "--language", "en"], "--language is for a text"),
        (["search", "--similar", "a", "--language", "en"], "--language is for a text"),
        (["index", ".", "--run", "a", "--feature", "nonsense"], "--feature is one of a collection's"),
        (["index", ".", "--run", "a", "--batch-size", "0"], "--batch-size 0: expected 1 or more"),
        (["search", "dog", "--index", "none"], "none: no index there"),
        (["search", "dog", "--filter", "duration<long"], "compared with a number"),
    ],
)
def test_bad_input_is_one_line_and_status_2(words, part, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    error = capsys.readouterr().err
    assert part in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_markup_in_captions_is_shown_as_it_is(place, trained, capsys, monkeypatch):
    path = place / "tiny" / "TextData" / "tinytrain.caption.txt"
    lines = [line.split(" ", 1) for line in path.read_text().splitlines()]
    write_captions(path, [(one, f"[red]{text}[/bold]") for one, text in lines])
    monkeypatch.chdir(place)
    assert main(["index", "tiny", "--run", str(trained), "--device", "cpu"]) == 0
    assert main(["search", "A dog runs.", "-k", "1"]) == 0
    assert "[red]A dog runs.[/bold]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("start", "end", "shown"),
    [(0, 2, "0:00–0:02"), (12, 20.9, "0:12–0:20"), (59.99, 61, "0:59–1:01"), (3599, 3725, "59:59–1:02:05")],
)
def test_time_ranges(start, end, shown):
    assert time_range(start, end) == shown
