"""Comparison of runs: paired over videos, corrected for many tests, refused where the queries differ."""

import itertools
import json
import re
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import mlcmr
from mlcmr.cli import main
from mlcmr.errors import CorruptFileError, InvalidValueError, MlcmrError, NotFoundError
from mlcmr.evaluation import Comparison, resampling
from mlcmr.evaluation.comparison import ComparedMetric
from mlcmr.evaluation.metrics import metrics_of_ranks
from mlcmr.evaluation.min_f import Variance
from mlcmr.evaluation.paired_tests import compare, holm
from mlcmr.evaluation.ranks import Ranks, RetrievalRanks, compute_ranks
from mlcmr.evaluation.ranks_file import StoredRanks, digest_ids, read_ranks, write_ranks

OWNERS = np.array([0, 0, 1, 2, 2, 2, 3, 4, 5])


def draw_ranks(seed: int, owners: np.ndarray = OWNERS, signal: float = 1) -> RetrievalRanks:
    videos = owners.max() + 1
    scores = np.random.default_rng(seed).standard_normal((len(owners), videos))
    return compute_ranks(scores + signal * (owners[:, None] == np.arange(videos)), owners)


def write_run(folder: Path, seed: int = 0, owners: np.ndarray = OWNERS, **others) -> Path:
    """Write what `evaluate` writes, for the comparison."""
    stated = {"targets": ("zh",), "signal": 1, "ranks": None, "digest": digest_ids(["c"], ["v"])} | others
    folder.mkdir(parents=True, exist_ok=True)
    evaluations, stored = [], {}
    for number, target in enumerate(stated["targets"]):
        ranks = stated["ranks"] or draw_ranks(seed + 100 * number, owners, stated["signal"])
        stored[target] = StoredRanks(ranks, owners)
        metrics = {"target_only": metrics_of_ranks(ranks).to_dict(), "fused": None}
        evaluations.append({
            "collection": "vatex", "split": "test", "target": target, "queries": len(owners),
            "videos": int(owners.max()) + 1, "metrics": metrics, "queries_digest": stated["digest"],
        })  # fmt: skip
    write_ranks(folder, stored)
    (folder / "results.json").write_text(json.dumps({"format": 1, "evaluations": evaluations}))
    return folder


@pytest.fixture
def runs(tmp_path) -> list[Path]:
    return [write_run(tmp_path / name, seed) for seed, name in enumerate(("first", "second", "third"))]


def found(comparison: Comparison, direction: str, name: str, target: str = "zh") -> ComparedMetric:
    named = [(one.target, one.direction, one.name) for one in comparison.metrics]
    return comparison.metrics[named.index((target, direction, name))]


def swapped(one: RetrievalRanks, other: RetrievalRanks, videos: tuple[int, ...]) -> RetrievalRanks:
    """The ranks of one run, with some videos and their captions from another."""

    def mix(first: Ranks, second: Ranks, of_query: np.ndarray) -> Ranks:
        lists = [
            source.values[source.queries == query].tolist()
            for query, video in enumerate(of_query)
            for source in [second if video in videos else first]
        ]
        return Ranks.from_lists(lists, first.candidates)

    return RetrievalRanks(mix(one.t2v, other.t2v, OWNERS), mix(one.v2t, other.v2t, np.arange(6)))


def test_p_values_are_those_of_all_permutations(runs):
    """Every video with its captions keeps its runs or swaps them: 64 permutations, built query by query."""
    first, second = draw_ranks(0), draw_ranks(1)
    choices = [c for size in range(7) for c in itertools.combinations(range(6), size)]
    every = [
        (metrics_of_ranks(swapped(second, first, choice)), metrics_of_ranks(swapped(first, second, choice)))
        for choice in choices
    ]
    comparison = compare(runs[:2], permutations=20_000)
    for one in comparison.metrics:
        differences = np.array(
            [
                b.sum_recalls - a.sum_recalls
                if one.direction == "both"
                else getattr(b, one.direction)[one.name] - getattr(a, one.direction)[one.name]
                for b, a in every
            ]
        )
        tested = one.figures[1].difference
        assert tested.value == pytest.approx(differences[0])
        expected = np.mean(np.abs(differences) >= abs(differences[0]) - 1e-9)
        assert tested.p_value == pytest.approx(expected, abs=0.02), (one.direction, one.name)


