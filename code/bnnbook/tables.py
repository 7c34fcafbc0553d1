"""Tables of scores: one row per method, mean and standard error over repeats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from .scores import standard_error


def score_table(
    repeats: Mapping[str, Sequence[Mapping[str, float]]], *, fmt: str = ".3f"
) -> pd.DataFrame:
    """Return a table of "mean ± standard error" for several methods and scores.

    Parameters
    ----------
    repeats : mapping of str to sequence of mappings
        For each method, one `bnnbook.scores.summary` per repeat (split, fold or seed).  A method
        with a single repeat gets the number alone: no uncertainty is known.
    fmt : str
        Format of the numbers.

    Returns
    -------
    DataFrame
        Methods as rows, scores as columns, text in the cells.
    """

    def cell(values: Sequence[float]) -> str:
        mean = format(sum(values) / len(values), fmt)
        return f"{mean} ± {format(standard_error(values), fmt)}" if len(values) > 1 else mean

    return pd.DataFrame(
        {
            method: {score: cell([run[score] for run in runs]) for score in runs[0]}
            for method, runs in repeats.items()
        }
    ).T
