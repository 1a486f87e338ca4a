"""Numbers that no search can compare are found where they enter an index, or a query."""

import shutil

import numpy as np
import pytest
import torch

import mlcmr
from mlcmr import MLCMR
from mlcmr.cli import main
from mlcmr.data.features.frame_features import write_features
from mlcmr.errors import CorruptFileError
from mlcmr.extraction.encoders.histogram import HistogramEncoder
from mlcmr.extraction.media.images import UnreadableFileError
from mlcmr.search import Searcher
from tests.helpers.tiny import FEATURE, SCENES, frames, video_name

VIDEOS = [video_name(*scene) for scene in SCENES]
LOST = VIDEOS[3]


def write_with(place, change, videos=(LOST,)) -> None:
    """The collection's features, those of one video changed, or of some."""
    blocks = []
    for scene in SCENES:
        rows = frames(*scene)
        if video_name(*scene) in videos:
            change(rows)
        blocks.append(([f"{video_name(*scene)}_{row}" for row in range(len(rows))], rows))
    folder = place / "tiny" / "FeatureData" / FEATURE
    shutil.rmtree(folder)
    write_features(folder, blocks)


def found(index) -> set[str]:
    return {hit.video for hit in Searcher(index, device="cpu").search("A dog runs.", k=100)}


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_a_video_whose_features_are_not_finite_is_named_and_counted(number, place, trained, capfd):
    write_with(place, lambda rows: rows.__setitem__((1, 2), number))
    words = ["index", str(place / "tiny"), "--run", str(trained), "--to", str(place / "index")]
    for added in (35, 0):
        assert main([*words, "--device", "cpu"]) == 0
        out = "".join(capfd.readouterr())
        assert f"{added} added, 0 changed, 0 removed, {35 - added} as before" in out
        assert "skipped:  1 video whose numbers cannot be compared, not indexed" in out
        assert f"frame 1 of video '{LOST}'" in out
    assert found(place / "index") == {*VIDEOS} - {LOST}
    assert (
        Searcher(place / "index", device="cpu").describe_search(captions=True)
        == "exact search in 140 captions"
    )
    # Once it is right, it comes in.
    write_with(place, lambda rows: None)
    assert mlcmr.index(place / "tiny", place / "index", device="cpu").skipped == ""
    assert found(place / "index") == {*VIDEOS}


def test_a_video_that_was_right_before_keeps_its_vector(place, trained):
    mlcmr.index(place / "tiny", place / "index", run=trained, device="cpu")
    write_with(place, lambda rows: rows.fill(np.nan))
    summary = mlcmr.index(place / "tiny", place / "index", device="cpu")
    assert (summary.segments, summary.captions, summary.added) == (36, 144, 0)
    assert "1 video" in summary.skipped
    assert found(place / "index") == {*VIDEOS}


def test_a_collection_of_which_no_video_can_be_indexed_makes_no_index(place, trained, capfd):
    good = mlcmr.index(place / "tiny", place / "good", run=trained, device="cpu").segments
    write_with(place, lambda rows: rows.fill(np.nan), VIDEOS)
    words = ["index", str(place / "tiny"), "--run", str(trained), "--device", "cpu", "--to"]
    for options in ([], ["--dry-run"]):
        capfd.readouterr()
        assert main([*words, str(place / "new"), *options]) == 2
        (line,) = capfd.readouterr().err.splitlines()
        assert f"{place / 'tiny'}: 36 videos, none can be indexed: " in line
        assert "holds NaN" in line
        assert not (place / "new" / "index.json").exists()
    summary = mlcmr.index(place / "tiny", place / "good", device="cpu")
    assert summary.segments == good
    assert "36 videos" in summary.skipped
    # An index that lost all videos is as good as new.
    mlcmr.index(None, place / "good", remove=VIDEOS)
    assert main([*words, str(place / "good")]) == 2


@pytest.mark.parametrize("number", [np.nan, 0.0])
def test_an_embedding_that_has_no_direction_is_not_indexed(number, place, trained, monkeypatch):
    def broken(encode, place_):
        def encode_broken(self, items, *args, **options):
            embeddings = encode(self, items, *args, **options)
            if len(embeddings) > place_:
                embeddings[place_] = number
            return embeddings

        return encode_broken

    monkeypatch.setattr(MLCMR, "encode_videos", broken(MLCMR.encode_videos, 5))
    monkeypatch.setattr(MLCMR, "encode_texts", broken(MLCMR.encode_texts, 7))
    summary = mlcmr.index(place / "tiny", place / "index", run=trained, device="cpu")
    assert (summary.added, summary.segments) == (35, 35)
    assert summary.captions == 140 - 2  # one in each language
    assert "1 video and 2 captions" in summary.skipped


def test_a_query_that_has_no_direction_is_refused(place, drawn, films, trained, indexed, monkeypatch):
    searcher = Searcher(indexed, device="cpu")
    size = searcher._index.last_state.info.model.embedding_size
    nothing = torch.full((1, size), torch.nan)
    monkeypatch.setattr(searcher._queries.model, "encode_texts", lambda *_, **__: nothing)
    with pytest.raises(CorruptFileError, match="its embedding: holds NaN"):
        searcher.search("A dog runs.")
    mlcmr.index(films, place / "index", run=drawn / "run", device="cpu")
    searcher = Searcher(place / "index", device="cpu")
    for number in (torch.nan, 0.0):
        monkeypatch.setattr(
            searcher._queries.model,
            "encode_videos",
            lambda *_, number=number: torch.full(
                (1, searcher._index.last_state.info.model.embedding_size), number
            ),
        )
        for search in (searcher.search_file, searcher.captions_of_file):
            with pytest.raises(UnreadableFileError, match=r"1\.mp4: its embedding: "):
                search(films / "1.mp4")


def test_a_file_whose_features_are_not_finite_is_refused(place, drawn, films, monkeypatch):
    mlcmr.index(films, place / "index", run=drawn / "run", device="cpu")
    monkeypatch.setattr(
        HistogramEncoder,
        "encode_prepared",
        lambda self, prepared: np.full((len(prepared), self.dimension), np.nan, np.float32),
    )
    with pytest.raises(UnreadableFileError, match=r"1\.mp4: the encoder's feature holds NaN"):
        Searcher(place / "index", device="cpu").search_file(films / "1.mp4")