def test_agrees_with_scipy(tmp_path):
    """Of one caption per video, where videos and queries are the same."""
    owners = np.arange(60)
    pair = [write_run(tmp_path / str(seed), seed, owners) for seed in (1, 2)]
    tested = found(compare(pair, resamples=4000), "t2v", "MnR").figures[1].difference
    a, b = (draw_ranks(seed, owners).t2v.best for seed in (1, 2))

    def difference(a, b, axis):
        return np.mean(b, axis=axis) - np.mean(a, axis=axis)

    test = stats.permutation_test((a, b), difference, permutation_type="samples", n_resamples=9999, rng=1)
    assert tested.value == pytest.approx(test.statistic)
    assert tested.p_value == pytest.approx(test.pvalue, abs=0.02)
    low, high = stats.bootstrap(
        (a, b), difference, paired=True, n_resamples=4000, method="percentile", rng=1
    ).confidence_interval
    assert tested.interval == pytest.approx((low, high), abs=0.1 * (high - low))


def test_a_run_beside_itself(runs):
    for one in compare([runs[0], runs[0]]).metrics:
        tested = one.figures[1].difference
        assert (tested.value, tested.interval, tested.p_value, tested.corrected_p_value) == (0, (0, 0), 1, 1)
        assert one.figures[0].interval == one.figures[1].interval


def test_a_run_that_is_better(tmp_path):
    owners = np.repeat(np.arange(80), 2)
    pair = [write_run(tmp_path / str(signal), 1, owners, signal=signal) for signal in (0.5, 3)]
    for one in compare(pair).metrics:
        tested = one.figures[1].difference
        assert (tested.value > 0) == one.higher_is_better
        assert tested.is_significant
        assert tested.interval.low * tested.interval.high > 0
        assert tested.p_value == 1 / 10_000


def test_runs_that_do_not_differ_are_rarely_told_apart(tmp_path):
    """Captions of a video share its fate: a test over captions would find differences in many pairs."""
    videos, draw, rejected = 40, np.random.default_rng(0), 0
    owners = np.repeat(np.arange(videos), 6)
    one = np.ones(len(owners), np.int64)
    v2t = Ranks(np.cumsum(one) - 6 * owners, np.full(videos, 6), len(owners))
    for number in range(60):
        pair = []
        for name in ("a", "b"):
            best = np.where(draw.random(videos) < 0.5, 1, 20)[owners]
            ranks = RetrievalRanks(Ranks(best, one, videos), v2t)
            pair.append(write_run(tmp_path / f"{number}{name}", owners=owners, ranks=ranks))
        test = found(compare(pair, resamples=1, permutations=199), "t2v", "R@1").figures[1].difference
        rejected += test.p_value <= 0.05
    assert rejected <= 9


def test_every_comparison_is_corrected_for(runs):
    comparison = compare(runs)
    tests = [figure.difference for one in comparison.metrics for figure in one.figures[1:]]
    assert len(tests) == 26
    assert [test.corrected_p_value for test in tests] == holm([test.p_value for test in tests])
    assert all(one.figures[0].difference is None for one in comparison.metrics)


def write_seeds(folder: Path, effects: np.ndarray, owners: np.ndarray, signal: float = 1) -> Path:
    """Write runs with seeds; an effect moves all scores of the right videos of a run."""
    draw = np.random.default_rng(zlib.crc32(folder.name.encode()))
    for seed, effect in enumerate(effects):
        scores = draw.standard_normal((len(owners), owners.max() + 1))
        scores += (signal + effect) * (owners[:, None] == np.arange(owners.max() + 1))
        run = write_run(folder / f"seed-{seed}", owners=owners, ranks=compute_ranks(scores, owners))
        (run / "config.yaml").write_text(f"seed: {seed}\n")
    return folder


