"""Bringing an index up to date with a collection."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import mlcmr
from mlcmr import MLCMR
from mlcmr.data.captions import write_captions
from mlcmr.errors import InvalidValueError, NotFoundError
from mlcmr.search import Searcher
from mlcmr.search.indexing.payload import segment_id
from mlcmr.search.indexing.storage import IndexWriter, open_published
from mlcmr.search.stores.qdrant_edge import EdgeStore
from tests.helpers.indexes import content, count_embedded, keep_features
from tests.helpers.tiny import FEATURE, SCENES, frames


def test_again_does_only_what_is_new(place, trained, monkeypatch):
    counts = count_embedded(monkeypatch)
    summary = mlcmr.index(place / "tiny", place / "index", run=trained, device="cpu")
    assert (summary.added, summary.segments, summary.captions) == (36, 36, 144)
    assert counts == [36, 144]
    before = sorted(path.name for path in (place / "index").iterdir())
    summary = mlcmr.index(place / "tiny", place / "index", device="cpu")
    assert (summary.added, summary.changed, summary.removed, summary.unchanged) == (0, 0, 0, 36)
    assert counts == [36, 144]
    assert sorted(path.name for path in (place / "index").iterdir()) == before
    # Another caption: that one is embedded, and the video that shows it is described anew.
    path = place / "tiny" / "TextData" / "tinytest.caption.txt"
    lines = [line.split(" ", 1) for line in path.read_text().splitlines()]
    lines[0][1] = "Something else."
    write_captions(path, [(one, text) for one, text in lines])
    summary = mlcmr.index(place / "tiny", place / "index", device="cpu")
    assert (summary.added, summary.changed, summary.unchanged) == (0, 1, 35)
    assert counts == [36, 145]
    video = lines[0][0].split("#")[0]
    searcher = Searcher(place / "index", device="cpu")
    assert searcher.video(video)[0].caption == "Something else."
    assert "Something else." in {hit.text for hit in searcher.captions(video, k=200)}


def test_captions_in_another_language_cost_no_video(place, trained, monkeypatch):
    text = place / "tiny" / "TextData"
    chinese = [*text.glob("*zh.caption.txt"), text / "tinytrain_half.caption.txt"]
    for path in chinese:
        path.rename(place / path.name)
    mlcmr.index(place / "tiny", place / "index", run=trained, device="cpu")
    searcher = Searcher(place / "index", device="cpu")
    before = searcher.search("一只猫在吃", k=5)
    assert all(hit.caption.isascii() for hit in before)
    for path in chinese:
        (place / path.name).rename(path)
    counts = count_embedded(monkeypatch)
    summary = mlcmr.index(place / "tiny", place / "index", device="cpu")
    assert (summary.changed, counts) == (36, [0, 72])
    after = searcher.search("一只猫在吃", k=5)
    assert [(hit.video, hit.score) for hit in after] == [
        (hit.video, pytest.approx(hit.score, abs=1e-6)) for hit in before
    ]
    assert not any(hit.caption.isascii() for hit in after)


def test_the_first_caption_is_in_the_first_language(place, trained):
    earlier = [("dog_runs-1#enc#0", "A dog runs."), ("cat_eats-1#zh#0", "一只猫在吃")]
    write_captions(place / "tiny" / "TextData" / "tiny0.caption.txt", earlier)
    mlcmr.index(place / "tiny", place / "index", run=trained, device="cpu")
    searcher = Searcher(place / "index", device="cpu")
    assert searcher.languages == ("en", "zh")
    assert searcher.video("cat_eats-1")[0].caption == "A cat eats."


def test_an_index_that_knows_one_caption_of_a_video_is_read_and_brought_up_to_date(place, trained):
    """As those were that showed the same caption whatever the query's language was."""
    mlcmr.index(place / "tiny", place / "index", run=trained, device="cpu")
    whole = content(place / "index")
    with IndexWriter(place / "index") as writer:
        stores = writer.open_for_writing()
        points = stores.segments.get([one for one, _ in stores.segments.scan([])])
        for one in points:
            del one.payload["captions"], one.payload["features"]
            one.payload["stamp"] = "another"
        stores.segments.upsert(points)
    searcher = Searcher(place / "index", device="cpu")
    assert searcher.search("一只猫在吃", k=1)[0].caption.isascii()
    assert mlcmr.index(place / "tiny", place / "index", device="cpu").changed == 36
    assert content(place / "index") == whole


