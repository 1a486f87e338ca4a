"""The drawings of a report, as SVG with the colours and the font of the page."""

import io
import re
from collections.abc import Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from mlcmr.evaluation import chance
from mlcmr.evaluation.ranks import Ranks

# Matplotlib has only fixed colours. Each part is drawn in a placeholder, which the finished SVG replaces by a
# colour of the page, so that the light and the dark page share a drawing.
_PAGE_COLOURS = {
    "#010101": "ink",
    "#020202": "faint",
    "#030303": "grid",
    "#040404": "t2v",
    "#050505": "v2t",
    "#060606": "third",
    "#070707": "fourth",
    "#080808": "fifth",
}
_INK, _FAINT, _GRID, _T2V, _V2T, *_ = _PAGE_COLOURS
_LINES = list(_PAGE_COLOURS)[3:]

_STYLE: Any = {  # Matplotlib changes this type between versions
    "svg.fonttype": "none",
    "svg.hashsalt": "mlcmr",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _FAINT,
    "axes.labelcolor": _FAINT,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": _FAINT,
    "ytick.color": _FAINT,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "grid.color": _GRID,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
}
# Inches. A drawing is as wide as the screen of a phone, or a third of a large screen, with legible letters.
_WIDTH, _HEIGHT, _TALL = 3.9, 2.6, 3.4
_POINTS = 500  # per line; more are not visible
SMOOTH_FROM = 40
"""The number of logged steps from which losses are drawn as running means."""