def test_several_seeds_are_one_run(tmp_path):
    owners = np.arange(60)
    groups = [
        write_seeds(tmp_path / name, np.zeros(3), owners, signal) for name, signal in (("a", 1), ("b", 2.5))
    ]
    comparison = compare(groups)
    assert comparison.seeds == (3, 3)
    assert comparison.to_dict()["seeds"] == [3, 3]
    single = compare([group / f"seed-{seed}" for group in groups for seed in range(3)])
    for together, alone in zip(comparison.metrics, single.metrics, strict=True):
        values = np.array([figure.value for figure in alone.figures]).reshape(2, 3)
        first, second = together.figures
        assert [first.value, second.value] == pytest.approx(values.mean(axis=1))
        tested = second.difference
        assert tested.value == pytest.approx(values[1].mean() - values[0].mean())
        assert tested.is_significant == (tested.interval.low * tested.interval.high > 0), together.name
        assert (tested.value > 0) == together.higher_is_better
        assert tested.is_significant
    assert f"{groups[0]}: mean of 3 seeds; ± and p count" in str(comparison)
    assert "p: min F′ over videos and seeds, corrected for 13 comparisons (Holm)." in str(comparison)


def test_the_variance_of_seeds_and_of_videos_is_added(tmp_path):
    """By hand, from the figures of the runs and from the resamples of their means."""
    owners = np.arange(50)
    groups = [write_seeds(tmp_path / name, np.array([0, 0.5, 1]), owners) for name in ("a", "b")]
    tested = found(compare(groups), "t2v", "mAP").figures[1].difference
    ranks = [
        [read_ranks(group / f"seed-{seed}", "zh", captions=50, videos=50).ranks.t2v.best for seed in range(3)]
        for group in groups
    ]
    of_videos = 100 / np.array(ranks)  # (groups, seeds, videos)
    means = of_videos.mean(axis=2)
    over_seeds = means.var(axis=1, ddof=1).sum() / 3
    over_videos = (of_videos[1].mean(axis=0) - of_videos[0].mean(axis=0)).var() / 50
    total = over_seeds + over_videos
    degrees = total**2 / (over_seeds**2 / 4 + over_videos**2 / 49)
    expected = 2 * stats.t.sf(abs(means[1].mean() - means[0].mean()) / np.sqrt(total), degrees)
    assert tested.p_value == pytest.approx(expected, abs=0.02)
    half = stats.t.ppf(0.975, degrees) * np.sqrt(total)
    assert tested.interval.half_width == pytest.approx(half, rel=0.05)


def test_seeds_that_vary_are_rarely_told_apart(tmp_path):
    """Trainings of one system, whose seeds vary: a test over videos alone finds differences in most pairs."""
    owners, draw, rejected, alone = np.arange(200), np.random.default_rng(0), 0, 0
    for number in range(40):
        groups = [
            write_seeds(tmp_path / f"{number}{name}", draw.normal(0, 0.4, 3), owners) for name in ("a", "b")
        ]
        test = found(compare(groups, resamples=100), "t2v", "mAP").figures[1].difference
        rejected += test.p_value <= 0.05
        runs = [group / "seed-0" for group in groups]
        test = found(compare(runs, resamples=1, permutations=99), "t2v", "mAP").figures[1].difference
        alone += test.p_value <= 0.05
    assert rejected <= 5
    assert alone >= 20


def test_several_seeds_beside_a_single_run(tmp_path):
    owners = np.arange(40)
    group = write_seeds(tmp_path / "group", np.array([0, 0.2, 0.1]), owners)
    alone = write_seeds(tmp_path / "alone", np.zeros(1), owners)
    same = shutil.copytree(alone / "seed-0", tmp_path / "same")
    comparison = compare([group, alone, same])
    assert comparison.seeds == (3, 1, 1)
    for one in comparison.metrics:
        _, first, second = one.figures
        assert first == second
        assert 0 < first.difference.p_value <= 1
    assert "p: min F′ over videos and seeds, corrected" in str(comparison)
    mixed = str(compare([alone, group, same], permutations=9))
    assert "; between single runs, paired permutation test over the videos, 9 permutations, corr" in mixed
    between_groups = str(compare([alone, group, write_seeds(tmp_path / "other", np.zeros(2), owners)]))
    assert "permutation" not in between_groups
    over_videos = compare([alone, same]).metrics[0].figures
    assert over_videos[0].interval == comparison.metrics[0].figures[1].interval


@pytest.mark.parametrize("degrees", [1, 1.3, 4.2, 100, 1e6])
def test_the_distribution_of_student(degrees):
    variance = Variance(4.0, degrees)
    for difference in (0.1, 2, 5):
        assert variance.p_value(difference) == pytest.approx(
            2 * stats.t.sf(difference / 2, degrees), rel=1e-4
        )
    assert variance.interval(3).high == pytest.approx(3 + 2 * stats.t.ppf(0.975, degrees), rel=1e-4)