def test_changed_features_are_embedded_anew(place, trained):
    mlcmr.index(place / "tiny", place / "index", run=trained, device="cpu")
    path = place / "tiny" / "FeatureData" / FEATURE / "feature.bin"
    features = np.fromfile(path, "<f4")
    (features * -1).tofile(path)
    summary = mlcmr.index(place / "tiny", place / "index", device="cpu")
    assert (summary.changed, summary.segments, summary.captions) == (36, 36, 144)
    model = MLCMR.from_pretrained(trained / "model")
    expected = model.encode_videos([-frames("dog", "runs")]).numpy()[0]
    _, stores = open_published(place / "index")
    (point,) = stores.segments.get([segment_id("dog_runs-1", 0)])
    np.testing.assert_allclose(point.vector, expected, atol=1e-5)
    stores.close()


def test_videos_are_taken_out(place, trained):
    mlcmr.index(place / "tiny", place / "index", run=trained, device="cpu")
    whole = content(place / "index")
    summary = mlcmr.index(None, place / "index", remove=["dog_runs-1", "cat_eats-1"])
    assert (summary.removed, summary.unchanged, summary.segments, summary.captions) == (2, 34, 34, 136)
    searcher = Searcher(place / "index", device="cpu")
    assert not {"dog_runs-1", "cat_eats-1"} & {hit.video for hit in searcher.search("A dog runs.", k=50)}
    with pytest.raises(NotFoundError, match="`remove` dog_runs-1: no such video"):
        mlcmr.index(None, place / "index", remove=["dog_runs-1"])
    mlcmr.index(place / "tiny", place / "index", device="cpu")
    assert content(place / "index") == whole


def test_prune_takes_out_what_is_gone_from_the_source(place, trained):
    mlcmr.index(place / "tiny", place / "index", run=trained, device="cpu")
    keep_features(place, [scene for scene in SCENES if scene[0] != "dog"])
    assert mlcmr.index(place / "tiny", place / "index", device="cpu").segments == 36
    summary = mlcmr.index(place / "tiny", place / "index", prune=True, device="cpu")
    assert (summary.removed, summary.segments, summary.captions) == (6, 30, 120)


def test_videos_that_stay_keep_their_captions(place, trained):
    mlcmr.index(place / "tiny", place / "index", run=trained, device="cpu")
    whole = content(place / "index")
    keep_features(place, [scene for scene in SCENES if scene[0] != "dog"])
    # Of a video that is in the source still, a caption that is not goes.
    path = place / "tiny" / "TextData" / "tinytrain.caption.txt"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("cat_eats-1#enc#1 ")]
    path.write_text("\n".join(lines) + "\n")
    (place / "tiny" / "TextData" / "tinytrain_half.caption.txt").unlink()
    summary = mlcmr.index(place / "tiny", place / "index", device="cpu")
    assert (summary.segments, summary.captions) == (36, 143)
    held = content(place / "index")
    for name, ids in (("segments", [segment_id("dog_runs-1", 0)]), ("captions", list(held["captions"]))):
        assert {one: held[name][one] for one in ids} == {one: whole[name][one] for one in ids}
    searcher = Searcher(place / "index", device="cpu")
    assert len([hit for hit in searcher.captions("dog_runs-1", k=200) if hit.video == "dog_runs-1"]) == 4


def test_a_collection_that_was_renamed_is_the_same_source(place, trained, monkeypatch):
    mlcmr.index(place / "tiny", place / "index", run=trained, device="cpu")
    keep_features(place, [scene for scene in SCENES if scene[0] != "dog"])
    (place / "tiny").rename(place / "renamed")
    counts = count_embedded(monkeypatch)
    summary = mlcmr.index(place / "renamed", place / "index", device="cpu")
    assert (summary.added, summary.segments, summary.captions, counts) == (0, 36, 144, [0, 0])
    assert sources(place / "index") == {(str(place / "renamed"), kind) for kind in ("segment", "caption")}
    summary = mlcmr.index(place / "renamed", place / "index", prune=True, device="cpu")
    assert (summary.removed, summary.unchanged, summary.segments, summary.captions) == (6, 30, 30, 120)


def test_another_collection_does_not_take_the_place_of_one_that_is_away(place, trained):
    mlcmr.index(place / "tiny", place / "index", run=trained, device="cpu")
    whole = content(place / "index")
    path = place / "tiny" / "FeatureData" / FEATURE / "feature.bin"
    (np.fromfile(path, "<f4") * -1).tofile(path)
    (place / "tiny").rename(place / "other")
    with pytest.raises(InvalidValueError, match="is in this index already"):
        mlcmr.index(place / "other", place / "index", device="cpu")
    assert content(place / "index") == whole


