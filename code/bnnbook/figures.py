"""The book's figures: one style, legible in a light and in a dark page, each with alt text.

A chapter draws with Matplotlib between `subplots` and `show`::

    figure, axes = figures.subplots()
    figures.band(axes, x, predictive, label="posterior predictive")
    figures.show(figure, alt="The band widens where there are no wines: …")

A figure that the reader can move is handed over by `live` instead, with the data that the page's
script needs.

Figures are shown as inline SVG whose lines and letters take the page's text colour.  Colours are
told apart by marker or line style too, so that nothing depends on colour alone.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import re
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from cycler import cycler
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .predictive import ClassificationPredictive, RegressionPredictive

# Dark enough for white paper and light enough for a dark page: contrast above 3:1 on both.
BLUE, ORANGE, GREEN, PURPLE, GREY = "#3a82c4", "#d1700a", "#1f9a6d", "#b35fa0", "#7f858d"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, GREY)
LINES = ("-", "--", "-.", ":", (0, (6, 2)))
MARKERS = ("o", "s", "^", "D", "v")

# A colour that nothing else uses: `show` replaces it by the page's text colour.
INK = "#0a0b0c"

_STYLE = {
    "font.family": "sans-serif",
    "font.size": 11,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.labelsize": 11,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.prop_cycle": cycler(color=COLOURS) + cycler(linestyle=LINES),
    "lines.linewidth": 2,
    "patch.edgecolor": INK,
    "boxplot.flierprops.color": INK,
    # Dense scatters are rasterised inside the SVG: sharp at twice the usual screen resolution.
    "savefig.dpi": 200,
    "svg.fonttype": "none",
    "svg.hashsalt": "bnnbook",
}


def subplots(
    rows: int = 1, columns: int = 1, *, width: float = 7.0, height: float = 3.6, **options
) -> tuple[Figure, Axes | np.ndarray]:
    """Return a new figure in the book's style, and its axes.

    Parameters
    ----------
    rows, columns : int
        Grid of axes.
    width, height : float
        Size in inches; 7 inches fill the text column.
    **options
        Passed to `matplotlib.figure.Figure.subplots`, for instance ``sharey=True``.

    Returns
    -------
    figure : Figure
    axes : Axes or ndarray of Axes
    """
    # Not pyplot: its figures live until they are closed, and would be shown a second time.
    matplotlib.rcParams.update(_STYLE)
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **options)


def show(figure: Figure, *, alt: str) -> None:
    """Show a figure in the page, with a text that stands for it.

    Parameters
    ----------
    figure : Figure
        From `subplots`.
    alt : str
        What one sees and what it means, in one or two sentences, for readers who do not see it.

    Raises
    ------
    ValueError
        If the text is too short to say both.
    """
    alt = " ".join(alt.split())
    page = {"text/html": f'<div class="figure-svg">{svg(figure, alt=alt)}</div>', "text/plain": alt}
    display(page, raw=True)


def live(
    name: str, data: Mapping, *, still: Figure, alt: str, later: Mapping | None = None
) -> None:
    """Show a figure that the reader can move in the book's pages; elsewhere, its still.

    A notebook shows the still, and so do paper, e-readers and browsers without JavaScript.

    Parameters
    ----------
    name, data, still, alt, later
        See `frame`.
    """
    alt = " ".join(alt.split())
    page = frame(name, data, still=still, alt=alt, later=later)
    display({"text/html": page, "text/plain": alt}, raw=True)


def frame(
    name: str, data: Mapping, *, still: Figure, alt: str, later: Mapping | None = None
) -> str:
    """Return the still of a live figure as an element, with the data that its script needs.

    The build of the pages takes the data out again; a page loads them with the script.

    Parameters
    ----------
    name : str
        The script ``book/live/<name>.js``.
    data : mapping
        What the chapter computed: numbers, texts, arrays, and sequences and mappings of these.
        Six digits of a number are kept; arrays of uint8 and float16 are packed as they are.
    still : Figure
        From `subplots`: what one sees before moving anything.
    alt : str
        As for `show`, of the still.
    later : mapping, optional
        As `data`; loaded when the reader first touches the figure.

    Raises
    ------
    ValueError
        If the text is too short, or a number is not finite.
    """
    parts = [svg(still, alt=alt), _script(data, "data")]
    if later is not None:
        parts.append(_script(later, "later"))
    return f'<div class="figure-svg live" data-live="{name}">{"".join(parts)}</div>'


def svg(figure: Figure, *, alt: str) -> str:
    """Return a figure as an SVG element whose letters and lines take the page's text colour.

    Parameters
    ----------
    figure : Figure
        From `subplots`.
    alt : str
        As for `show`.

    Raises
    ------
    ValueError
        If the text is too short to say what one sees and what it means.
    """
    if len(alt) < 40:
        raise ValueError(f"alt must say what the figure shows and what it means, got {alt!r}")
    figure.patch.set_alpha(0)
    for axes in figure.axes:
        axes.patch.set_alpha(0)
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return _inline_svg(file.getvalue(), alt)


def band(
    axes: Axes,
    x: np.ndarray,
    predictive: RegressionPredictive,
    *,
    label: str,
    level: float = 0.9,
    colour: str = BLUE,
    line: str = "-",
) -> None:
    """Draw a predictive along one input: its expectation as a line, its interval as a band.

    Parameters
    ----------
    axes : Axes
        Where to draw.
    x : ndarray, shape (n,)
        Sorted values of the input, one per data point of the predictive.
    predictive : RegressionPredictive
        What to draw.
    label : str
        Legend entry of the line.
    level : float
        Probability inside the band.
    colour, line : str
        Colour and line style.
    """
    lower, upper = predictive.interval(level)
    axes.fill_between(x, lower, upper, color=colour, alpha=0.22, linewidth=0)
    axes.plot(x, predictive.expectation, color=colour, linestyle=line, label=label)


def class_scatter(
    axes: Axes, x: np.ndarray, y: np.ndarray, labels: np.ndarray, names: Sequence[str], **options
) -> None:
    """Draw points of several classes, each class with its own colour and marker.

    Parameters
    ----------
    axes : Axes
        Where to draw.
    x, y : ndarray, shape (n,)
        Positions.
    labels : ndarray of int, shape (n,)
        Class of each point.
    names : sequence of str
        Name of each class, for the legend.
    **options
        Passed to `Axes.scatter`.
    """
    for c, name in enumerate(names):
        chosen = labels == c
        axes.scatter(
            x[chosen], y[chosen], c=COLOURS[c], marker=MARKERS[c], label=name, **{"s": 26} | options
        )


def reliability(
    axes: Axes,
    predictive: ClassificationPredictive,
    y: np.ndarray,
    *,
    bins: int = 10,
    level: float = 0.9,
    seed: int = 0,
) -> None:
    """Draw a reliability diagram of the most probable class, with its sampling error.

    The bins are those of `bnnbook.scores.ece`; the area of a marker grows with the number of data
    points in its bin.  A bar shows where the marker would lie with probability `level` if each
    prediction were right with exactly the probability that it states.

    Parameters
    ----------
    axes : Axes
        Where to draw.
    predictive : ClassificationPredictive
        What to judge.
    y : ndarray of int, shape (n,)
        Labels.
    bins : int
        Number of equally wide bins between 0 and 1; empty ones are left out.
    level : float in (0, 1)
        Probability inside a bar.
    seed : int
        Seed of the thousand imagined sets of labels behind the bars.

    References
    ----------
    J. Bröcker, L. A. Smith: Increasing the reliability of reliability diagrams. Weather and
    Forecasting 22(3), 2007.
    """
    correct = predictive.classes == predictive.checked(y)
    confidence = predictive.expectation.max(axis=-1)
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    members = (bin_of[:, None] == np.unique(bin_of)).astype(float)
    counts = members.sum(axis=0)
    imagined = np.random.default_rng(seed).random((1000, len(confidence))) < confidence
    tail = (1 - level) / 2
    low, high = np.quantile(imagined @ members / counts, [tail, 1 - tail], axis=0)
    x = confidence @ members / counts
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1)
    axes.vlines(x, low, high, color=GREY, alpha=0.45, linewidth=5)
    axes.scatter(x, correct @ members / counts, s=10 + 2 * counts, color=BLUE, alpha=0.85, zorder=3)


def _script(data: Mapping, kind: str) -> str:
    """Return data as an element that browsers do not show, and notebooks keep."""
    # Within a script element only `</` could end it.
    text = json.dumps(_packed(data), separators=(",", ":"), allow_nan=False).replace("</", r"<\/")
    return f'<script type="application/json" class="live-{kind}">{text}</script>'


def _packed(value: object) -> object:
    """Return a value as JSON knows it; packed arrays become text (base64) with their shape."""
    if isinstance(value, Mapping):
        return {str(key): _packed(part) for key, part in value.items()}
    if isinstance(value, np.ndarray) and value.dtype in (np.uint8, np.float16):
        kind, stored = ("bytes", "u1") if value.dtype == np.uint8 else ("halves", "<f2")
        return {
            kind: base64.b64encode(value.astype(stored).tobytes()).decode("ascii"),
            "shape": list(value.shape),
        }
    if isinstance(value, (np.ndarray, list, tuple)):
        return [_packed(part) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _inline_svg(svg: str, alt: str) -> str:
    """Return Matplotlib's SVG as an element that several figures of one page can share."""
    svg = svg[svg.index("<svg") :].strip()
    # Identifiers must be unique in the page: keep those that something refers to, prefixed.
    prefix = "f" + hashlib.sha256(svg.encode()).hexdigest()[:8] + "-"
    used = set(re.findall(r"(?:href=\"#|url\(#)([^\")]+)", svg))
    svg = re.sub(r' id="([^"]+)"', lambda m: f' id="{prefix}{m[1]}"' if m[1] in used else "", svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\1{prefix}", svg)
    svg = svg.replace(INK, "currentColor")
    fit = 'style="max-width: 100%; height: auto"'  # never wider than the page or the phone
    return svg.replace("<svg", f'<svg role="img" aria-label="{html.escape(alt)}" {fit}', 1)
