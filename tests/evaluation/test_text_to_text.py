"""Captions in one language find the captions of their videos in another."""

import json

import numpy as np
import pytest

from mlcmr import MLCMR
from mlcmr.cli import main
from mlcmr.errors import InvalidValueError
from mlcmr.evaluation import evaluate
from mlcmr.evaluation.metrics import PUBLISHED_METRICS
from mlcmr.evaluation.ranks import compute_text_ranks
from mlcmr.evaluation.text_to_text import measure_text_to_text
from mlcmr.training import train
from tests.helpers.tiny import captions, tiny_config, write_collection


def ranks_one_by_one(scores, video_of_query, video_of_caption) -> list[list[int]]:
    """The ranks of the captions of each query's video: as a stable sort orders equal scores."""
    found = []
    for row, video in zip(scores, video_of_query, strict=True):
        order = np.argsort(-row, kind="stable")
        found.append([rank for rank, caption in enumerate(order, 1) if video_of_caption[caption] == video])
    return found


@pytest.mark.parametrize("seed", range(6))
def test_ranks_are_those_of_a_stable_sort(seed):
    """With ties, several captions of a video, and more of them than a block holds."""
    draw = np.random.default_rng(seed)
    first, second = (np.append(draw.integers(5, size=size), np.arange(5)) for size in (40 * seed, 300))
    scores = draw.integers(4, size=(len(first), len(second))) / 4
    ranks = compute_text_ranks(scores, first, second)
    for direction, expected in (
        (ranks.t2v, ranks_one_by_one(scores, first, second)),
        (ranks.v2t, ranks_one_by_one(scores.T, second, first)),
    ):
        assert direction.values.tolist() == [rank for query in expected for rank in query]
        assert direction.relevant.tolist() == [len(query) for query in expected]
    assert (ranks.t2v.candidates, ranks.v2t.candidates) == (len(second), len(first))


def test_equal_scores_find_nothing_but_chance():
    """Each video has two captions in either language: R@1 is that of chance, not 100 %."""
    owners = np.repeat(np.arange(10), 2)
    ranks = compute_text_ranks(np.zeros((20, 20)), owners, owners)
    assert (ranks.t2v.best == 1).mean() == (ranks.v2t.best == 1).mean() == 2 / 20


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run, and test captions in Chinese of all but the last video, and of another one first."""
    folder = tmp_path_factory.mktemp("text-to-text")
    text = write_collection(folder) / "TextData" / "tinytest_zh.caption.txt"
    lines = text.read_text().splitlines(keepends=True)
    text.write_text("".join([*lines[2:-2], lines[0]]))
    return train(tiny_config(folder, folder / "run", epochs=2)).folder


def test_figures_are_those_of_the_embeddings(trained):
    (found,) = evaluate(trained, text_to_text=True, device="cpu").text_to_text
    model = MLCMR.from_pretrained(trained / "model")
    texts = trained.parent / "tiny" / "TextData"
    chinese = [line.split(" ", 1) for line in (texts / "tinytest_zh.caption.txt").read_text().splitlines()]
    videos = {name.split("#")[0] for name, _ in chinese}
    english = [pair for pair in captions("test", "enc") if pair[0].split("#")[0] in videos]
    first, second = ([name.split("#")[0] for name, _ in one] for one in (english, chinese))
    embedded = (
        model.encode_texts([text for _, text in one], language).numpy()
        for one, language in ((english, "en"), (chinese, "zh"))
    )
    scores = np.matmul(next(embedded), next(embedded).T)
    for direction, expected in (
        (found.metrics.t2v, ranks_one_by_one(scores, first, second)),
        (found.metrics.v2t, ranks_one_by_one(scores.T, second, first)),
    ):
        best = np.array([ranks[0] for ranks in expected])
        precisions = [np.mean([(n + 1) / rank for n, rank in enumerate(ranks)]) for ranks in expected]
        assert direction["R@1"] == pytest.approx(100 * np.mean(best == 1))
        assert direction["MedR"] == np.median(best)
        assert direction["mAP"] == pytest.approx(100 * np.mean(precisions))
    assert found.languages == ("en", "zh")
    assert found.captions == (len(english), len(chinese)) == (10, 9)
    assert found.left_out == (2, 0)
    assert found.videos == 5
    low, high = found.intervals.t2v["R@1"]
    assert low <= found.metrics.t2v["R@1"] <= high
    # Of nine Chinese captions, one query has one that is right; the others have two.
    assert found.chance.t2v["R@1"] == pytest.approx(100 * (8 * 2 / 9 + 2 * 1 / 9) / 10)


def test_what_is_written_and_printed(trained, capsys):
    command = ["evaluate", str(trained), "--device", "cpu"]
    assert main(command) == 0
    assert "Text to text" not in capsys.readouterr().out
    assert json.loads((trained / "results.json").read_text())["text_to_text"] == []
    assert main([*command, "--text-to-text"]) == 0
    out = capsys.readouterr().out
    assert "Text to text" in out
    assert "en, zh: 10 en captions and 9 zh captions of 5 videos" in out
    assert "2 captions of other videos are left out" in " ".join(out.split())
    (stored,) = json.loads((trained / "results.json").read_text())["text_to_text"]
    assert {"en→zh", "zh→en", "SumR"} == stored["metrics"].keys() == stored["chance"].keys()
    assert stored["intervals"]["en→zh"].keys() == stored["metrics"]["en→zh"].keys()
    report = (trained / "report.html").read_text()
    assert "Text to text" in report
    assert "zh → en" in report


def test_one_language_is_not_enough(trained):
    with pytest.raises(InvalidValueError, match="captions in two languages, but the only target is zh"):
        evaluate(trained, targets=["zh"], text_to_text=True, device="cpu")


def test_no_intervals(trained):
    (found,) = evaluate(trained, text_to_text=True, resamples=0, device="cpu").text_to_text
    assert found.intervals is None


def test_languages_without_common_videos_are_not_compared():
    class Encoded:
        def __init__(self, *videos):
            self.video_ids = list(videos)

    assert measure_text_to_text([Encoded("a"), Encoded("b")], PUBLISHED_METRICS, 0) == []