def test_seeds_that_ranked_other_queries(tmp_path):
    group = write_seeds(tmp_path / "group", np.zeros(2), OWNERS)
    write_run(group / "seed-1", digest=digest_ids(["d"], ["v"]))
    with pytest.raises(InvalidValueError, match="seed-1 ranked other 'zh' queries"):
        compare([group, write_seeds(tmp_path / "other", np.zeros(2), OWNERS)])


def test_a_run_in_two_systems(tmp_path):
    group = write_seeds(tmp_path / "group", np.zeros(2), OWNERS)
    for runs in ([group, group / "seed-1"], [group / "seed-1", group], [group, group]):
        with pytest.raises(InvalidValueError, match=r"share the run \S+seed-[01]; name different runs"):
            compare(runs)


def test_holm():
    """By hand: 3 × 0.01, 2 × 0.02, 1 × 0.5; never below a smaller one, never above 1."""
    assert holm([0.01, 0.5, 0.02]) == pytest.approx([0.03, 0.5, 0.04])
    assert holm([0.02, 0.03, 0.021]) == pytest.approx([0.06, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([]) == []


def test_blocks_equal_the_whole(runs, monkeypatch):
    whole = compare(runs[:2], seed=5, permutations=500)
    monkeypatch.setattr(resampling, "_BLOCK", 70)
    assert compare(runs[:2], seed=5, permutations=500) == whole
    assert compare(runs[:2], seed=6, permutations=500) != whole


def reciprocal_rank(ranks: Ranks) -> dict[str, float]:
    return {"MRR": float((1 / ranks.best).mean())}


reciprocal_rank.format = ".3f"


def test_metrics_of_another_package(runs):
    comparison = compare(
        runs[:2], recall_at=[2], metrics=["nDCG@3", reciprocal_rank], permutations=200, resamples=50
    )
    assert [one.name for one in comparison.metrics[:6]] == ["R@2", "MedR", "MnR", "mAP", "nDCG@3", "MRR"]
    own, known = found(comparison, "t2v", "MRR"), found(comparison, "t2v", "mAP")
    assert own.figures[1].difference.p_value == known.figures[1].difference.p_value
    assert own.figures[0].interval.low == pytest.approx(known.figures[0].interval.low / 100)


def test_targets(tmp_path):
    several = write_run(tmp_path / "several", targets=("en", "zh"))
    other = write_run(tmp_path / "other", 1, targets=("zh", "de"))
    assert {one.target for one in compare([several, other]).metrics} == {"zh"}
    assert {one.target for one in compare([several, several], targets=["Chinese"]).metrics} == {"zh"}
    with pytest.raises(NotFoundError, match="other: not evaluated in target 'en', but in zh, de; run mlcmr"):
        compare([several, other], targets=["en"])
    german = write_run(tmp_path / "german", targets=("nl",))
    with pytest.raises(
        InvalidValueError, match=r"no target language in which every run was evaluated: .*several"
    ):
        compare([several, german])


def test_runs_that_ranked_other_queries(tmp_path):
    pair = [write_run(tmp_path / "one"), write_run(tmp_path / "two", digest=digest_ids(["d"], ["v"]))]
    with pytest.raises(InvalidValueError, match="two ranked other 'zh' queries") as caught:
        compare(pair)
    assert "(vatex test, 9 × 6)" in str(caught.value)


def test_ranks_of_another_evaluation(runs):
    write_ranks(runs[1], {"zh": StoredRanks(draw_ranks(9), OWNERS)})
    with pytest.raises(CorruptFileError, match=r"ranks\.npz: does not give the SumR of results\.json; run"):
        compare(runs[:2])


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"runs": ["a"]}, "`runs` names one run; name two or more"),
        ({"runs": "a"}, "`runs` must be a list: write ['a']"),
        ({"runs": [1, 2]}, "`runs`: 1 is neither a run nor its folder"),
        ({"resamples": 0}, "`resamples` is 0"),
        ({"permutations": 0}, "`permutations` is 0"),
        ({"seed": -1}, "`seed` is -1"),
        ({"metrics": ["MAP"]}, "`metrics` is 'MAP'"),
        ({"targets": ["chinse"]}, "'chinse' is no language"),
    ],
)
def test_bad_input(runs, arguments, part):
    with pytest.raises(InvalidValueError, match=re.escape(part)):
        mlcmr.compare(**{"runs": runs} | arguments)


