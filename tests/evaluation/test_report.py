"""Tables and reports: right numbers in the right places, untrusted text shown and never run."""

import math
import re
import subprocess
import sys
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.axes import Axes
from rich.console import Console

from mlcmr.errors import MlcmrError
from mlcmr.evaluation.intervals import compute_intervals
from mlcmr.evaluation.metrics import RetrievalMetrics, chance_metrics, compute_metrics
from mlcmr.evaluation.ranks import compute_ranks
from mlcmr.evaluation.report import figures
from mlcmr.evaluation.report.examples import RankedQueries, pick_queries
from mlcmr.evaluation.report.html import render_report, write_report
from mlcmr.evaluation.report.table import ResultsTable
from mlcmr.evaluation.results import EvaluationResults
from mlcmr.evaluation.target_results import TargetResults

VIDEOS, PER_VIDEO = 40, 3
OWNERS = np.repeat(np.arange(VIDEOS), PER_VIDEO)
PUBLISHED = RetrievalMetrics(
    {"R@1": 36.9, "R@5": 71.3, "R@10": 80.6, "MedR": 2, "mAP": 52.13},
    {"R@1": 51.1, "R@5": 79.1, "R@10": 86.7},
    405.7,
)
HOSTILE = """<script>alert("1")</script><img src=x onerror='alert(2)'>"""


