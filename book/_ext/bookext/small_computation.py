"""Prints how many seconds a small computation takes here and now, of the kind that chapters make.

A program of its own: in a thread of a process that does other things it would wait for them.
"""

import statistics
import time

import numpy as np


def once() -> float:
    """Time products of small matrices, an elementwise function, and Python's own work."""
    matrix = np.linspace(-1, 1, 2500).reshape(50, 50)
    start = time.perf_counter()
    for _ in range(350):
        np.tanh(matrix @ matrix)
        sum(i * i for i in range(200))
    return time.perf_counter() - start


if __name__ == "__main__":
    once()  # the first one finds cold caches
    # The median: any single one may be interrupted.
    print(statistics.median(once() for _ in range(25)))