@contextmanager
def _page_style() -> Iterator[None]:
    """Draw in the style of the page; the user's own settings of Matplotlib are restored afterwards."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


@_page_style()
def loss_curve(steps: Sequence[float], losses: Sequence[float]) -> str:
    """Draw the training loss by step, and its running mean from `SMOOTH_FROM` steps on."""
    figure, axes = _axes("step", "loss")
    x, y = _thinned(steps), _thinned(losses)
    if len(y) >= SMOOTH_FROM:
        axes.plot(x, y, color=_T2V, alpha=0.3, linewidth=1)
    axes.plot(x, _smoothed(y), color=_T2V, marker=_marker(x), markersize=4)
    axes.set_ylim(bottom=0 if np.nanmin(y, initial=0) >= 0 else None)
    return _svg(figure, "loss")


@_page_style()
def term_curves(steps: Sequence[float], terms: Mapping[str, Sequence[float]]) -> str:
    """Draw the terms of the loss by step, as running means from `SMOOTH_FROM` steps on."""
    figure, axes = _axes("step", "loss")
    for number, (name, values) in enumerate(terms.items()):
        computed = np.isfinite(values)  # a step may have drawn other languages
        x, smooth = _thinned(np.array(steps)[computed]), _smoothed(_thinned(np.array(values)[computed]))
        axes.plot(x, smooth, label=_plain(name), **_line(number), marker=_marker(x), markersize=4)
    axes.set_ylim(bottom=0)
    _legend_above(axes)
    return _svg(figure, "terms")


@_page_style()
def validation_curves(
    epochs: Sequence[float], scores: Mapping[str, Sequence[float]], total: Sequence[float]
) -> str:
    """Draw the validation score of each language by epoch, and mark the epoch with the best total."""
    figure, axes = _axes("epoch", "validation score")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for number, (name, values) in enumerate(scores.items()):
        axes.plot(epochs, values, label=_plain(name), **_line(number), marker="o", markersize=3)
    if np.isfinite(total).any():
        best = epochs[int(np.nanargmax(total))]
        axes.axvline(best, color=_FAINT, linewidth=1, linestyle=":", label="best")
    _legend_above(axes)
    return _svg(figure, "validation")


@_page_style()
def rate_curve(steps: Sequence[float], rates: Sequence[float]) -> str:
    """Draw the learning rate by step."""
    figure, axes = _axes("step", "learning rate")
    axes.plot(_thinned(steps), _thinned(rates), color=_T2V, marker=_marker(steps), markersize=4)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}".replace("e-0", "e-")))
    return _svg(figure, "rate")


@_page_style()
def recall_curves(
    directions: Mapping[str, Ranks], marked: Sequence[int], prefix: str = "", up_to: int = 100
) -> str:
    """Draw R@K by K for each direction, beside chance.

    Args:
        directions: The ranks of each direction, by name.
        marked: The values of K to mark with a dot.
        prefix: The beginning of the ids in the drawing.
        up_to: The last K.
    """
    figure, axes = _axes("K", "R@K in %", height=_TALL)
    for number, (name, ranks) in enumerate(directions.items()):
        last = min(up_to, ranks.candidates)
        cutoffs = np.arange(1, last + 1)
        recalls = ranks.recalls(last)
        axes.plot(cutoffs, recalls, color=_LINES[number], label=name)
        shown = [cutoff for cutoff in marked if cutoff <= last]
        axes.plot(shown, recalls[np.array(shown, int) - 1], "o", color=_LINES[number], markersize=4.5)
        expected = chance.recall_curve(ranks.relevant, ranks.candidates, last)
        axes.plot(cutoffs, expected, color=_LINES[number], linewidth=1.2, linestyle="--")
    axes.plot([], [], color=_FAINT, linewidth=1.2, linestyle="--", label="chance")
    axes.set_xscale("log")
    axes.set_xticks([1, 2, 5, 10, 20, 50, 100], labels=["1", "2", "5", "10", "20", "50", "100"], minor=False)
    axes.set_xticks([], minor=True)
    axes.set_xlim(0.93, 1.08 * max(min(up_to, ranks.candidates) for ranks in directions.values()))
    axes.set_ylim(0, 102)
    _legend_above(axes)
    return _svg(figure, f"{prefix}recall")


@_page_style()
def rank_histogram(name: str, ranks: Ranks, prefix: str = "") -> str:
    """Draw the share of queries by rank, in steps of 1, 2, 5, 10, …, beside chance.

    Args:
        name: The direction.
        ranks: The ranks of the direction.
        prefix: The beginning of the ids in the drawing.
    """
    uppers = [1]
    for decade in range(12):
        uppers += [factor * 10**decade for factor in (2, 5, 10)]
    uppers = [upper for upper in uppers if upper < ranks.candidates] + [ranks.candidates]
    shares = 100 * np.diff([0, *(np.mean(ranks.best <= upper) for upper in uppers)])
    expected = np.diff(
        [0, *chance.recall_curve(ranks.relevant, ranks.candidates, ranks.candidates)[np.array(uppers) - 1]]
    )
    labels = [_bin_label(low + 1, high) for low, high in zip([0, *uppers], uppers, strict=False)]
    without = 100 * np.mean(ranks.relevant == 0)
    if without:
        labels, shares, expected = [*labels, "none"], np.append(shares, without), np.append(expected, without)
    figure, axes = _axes("queries in %", "rank", height=_TALL)
    axes.grid(visible=False, axis="y")
    places = np.arange(len(labels))
    colour = {"t2v": _T2V, "v2t": _V2T}.get(name, _T2V)
    axes.barh(places, shares, color=colour, height=0.72)
    axes.vlines(expected, places - 0.44, places + 0.44, color=_INK, linewidth=1.4)
    top = max(float(shares.max()), float(expected.max()))
    for place, share in enumerate(shares):
        axes.text(1.2 * top, place, f"{share:.1f}", ha="right", va="center", fontsize=9, color=_INK)
    axes.set_yticks(places, labels=labels)
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.2 * top)
    return _svg(figure, f"{prefix}ranks-{name}")


def _bin_label(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def _axes(x: str, y: str, height: float = _HEIGHT) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(visible=True)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.tick_params(length=0)
    return figure, axes


def _legend_above(axes: Axes) -> None:
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0, handlelength=1.4)


def _line(number: int) -> dict[str, Any]:
    dashes = ("-", "--", ":", "-.")
    return {
        "color": _LINES[number % len(_LINES)],
        "linestyle": dashes[number // len(_LINES) % len(dashes)],
    }


def _marker(values: Sized) -> str | None:
    """Return a marker for a line with a single point, which would be invisible."""
    return "o" if len(values) == 1 else None


def _plain(name: str) -> str:
    """Return a label that Matplotlib shows as it is: no formula, no leading underscore, and short."""
    escaped = (name if len(name) <= 20 else f"{name[:19]}…").replace("$", r"\$")
    return f" {escaped}" if escaped.startswith("_") else escaped


def _thinned(values: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return at most `_POINTS` values, each the mean of neighbours."""
    array = np.asarray(values, np.float64)
    if len(array) <= _POINTS:
        return array
    return np.array([part.mean() for part in np.array_split(array, _POINTS)])


def _smoothed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return running means over a twentieth of all values, over fewer at both ends."""
    if not len(values):
        return values
    kernel = np.ones(2 * (len(values) // SMOOTH_FROM) + 1)
    sums = np.convolve(values, kernel, mode="same")
    counts = np.convolve(np.ones(len(values)), kernel, mode="same")
    means: NDArray[np.float64] = sums / counts
    return means


def _svg(figure: Figure, name: str) -> str:
    """Return the drawing as an element of a page; `name` makes its ids unique on the page."""
    drawn = io.StringIO()
    # Without date and creator, the same input gives the same bytes.
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(drawn, format="svg", transparent=True, metadata=metadata)
    svg = drawn.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg, count=2)
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    for placeholder, colour in _PAGE_COLOURS.items():
        svg = svg.replace(placeholder, f"var(--{colour})")
    return svg
