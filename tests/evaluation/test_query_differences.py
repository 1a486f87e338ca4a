"""The queries that two runs rank differently: the right ones, and on a page as text."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from mlcmr.cli import main
from mlcmr.errors import InvalidValueError
from mlcmr.evaluation import compare, evaluate
from mlcmr.evaluation.query_differences import find_differences
from mlcmr.evaluation.ranks import Ranks, RetrievalRanks, first_videos, top_videos
from mlcmr.evaluation.ranks_file import StoredRanks, read_ranks
from mlcmr.training import train_seeds
from tests.evaluation.test_report import HOSTILE
from tests.evaluation.test_thumbnails import JPEG, data_url, write_thumbnails
from tests.helpers.tiny import tiny_config, write_collection

OWNERS = np.array([0, 0, 1, 2, 3])


def stored(ranks, first=None) -> StoredRanks:
    one = np.ones(len(ranks), np.int64)
    t2v = Ranks(np.array(ranks), one, 100)
    return StoredRanks(RetrievalRanks(t2v, t2v), OWNERS, None if first is None else np.array(first))


def differences(first, other, **others):
    stated = {"texts": [f"text {number}" for number in range(5)], "video_ids": list("abcd")} | others
    return find_differences("zh", ("one", "two"), (first, other), **stated)


def test_the_ratio_of_ranks_decides_and_a_video_occurs_once():
    found = differences([stored([9, 20, 50, 2, 4])], [stored([1, 1, 10, 2, 8])])
    assert [(one.text, one.video.video_id) for one in found.better] == [("text 1", "a"), ("text 2", "b")]
    assert [(one.text, one.video.video_id) for one in found.worse] == [("text 4", "d")]
    assert [result.ranks for result in found.better[0].results] == [(20,), (1,)]
    assert found.better[0].video.caption == "text 0"
    short = differences([stored([9, 20, 50, 2, 4])], [stored([1, 1, 10, 2, 8])], count=1)
    assert [one.text for one in short.better] == ["text 1"]


def test_of_several_seeds_the_geometric_mean_counts():
    found = differences([stored([4] * 5)], [stored([2, 8, 2, 4, 1]), stored([8, 8, 2, 4, 64])])
    assert [one.text for one in found.better] == ["text 2"]
    assert [one.text for one in found.worse] == ["text 1", "text 4"]
    assert found.worse[1].results[1].ranks == (1, 64)


def test_what_each_run_put_first():
    found = differences([stored([2] * 5, first=[3, 2, 1, 0, 1])], [stored([1, 2, 2, 2, 2])])
    first, other = found.better[0].results
    assert (first.first.video_id, first.first.caption) == ("d", "text 4")
    assert other.first is None


def test_first_videos_are_the_first_of_the_top():
    scores = np.random.default_rng(0).integers(4, size=(30, 7)).astype(float)
    assert first_videos(scores).tolist() == top_videos(scores, np.arange(30), 1)[:, 0].tolist()


@pytest.fixture(scope="module")
def several(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("differences")
    write_collection(folder)
    runs = train_seeds(tiny_config(folder, folder / "run", epochs=1), 3)
    evaluate(runs, resamples=0, device="cpu")
    return [run.folder for run in runs.runs]


def test_page(several, tmp_path, capsys):
    write_thumbnails(several[0].parents[1] / "tiny", {"bird_eats-1": JPEG})
    page = tmp_path / "pages" / "compare.html"
    words = ["compare", *map(str, several[:2]), "--target", "zh", "--report", str(page)]
    assert main([*words, "--permutations", "9"]) == 0
    assert "SumR" in capsys.readouterr().out
    content = page.read_text()
    assert "<script" not in content
    assert "http" not in content.replace("http-equiv", "")
    assert f"zh: queries that {several[1]} ranks" in content
    assert data_url(JPEG) in content
    ranks = [read_ranks(run, "zh", captions=12, videos=6) for run in several[:2]]
    assert ranks[0].first is not None
    assert (ranks[0].first == ranks[0].video_of_caption).tolist() == (ranks[0].ranks.t2v.best == 1).tolist()
    moved = np.unique(ranks[0].video_of_caption[ranks[0].ranks.t2v.best != ranks[1].ranks.t2v.best])
    assert len(moved) <= content.count('<p class="query">') <= 12


def test_names_and_captions_are_text(several, tmp_path):
    collection = Path(shutil.copytree(several[0].parents[1] / "tiny", tmp_path / "tiny"))
    captions = collection / "TextData" / "tinytest_zh.caption.txt"
    lines = [f"{line.split(' ')[0]} {HOSTILE}中文" for line in captions.read_text().splitlines()]
    captions.write_text("\n".join(lines) + "\n")
    runs = [Path(shutil.copytree(run, tmp_path / f"<b>{run.name}")) for run in several[:2]]
    compare(
        runs, targets=["zh"], permutations=9, resamples=9, report=tmp_path / "page.html", rootpath=tmp_path
    )
    page = (tmp_path / "page.html").read_text()
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert "<b>" not in page
    assert "<img src=x" not in page


def test_captions_that_have_changed(several, tmp_path):
    collection = Path(shutil.copytree(several[0].parents[1] / "tiny", tmp_path / "tiny"))
    captions = collection / "TextData" / "tinytest_zh.caption.txt"
    captions.write_text("".join(captions.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(InvalidValueError, match=r"not the captions that .*seed-0 was evaluated on"):
        compare(several[:2], targets=["zh"], report=tmp_path / "page.html", rootpath=tmp_path)
    assert not (tmp_path / "page.html").exists()


def test_seeds_and_equal_runs(several, tmp_path):
    page = tmp_path / "page.html"
    alone = shutil.copytree(several[0], tmp_path / "alone")
    compare([alone, several[0].parent, alone], targets=["en"], permutations=9, resamples=9, report=page)
    content = page.read_text()
    assert "mean of 3 seeds" in content
    assert "All queries have the ranks of" in content