@pytest.mark.parametrize("missing", ["results.json", "ranks.npz"])
def test_a_run_without_results_or_ranks(runs, missing, capsys):
    (runs[1] / missing).unlink()
    assert main(["compare", *map(str, runs)]) == 2
    error = capsys.readouterr().err
    assert f"{missing}: no such file; run mlcmr evaluate {runs[1]} " in error
    assert error.count("\n") == 1


def test_a_run_of_an_earlier_version(runs):
    stored = json.loads((runs[1] / "results.json").read_text())
    del stored["evaluations"][0]["queries_digest"]
    (runs[1] / "results.json").write_text(json.dumps(stored))
    (runs[1] / "ranks.npz").unlink()
    with pytest.raises(NotFoundError, match=r"run mlcmr evaluate .*second again$"):
        compare(runs)


def test_table(runs):
    comparison = compare(runs, permutations=99)
    lines = str(comparison).splitlines()
    row = next(line.split() for line in lines if line.split()[1:3] == ["t2v", "R@1"])
    one = found(comparison, "t2v", "R@1")
    figure, tested = one.figures[1], one.figures[1].difference
    assert row[3:6] == [f"{one.figures[0].value:.1f}", "±", f"{one.figures[0].interval.half_width:.1f}"]
    assert f"{figure.value:.1f} ± {figure.interval.half_width:.1f}" in " ".join(row)
    assert f"{abs(tested.value):.1f} ± {tested.interval.half_width:.1f}" in " ".join(row)
    assert "99 permutations, corrected for 26 comparisons (Holm)." in str(comparison)


def test_formats(runs):
    comparison = compare(runs, permutations=99)
    markdown = comparison.to("markdown").splitlines()
    assert {line.count("|") for line in markdown[:15]} == {11}
    latex = comparison.to("latex")
    assert latex.count(" & ") == 9 * 14
    assert r"$\pm$" in latex
    assert "±" not in latex.partition(r"\begin")[2]
    page = comparison.to("html")
    assert page.count("<tr>") == 14
    assert "<script" not in page
    stored = json.loads(comparison.to("json"))
    assert stored == comparison.to_dict()
    assert stored["metrics"][0]["runs"][1]["difference"].keys() == {"value", "interval", "p", "corrected_p"}
    with pytest.raises(InvalidValueError, match="`kind` is 'pdf', but must be one of text, markdown"):
        comparison.to("pdf")


def test_names_of_runs_are_text(tmp_path):
    hostile = [write_run(tmp_path / name, seed) for seed, name in enumerate(("<b>a_1%\n", "b|c&"))]
    comparison = compare(hostile, permutations=9, resamples=9)
    page, latex, markdown = (comparison.to(kind) for kind in ("html", "latex", "markdown"))
    assert "&lt;b&gt;a_1%" in page
    assert "b|c&amp;" in page
    assert r"<b>a\_1\%" in latex
    assert all(line.startswith("%") for line in latex.partition(r"\begin")[0].splitlines())
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in markdown.splitlines()[:15]} == {8}


def test_command(runs, tmp_path, capsys):
    words = ["compare", *map(str, runs[:2]), "--permutations", "99"]
    assert main(words) == 0
    assert capsys.readouterr().out == f"{compare(runs[:2], permutations=99)}\n"
    file = tmp_path / "tables" / "table.tex"
    assert main([*words, "--format", "latex", "--output", str(file), "--metric", "nDCG@2"]) == 0
    assert capsys.readouterr().out == ""
    assert "nDCG@2" in file.read_text()


def test_comparisons_need_no_torch():
    import subprocess
    import sys

    code = (
        "import sys, mlcmr.evaluation.paired_tests; assert not {'torch', 'matplotlib'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_errors_are_of_the_library(runs):
    (runs[0] / "results.json").write_text("[]")
    with pytest.raises(MlcmrError, match=r"results\.json: .*run mlcmr evaluate"):
        compare(runs)
