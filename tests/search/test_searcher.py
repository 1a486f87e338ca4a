"""Searching: by texts, by videos, by files."""

import json
import shutil
import unicodedata

import numpy as np
import pytest

import mlcmr
from mlcmr import MLCMR
from mlcmr.cli import main
from mlcmr.errors import CorruptFileError, InvalidValueError
from mlcmr.search import Filters, Searcher
from mlcmr.search.opened_index import UnknownVideo
from tests.helpers.tiny import SCENES, frames, video_name


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
        with pytest.raises(InvalidValueError, match="'gibberish' is no language"):
            ask("dog_runs-1", language="gibberish")


def test_captions_are_shown_in_the_language_of_the_query(indexed):
    searcher = Searcher(indexed, device="cpu")
    caption = {
        text: {hit.video: hit.caption for hit in searcher.search(text, language=language, k=50)}["cat_eats-1"]
        for text, language in (
            ("A dog runs.", None), ("一只狗在跑", None), ("dog", "zh-CN"), ("狗が跑る", "ja"), ("hund", "de")
        )
    }  # fmt: skip
    english, chinese = "A cat eats.", "一只猫在吃"
    assert list(caption.values()) == [english, chinese, chinese, english, english]
    together = searcher.search_many(["一只猫在吃", "A cat eats."], k=1)
    assert [hit.caption for (hit,) in together] == [chinese, english]
    assert {hit.caption.isascii() for hit in searcher.similar("dog_runs-1", k=50)} == {True}


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
    with pytest.raises(InvalidValueError, match="blank"):
        Searcher(indexed, device="cpu").search(text)


@pytest.mark.parametrize("k", [0, -3])
def test_no_hits_wanted(indexed, k):
    searcher = Searcher(indexed, device="cpu")
    for ask in (lambda: searcher.search("a", k=k), lambda: searcher.captions("dog_runs-1", k=k)):
        with pytest.raises(InvalidValueError, match="must be at least 1"):
            ask()


def test_by_a_file(drawn, films, tmp_path):
    mlcmr.index(films, tmp_path / "index", run=drawn / "run", device="cpu")
    searcher = Searcher(tmp_path / "index", device="cpu")
    for name, video in (("3.mp4", "3"), ("photo.png", "photo")):
        best, second = searcher.search_file(films / name, k=2)
        assert best.video == video
        assert best.score == pytest.approx(1, abs=1e-3)
        assert second.score < best.score
    with pytest.raises(CorruptFileError, match=r"nothing\.mp4"):
        searcher.search_file(films / "nothing.mp4")
    (films / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(CorruptFileError, match=r"broken\.mp4"):
        searcher.search_file(films / "broken.mp4")


def test_a_file_and_a_video_of_one_name_are_two(drawn, films, tmp_path, capsys, monkeypatch):
    mlcmr.index(drawn / "sample", tmp_path / "index", run=drawn / "run", device="cpu")
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


@pytest.mark.parametrize("folder", ["NFC", "NFD"])
@pytest.mark.parametrize("file", ["NFC", "NFD"])
def test_accents_are_one_thing_however_they_are_written(films, drawn, tmp_path, folder, file):
    """macOS and archives write them apart; people type them joined."""
    name = unicodedata.normalize(file, "größe.mp4")
    place = tmp_path / unicodedata.normalize(folder, "Café")
    place.mkdir()
    shutil.copy(films / "0.mp4", place / name)
    shutil.copy(films / "1.mp4", place / "other.mp4")
    mlcmr.index(tmp_path / place.name, tmp_path / "index", run=drawn / "run")
    searcher = Searcher(tmp_path / "index", device="cpu")
    for form in ("NFC", "NFD"):
        asked = unicodedata.normalize(form, "größe")
        assert searcher.segment(asked).video == "größe"
        assert len(searcher.video(asked)) == 1
        assert [hit.video for hit in searcher.similar(asked)] == ["other"]
        for written in ("video={}", "path~{}", "path~Café/{}.mp4"):
            filters = Filters.parse([unicodedata.normalize(form, written.format("größe"))])
            assert [hit.video for hit in searcher.search("a circle", filters=filters)] == ["größe"]
    searcher.close()
    apart = unicodedata.normalize("NFD", "größe")
    assert main(["index", "--remove", apart, "--to", str(tmp_path / "index")]) == 0
    assert {hit.video for hit in Searcher(tmp_path / "index").search("a circle")} == {"other"}
