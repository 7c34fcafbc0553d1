"""From measured seconds to what is printed and stored: ratios with their spread, exponents."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, median, stdev

import numpy as np

Repeats = Sequence[Mapping]


def ratio_row(
    name: str,
    source: Repeats,
    book: Repeats,
    clocks: tuple[str, str],
    *,
    target: float | None = None,
    scored: bool = True,
) -> dict:
    """Compare what two implementations took, repeat by repeat.

    Parameters
    ----------
    name : str
        What was measured.
    source, book : sequence of dict
        What the functions of `pairs` return, in the order in which they ran in turn.
    clocks : (str, str)
        Names of the source's and the book's seconds.
    target : float, optional
        The ratio that the book wants to reach.
    scored : bool
        Whether both sides say under "fit" what the fit is worth.

    Returns
    -------
    dict
        Medians of the seconds; median, least and greatest ratio; scores as mean and standard error.
    """
    seconds = [
        [run["seconds"][clock] for run in runs]
        for runs, clock in zip((source, book), clocks, strict=True)
    ]
    ratios = [a / b for a, b in zip(*seconds, strict=True)]
    row = {
        "name": name,
        "repeats": len(ratios),
        "source_s": median(seconds[0]),
        "book_s": median(seconds[1]),
        "ratio": median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
        "target": target,
        "scores": {},
    }
    if scored:
        for score in source[0]["fit"]:
            row["scores"][score] = {
                "source": mean_and_error([run["fit"][score] for run in source]),
                "book": mean_and_error([run["fit"][score] for run in book]),
            }
    return row


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and its standard error."""
    error = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return fmean(values), error


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Fit cost = a · size^b, by least squares of the logarithms, and return b.

    Only the larger half of the sizes counts: for small ones the fixed costs dominate.
    """
    half = len(sizes) // 2
    return float(np.polyfit(np.log(sizes[half:]), np.log(costs[half:]), 1)[0])


def score_text(row: dict) -> str:
    """Write the scores of a row in one line: the source's, then the book's."""
    return "; ".join(
        f"{score} {values['source'][0]:.3f} → {values['book'][0]:.3f}"
        for score, values in row["scores"].items()
    )


def table(lines: Sequence[Sequence[str]]) -> str:
    """Align columns for a terminal; the first line is the heading."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = [
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) for line in lines
    ]
    return "\n".join([text[0], "-" * len(text[0]), *text[1:]])