def test_another_collection_with_some_of_the_videos_does_not_either(place, trained):
    mlcmr.index(place / "tiny", place / "index", run=trained, device="cpu")
    whole = content(place / "index")
    shutil.copytree(place / "tiny", place / "away")
    keep_features(place, SCENES[: len(SCENES) // 2])
    (place / "tiny").rename(place / "other")
    with pytest.raises(InvalidValueError, match="is in this index already"):
        mlcmr.index(place / "other", place / "index", prune=True, device="cpu")
    assert content(place / "index") == whole
    (place / "away").rename(place / "tiny")
    assert mlcmr.index(place / "tiny", place / "index", prune=True, device="cpu").unchanged == 36


def test_another_collection_with_one_changed_video_does_not_either(place, trained):
    mlcmr.index(place / "tiny", place / "index", run=trained, device="cpu")
    path = place / "tiny" / "FeatureData" / FEATURE / "feature.bin"
    features = np.fromfile(path, "<f4")
    features[0] += 1
    features.tofile(path)
    (place / "tiny").rename(place / "other")
    with pytest.raises(InvalidValueError, match="is in this index already"):
        mlcmr.index(place / "other", place / "index", device="cpu")


def test_a_collection_that_cannot_be_looked_at_is_not_gone(place, trained, monkeypatch):
    mlcmr.index(place / "tiny", place / "index", run=trained, device="cpu")
    shutil.copytree(place / "tiny", place / "other")
    stat = Path.stat

    def refusing(path, **options):
        if path == place / "tiny":
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", refusing)
    with pytest.raises(InvalidValueError, match="is in this index already"):
        mlcmr.index(place / "other", place / "index", device="cpu")


@pytest.mark.slow
@pytest.mark.parametrize("stored", range(1, 10))
def test_a_renaming_that_is_interrupted_goes_on(place, trained, monkeypatch, stored):
    """Captions and segments are noted anew some at a time; whenever that ends, nothing is left behind."""
    mlcmr.index(place / "tiny", place / "index", run=trained, device="cpu")
    keep_features(place, [scene for scene in SCENES if scene[0] != "dog"])
    (place / "tiny").rename(place / "renamed")
    monkeypatch.setattr("mlcmr.search.indexing.update.BATCH", 20)
    upsert, left = EdgeStore.upsert, iter(range(stored))

    def ending(store, points):
        upsert(store, points)
        if next(left) == stored - 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(EdgeStore, "upsert", ending)
    with pytest.raises(KeyboardInterrupt):
        mlcmr.index(place / "renamed", place / "index", device="cpu")
    monkeypatch.setattr(EdgeStore, "upsert", upsert)
    mlcmr.index(place / "renamed", place / "index", device="cpu")
    assert sources(place / "index") == {(str(place / "renamed"), kind) for kind in ("segment", "caption")}


def sources(index: Path) -> set[tuple[str, str]]:
    """Return the source and kind of each segment and caption of an index."""
    _, stores = open_published(index)
    held = {
        (payload["source"], kind)
        for kind, store in (("segment", stores.segments), ("caption", stores.captions))
        for _, payload in store.scan(["source"])
    }
    stores.close()
    return held


def test_captions_false_takes_out_those_of_before(place, trained):
    mlcmr.index(place / "tiny", place / "index", run=trained, device="cpu")
    keep_features(place, [scene for scene in SCENES if scene[0] != "dog"])
    summary = mlcmr.index(place / "tiny", place / "index", captions=False, device="cpu")
    assert (summary.segments, summary.captions) == (36, 0)
    searcher = Searcher(place / "index", device="cpu")
    assert searcher.captions("cat_eats-1") == []
    assert searcher.languages == ()
    assert searcher.video("cat_eats-1")[0].caption == ""


def test_captions_of_another_source_stay(place, trained):
    for name in ("dogs", "others"):
        keep_features(place, [scene for scene in SCENES if (scene[0] == "dog") == (name == "dogs")])
        shutil.copytree(place / "tiny", place / name)
        mlcmr.index(place / name, place / "index", run=trained, device="cpu")
    summary = mlcmr.index(place / "others", place / "index", captions=False, device="cpu")
    assert (summary.segments, summary.captions) == (36, 24)
    searcher = Searcher(place / "index", device="cpu")
    assert searcher.languages == ("en", "zh")
    assert {hit.video.split("_")[0] for hit in searcher.captions("cat_eats-1", k=200)} == {"dog"}


def test_without_captions(place, trained):
    summary = mlcmr.index(place / "tiny", place / "index", run=trained, captions=False, device="cpu")
    assert (summary.segments, summary.captions) == (36, 0)
    searcher = Searcher(place / "index", device="cpu")
    assert searcher.captions("dog_runs-1") == []
    assert searcher.languages == ()