def draw_scores(seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return draw.standard_normal((len(OWNERS), VIDEOS)) + 2 * (OWNERS[:, None] == np.arange(VIDEOS))


def example_results(**others) -> TargetResults:
    scores = draw_scores()
    stated = {
        "collection": "vatex", "feature": "i3d", "split": "test", "target": "zh", "scenario": "parallel",
        "queries": len(OWNERS), "videos": VIDEOS, "captions_per_video": 3.0,
        "trained_on": "vatex", "validated_on": "val",
        "target_only": compute_metrics(scores, OWNERS),
        "fused": compute_metrics(scores + draw_scores(1), OWNERS), "fusion_weight": 0.85,
        "chance": chance_metrics(OWNERS, VIDEOS), "published": PUBLISHED, "versions": {"numpy": "2.4.6"},
        "seed": 3, "run": "runs/example",
    }  # fmt: skip
    return TargetResults(**stated | others)


def example_queries(text: str = "一只狗在接飞盘", video: str = "v") -> RankedQueries:
    scores = draw_scores()
    return pick_queries(
        scores,
        compute_ranks(scores, OWNERS),
        OWNERS,
        texts=[f"{text} {caption}" for caption in range(len(OWNERS))],
        video_ids=[f"{video}{number}" for number in range(VIDEOS)],
        count=4,
    )


def example_curves(
    terms: tuple[str, ...] = ("zh→v", "v~v'"), languages: tuple[str, ...] = ("en", "zh")
) -> list[dict]:
    curves = []
    for epoch in range(3):
        for step in range(1, 31):
            losses = {name: math.exp(-step / 9) + number for number, name in enumerate(terms)}
            curves.append(
                {
                    "step": 30 * epoch + step,
                    "epoch": epoch,
                    "examples": 64,
                    "loss": sum(losses.values()),
                    **losses,
                    "lr": 1e-4,
                }
            )
        scores = {f"val/{language}": 100.0 + epoch for language in languages}
        curves.append(
            {
                "step": 30 * epoch + 30,
                "epoch": epoch,
                "val/score": sum(scores.values()),
                **scores,
                "best": True,
            }
        )
    return curves


class Page(HTMLParser):
    """The parts of a report, as a browser reads them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.rows: list[list[str]] = []
        self.headings: list[str] = []
        self._cell = self._heading = False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._cell, self._heading = tag in ("td", "th"), tag in ("h1", "h2", "h3")
        if tag == "tr":
            self.rows.append([])
        if self._cell:
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self._cell = self._heading = False

    def handle_data(self, data):
        self.words.append(data)
        if self._cell:
            self.rows[-1][-1] += data
        if self._heading:
            self.headings.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)

    def attributes(self, name: str) -> list[str]:
        return [attributes[name] or "" for _, attributes in self.tags if name in attributes]


@cache
def full_page(**others) -> str:
    return render_report([example_results(**{"ranked": example_queries(), **others})], example_curves())


def test_page_needs_nothing_beside_itself():
    html = full_page()
    page = Page(html)
    assert not {tag for tag, _ in page.tags} & {"script", "iframe", "object", "embed", "img", "base"}
    assert page.attributes("src") == []
    assert all(
        address.startswith(("#", "data:,"))
        for address in page.attributes("href") + page.attributes("xlink:href")
    )
    assert "@import" not in html
    assert "http:" not in html
    assert "https:" not in html
    assert set(re.findall(r"url\((.)", html)) <= {"#"}


def test_drawings_share_no_ids():
    html = full_page()
    ids = Page(html).attributes("id")
    assert len(ids) > 50
    assert len(ids) == len(set(ids))
    referred = re.findall(r'(?:url\(#|href="#)([^)"]+)', html)
    assert set(referred) <= set(ids)
    assert html.count("<svg") == 7  # recall, two histograms, loss, terms, validation, learning rate


def test_several_targets():
    """Each target has a link; common settings appear once; no two drawings share an id."""
    curves = example_curves()
    others = [
        example_results(target="zh", ranked=example_queries()),
        example_results(target="en", captions_per_video=2.5, ranked=example_queries()),
    ]
    html = render_report(others, curves)
    page = Page(html)
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    assert page.headings.count("Settings") == page.headings.count("Versions") == 1
    links = re.findall(r'<li><a href="#([^"]+)">([^<]+)</a>', html)
    assert [name for _, name in links] == ["zh", "en", "learning curves", "settings"]
    assert {target for target, _ in links} <= set(ids)
    settings = dict(re.findall(r"<dt>([^<]+)</dt><dd>([^<]+)</dd>", html))
    assert settings["target"] == "zh · en"
    assert settings["captions per video"] == "3 · 2.5"
    assert settings["captions"] == "120"
    assert "<nav" not in full_page()


def drawn_losses(monkeypatch, curves: list[dict]) -> tuple[dict[str, list[float]], str]:
    """Return the points of the loss curve, and the text above it."""
    drawn: dict[str, list[float]] = {}

    def loss_curve(steps, losses):
        drawn.update(steps=list(steps), losses=list(losses))
        return ""

    monkeypatch.setattr(figures, "loss_curve", loss_curve)
    html = render_report([example_results()], curves)
    return drawn, re.findall(r"<b>Loss</b> <span>([^<]+)</span>", html)[0]


def test_short_batches_do_not_dip(monkeypatch):
    curves = [
        {
            "step": step,
            "epoch": 0,
            "examples": 3 if step % 10 == 0 else 64,
            "loss": 3.0 if step % 10 == 0 else 64.0,
        }
        for step in range(1, 31)
    ]
    drawn, note = drawn_losses(monkeypatch, curves)
    assert drawn["steps"] == [step for step in range(1, 31) if step % 10]
    assert set(drawn["losses"]) == {64.0}
    assert note == "Of full batches."
    for record in curves:
        del record["examples"]  # as written by an earlier version
    assert len(drawn_losses(monkeypatch, curves)[0]["losses"]) == 30


@pytest.mark.parametrize("count", [39, 40, 600])
def test_a_running_mean_is_drawn_if_the_note_says_so(monkeypatch, count):
    noisy = [1.0 + step % 2 for step in range(count)]
    lines = []
    monkeypatch.setattr(Axes, "plot", lambda _, x, y, **options: lines.append((y, options.get("alpha"))))
    figures.loss_curve(range(count), noisy)
    monkeypatch.undo()
    curves = [{"step": step, "epoch": 0, "examples": 64, "loss": loss} for step, loss in enumerate(noisy)]
    _, note = drawn_losses(monkeypatch, curves)
    assert ("running mean" in note) == (len(lines) == 2) == (np.std(lines[-1][0]) < 0.4) == (count >= 40)


def test_drawings_take_their_colours_from_the_page():
    html = full_page()
    drawn = "".join(re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL))
    used = set(re.findall(r"var\((--[a-z0-9]+)\)", drawn))
    assert {"--t2v", "--v2t", "--ink", "--faint", "--grid"} <= used
    for name in used:
        assert len(re.findall(rf"{name}: #", html)) == 2  # light and dark
    assert re.findall(r"(?:fill|stroke): #[0-9a-f]{6}", drawn) == []


def test_untrusted_text_is_shown_and_not_run():
    results = example_results(
        **dict.fromkeys(
            ["collection", "feature", "split", "target", "scenario", "trained_on", "validated_on", "run"],
            HOSTILE,
        ),
        versions={HOSTILE: HOSTILE},
    )
    curves = example_curves(terms=(HOSTILE, "$x$", "_y"), languages=(HOSTILE, "_zh"))
    html = render_report([replace(results, ranked=example_queries(HOSTILE, HOSTILE))], curves)
    page = Page(html)
    tags = [tag for tag, _ in page.tags]
    assert "script" not in tags
    assert "img" not in tags
    assert page.attributes("onerror") == []
    assert f"{HOSTILE} 0" in html.replace("&lt;", "<").replace("&gt;", ">").replace("&#34;", '"').replace(
        "&#39;", "'"
    )
    assert page.text.count(HOSTILE) > 20
    assert "$x$" in page.text
    assert "_zh" in page.text


def test_table_of_the_page():
    results = example_results()
    rows = {row[0]: row[1:] for row in Page(full_page()).rows[2:]}
    assert list(rows) == ["fused", "target only", "published", "chance"]
    assert " ".join(rows["published"]) == "36.9 71.3 80.6 2 – 52.13 51.1 79.1 86.7 – – – 405.7"
    fused = results.fused
    assert rows["fused"][0] == f"{fused.t2v['R@1']:.1f}"
    assert rows["fused"][11] == f"{fused.v2t['mAP']:.2f}"
    assert rows["fused"][12] == f"{fused.sum_recalls:.1f}"
    assert rows["chance"][:2] == ["2.5", "12.5"]
    alone = Page(render_report([example_results(fused=None, fusion_weight=None, published=None)]))
    assert [row[0] for row in alone.rows[2:]] == ["target only", "chance"]


def test_intervals_are_below_the_figures_and_beside_the_headline():
    intervals = compute_intervals(compute_ranks(draw_scores() + draw_scores(1), OWNERS), OWNERS)
    widths = intervals.half_widths
    page = Page(render_report([example_results(intervals=intervals)]))
    assert [row[0] for row in page.rows[2:5]] == ["fused", "± 95 %", "target only"]
    assert page.rows[3][1] == f"{widths.t2v['R@1']:.1f}"
    assert page.rows[3][-1] == f"{widths.sum_recalls:.1f}"
    assert f"± {widths.sum_recalls:.1f} · chance" in page.text
    assert "of 1,000 resamples of the videos" in page.text
    assert "±" not in full_page()
    for width in (200, 80):
        text = printed_table(width, example_results(intervals=intervals))
        rows = [line.split()[-1] for line in text.splitlines() if "± 95 %" in line]
        assert f"{widths.sum_recalls:.1f}" in rows


def test_what_is_not_there_is_left_out():
    every = [
        "Results",
        "Ranks",
        "Worst queries, and the videos found instead",
        "Best queries",
        "Learning",
        "Settings",
    ]
    headings = Page(full_page()).headings
    assert [heading for heading in headings if heading in every] == every
    bare = Page(render_report([example_results(versions={})]))
    assert bare.headings[1:] == ["Results", "Settings"]
    assert "svg" not in [tag for tag, _ in bare.tags]
    epochs = [record for record in example_curves() if "loss" not in record]
    learned = Page(render_report([example_results()], epochs))
    assert "Validation score" in learned.text
    assert "Learning rate" not in learned.text


def test_terms_of_drawn_languages():
    """A step has the terms of the languages that it drew; each term has a curve."""
    steps = [
        {"step": step, "examples": 8, "loss": 2.0, ("en→v" if step % 2 else "zh→v"): 1.0, "v~v'": 1.0}
        for step in range(1, 60)
    ]
    drawn = Page(render_report([example_results()], steps))
    assert "Terms of the loss" in drawn.text
    for name in ("en→v", "zh→v", "v~v'"):
        assert name in drawn.text
    assert "nan" not in drawn.text


def test_a_checkpoint_chosen_on_the_evaluated_split_is_noted():
    warning = "The checkpoint was chosen on the split that is evaluated here"
    assert warning not in full_page()
    assert warning in full_page(validated_on="test")
    assert warning in full_page(validated_on="test", trained_on="VATEX")  # the same collection
    elsewhere = full_page(validated_on="test", trained_on="msrvtt10kyu")
    assert warning not in elsewhere
    assert "The checkpoint was chosen on msrvtt10kyu test." in elsewhere
    assert "checkpoint was chosen" not in full_page(validated_on=None, trained_on=None)


def test_queries_keep_their_language():
    page = Page(full_page())
    assert ("html", {"lang": "en"}) in page.tags
    assert page.attributes("lang").count("zh") == 8 * 6  # each query and the five videos it found
    assert "一只狗在接飞盘 0" in page.text


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "curves",
    [
        [{"step": 1, "epoch": 0, "loss": 3.0, "lr": 1e-4}],
        [
            {"step": 1, "epoch": 0, "loss": math.nan},
            {"step": 2, "epoch": 0, "loss": math.inf, "a": 1.0, "b": 2.0},
        ],
        [{"epoch": 0, "step": 1, "val/score": 10.0}],
        [{"epoch": 0, "step": 1, "val/score": math.nan, "val/en": math.nan}],
        [{"epoch": 0, "step": 1, "val/score": 1.0, "val/en": 1.0}, {"epoch": 1, "step": 2, "val/score": 2.0}],
        [{"step": step, "epoch": 0, "loss": 1.0, "a": 0.5, "b": 0.5, "lr": 1.0} for step in range(1500)],
        [{"step": 1, "epoch": 0, "loss": "much", "lr": None}, {"step": None, "loss": [], "a": {}, "b": 1}],
        [{"step": 1, "epoch": 0, "loss": 1.0, "examples": size} for size in (-math.inf, math.nan, "8")],
        [{"step": 1, "epoch": 0, "loss": 1.0, "examples": -math.inf}],
        [{"other": "record"}],
    ],
)
def test_odd_curves_are_drawn(curves):
    html = render_report([example_results()], curves)
    assert ("<svg" in html) == ("other" not in curves[0])
    assert len(html) < 300_000


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("captions", "videos"), [(1, 1), (2, 1), (1, 3), (30, 12)])
def test_small_collections_are_drawn(captions, videos):
    owners = np.arange(captions) % videos
    scores = np.random.default_rng(0).random((captions, videos))
    names = [str(number) for number in range(captions + videos)]
    queries = pick_queries(
        scores, compute_ranks(scores, owners), owners,
        texts=names[:captions], video_ids=names[:videos],
    )  # fmt: skip
    html = render_report([example_results(ranked=queries)])
    assert html.count("<svg") == 3
    assert ("no caption" in html) == (captions < videos)


def test_best_and_worst_queries():
    scores = np.full((6, 4), -1.0)
    owners = np.array([0, 0, 1, 1, 2, 3])
    scores[np.arange(6), owners] = 1
    scores[0] = [1, 2, 3, 4]  # its video is last
    scores[1] = [1, 0, 3, 2]  # third, and of the same video
    scores[4] = [0, 9, 5, 0]  # second
    queries = pick_queries(
        scores, compute_ranks(scores, owners), owners,
        texts=list("abcdef"), video_ids=list("wxyz"), count=2, found=3,
    )  # fmt: skip
    assert [(query.text, query.rank) for query in queries.best] == [("c", 1), ("f", 1)]
    assert [(query.text, query.rank) for query in queries.worst] == [("a", 4), ("e", 2)]
    worst = queries.worst[0]
    assert worst.video_id == "w"
    assert [(found.video_id, found.caption) for found in worst.found] == [("z", "f"), ("y", "e"), ("x", "c")]


def test_report_is_written_whole(tmp_path):
    path = tmp_path / "run" / "report.html"
    write_report(path, [example_results(ranked=example_queries())], example_curves())
    first = path.read_bytes()
    assert first.decode().rstrip().endswith("</html>")
    assert first.startswith(b"<!doctype html>")
    write_report(path, [example_results(ranked=example_queries())], example_curves())
    assert path.read_bytes() == first
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]
    with pytest.raises(MlcmrError, match="cannot be written"):
        write_report(path / "report.html", [example_results()])


def printed_table(width: int, *results: TargetResults) -> str:
    console = Console(width=width, force_terminal=False)
    with console.capture() as capture:
        console.print(ResultsTable(results))
    return capture.get()


def test_table_side_by_side():
    zh, en = example_results(), example_results(target="en", published=None)
    lines = [line.split() for line in printed_table(140, zh, en).splitlines()]
    rows = [line for line in lines if "." in " ".join(line[1:4])]
    assert [line[0] for line in rows if line[0] in ("zh", "en")] == ["zh", "en"]
    assert [line[-1] for line in rows if line[0] == "published"] == ["405.7"]
    fused = next(line for line in rows if line[:2] == ["zh", "fused"])
    values = [*zh.fused.t2v.values(), *zh.fused.v2t.values(), zh.fused.sum_recalls]
    assert [float(value) for value in fused[2:]] == pytest.approx(values, abs=0.051)


def test_all_languages_together():
    """Their mean, and the language with the lowest SumR: in the table, the report and results.json."""
    zh = example_results()
    en = example_results(target="en", fused=compute_metrics(draw_scores(5), OWNERS))
    de = example_results(target="de", fused=None, target_only=compute_metrics(draw_scores(7), OWNERS))
    results = [zh, en, de]
    main = [zh.fused, en.fused, de.target_only]
    worst = min(range(3), key=lambda number: main[number].sum_recalls)
    for width in (200, 80):
        lines = [line.split() for line in printed_table(width, *results).splitlines()]
        mean = next(line for line in lines if line[:2] == ["all", "mean"])
        assert float(mean[-1]) == pytest.approx(np.mean([one.sum_recalls for one in main]), abs=0.051)
        lowest = next(line for line in lines if line[:1] == ["worst:"])
        assert lowest[1] == results[worst].target
        assert float(lowest[-1]) == pytest.approx(main[worst].sum_recalls, abs=0.051)
    stored = EvaluationResults(results).to_dict()["all_targets"]
    for direction in ("t2v", "v2t"):
        for name, value in stored["mean"][direction].items():
            assert value == pytest.approx(np.mean([getattr(one, direction)[name] for one in main]))
    assert stored["worst"] == {"target": results[worst].target, "metrics": main[worst].to_dict()}
    assert "All languages" in Page(render_report(results)).headings


def test_a_single_language_is_not_summarised():
    assert " all " not in printed_table(200, example_results())
    assert EvaluationResults([example_results()]).to_dict()["all_targets"] is None
    assert "All languages" not in Page(full_page()).headings


@pytest.mark.parametrize("width", [200, 120, 80])
def test_table_never_cuts_numbers(width):
    results = example_results()
    lines = printed_table(width, results).splitlines()
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert "…" not in text
    for metrics in (results.fused, results.target_only, results.chance):
        for value in (
            metrics.t2v["R@10"],
            metrics.v2t["R@5"],
            metrics.v2t["MnR"],
            metrics.sum_recalls,
        ):
            assert f"{value:.1f}" in text


def test_table_shows_names_as_they_are():
    text = printed_table(140, example_results(target="[red]zh", collection="[bold]c[/bold]"))
    assert "[red]zh" in text
    assert "[bold]c[/bold]" in text


def test_table_says_what_chose_the_checkpoint():
    text = printed_table(140, replace(example_results(), validated_on="test"))
    assert "checkpoint chosen on test" in text
    text = printed_table(140, replace(example_results(), trained_on="flickr8kcn"))
    assert "checkpoint chosen on flickr8kcn val" in text
    assert "chosen" not in printed_table(140, replace(example_results(), trained_on=None, validated_on=None))
    assert "fusion weight 0.85" in text


def test_only_the_report_needs_matplotlib():
    code = (
        "import sys, mlcmr.evaluation.report.examples, mlcmr.evaluation.report.table\n"
        "assert 'matplotlib' not in sys.modules\n"
        "import mlcmr.evaluation.report.html\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
