"""Splits the draws of a predictive into chunks, so that memory does not grow with their number."""

from __future__ import annotations

# Values of one layer, or weights, that are in memory at once: 16 MB as float32.
LARGEST = 2**22


def chunks(draws: int, values: int) -> list[slice]:
    """Return the draws that are computed together, chunk after chunk.

    Parameters
    ----------
    draws : int
        Number of weight draws S.
    values : int
        Numbers that one draw needs at once: data points times units of the widest layer, or its
        weights.

    Raises
    ------
    ValueError
        If there is no draw.
    """
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws!r}")
    size = max(1, LARGEST // max(1, values))
    return [slice(start, min(start + size, draws)) for start in range(0, draws, size)]
