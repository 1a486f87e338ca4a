"""What goes together in an index, and an index on a server."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from indexes import content, keep_features
from mlcmr.data.features import write_features
from mlcmr.errors import UserError
from mlcmr.search import Searcher, index, server
from mlcmr.search.index import index_videos
from mlcmr.search.info import read_info
from mlcmr.search.points import CAPTION_FIELDS, SEGMENT_FIELDS, segment_id
from mlcmr.search.server import ServerStore
from mlcmr.training.train import train
from tiny import FEATURE, SCENES, tiny_config, video_name

pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact"),
]


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
    with pytest.raises(UserError, match=r"run: the model of the index is no longer there; .* \(--run\)"):
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


def test_a_folder_that_is_no_index_is_left_alone(place, trained):
    with pytest.raises(UserError, match="is there already and is no index"):
        index_videos(place / "tiny", place / "tiny", run=trained, device="cpu")
    (place / "file").touch()
    with pytest.raises(UserError, match="is a file"):
        index_videos(place / "tiny", place / "file", run=trained, device="cpu")


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
