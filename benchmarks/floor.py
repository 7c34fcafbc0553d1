"""Where the time of a step goes, and how much of it no program could save.

The floor of a step is what its random numbers and its matrix products take by themselves, forward
and backward, in NumPy on one thread.  The rest is the handling of many small operations.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from bnnbook import data

from .pairs import DRAWS, IRIS_FIT, WINE_DRAWS, WINE_STEPS, iris_split, wine_split


def wine_step() -> dict:
    """A step of the wine chapter's network, in TensorFlow."""
    from . import wine_network

    split, units, batch = wine_split(0), (11, 8, 8, 1), 64
    steps, draws = WINE_STEPS["proper"], WINE_DRAWS

    def fit():
        wine_network.fit(split.X_train, split.y_train, seed=0, steps=steps, draws=draws)

    fit()
    seconds, sizes = _seconds(fit) / steps, _layer_sizes(units)
    products = [
        product
        for size, inputs, outputs in zip(sizes, units[:-1], units[1:], strict=True)
        for product in (
            ((draws, size), (size, size)),
            ((draws, batch, inputs), (draws, inputs, outputs)),
        )
    ]
    numbers = draws * sum(sizes) // 2 + draws * batch  # ε in pairs ±ε, and the rows of the batches
    return _described(seconds, numbers, products, backward=True)


def iris_step() -> dict:
    """A step of the iris network, in PyTorch."""
    import torch

    from bnnbook.methods import torch_variational

    from . import iris_recipe

    split = iris_split(0)
    network = iris_recipe.network()
    fit = dict(X=split.X_train, y=split.y_train, seed=0, **IRIS_FIT)
    torch_variational.fit(network, **fit | {"steps": 10})
    seconds = _seconds(lambda: torch_variational.fit(network, **fit)) / IRIS_FIT["steps"]
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        torch_variational.fit(network, **fit | {"steps": 20})
    n, draws = len(split.X_train), IRIS_FIT["draws"]
    products = [((n, 4), (draws, 4, 100)), ((draws, n, 100), (draws, 100, 3))]
    described = _described(seconds, draws * 803, products, backward=True)
    return described | {"operations": sum(e.count for e in profile.key_averages()) / 20}


def wine_draws() -> dict:
    """The predictive of the test wines."""
    from . import wine_network

    split, units, draws = wine_split(0), (11, 8, 8, 1), DRAWS["wine"]
    posterior = wine_network.fit(split.X_train, split.y_train, steps=20, seed=0)
    seconds = _seconds(lambda: posterior.predictive(split.X_test, draws=draws, seed=0))
    sizes, n = _layer_sizes(units), len(split.X_test)
    products = [((draws, size), (size, size)) for size in sizes]
    products += [
        ((draws, n, inputs), (draws, inputs, outputs)) for inputs, outputs in pairwise(units)
    ]
    return _described(seconds, draws * sum(sizes), products)


def iris_draws() -> dict:
    """The predictive of all irises."""
    from bnnbook.methods.torch_variational import MeanFieldPosterior

    from . import iris_recipe

    X, draws = data.iris().X, DRAWS["iris"]
    posterior = MeanFieldPosterior(iris_recipe.network())
    seconds = _seconds(lambda: posterior.predictive(X, draws=draws, seed=0))
    products = [((len(X), 4), (draws, 4, 100)), ((draws, len(X), 100), (draws, 100, 3))]
    return _described(seconds, draws * 803, products)


def _layer_sizes(units: tuple[int, ...]) -> list[int]:
    return [(a + 1) * b for a, b in pairwise(units)]


def _described(seconds: float, numbers: int, products: list, backward: bool = False) -> dict:
    """Return what was measured beside its floor, in seconds."""
    rng = np.random.default_rng(0)
    random = _seconds(lambda: rng.standard_normal(numbers, dtype=np.float32))
    matrices = [[rng.standard_normal(shape, dtype=np.float32) for shape in p] for p in products]
    matmul = sum(_seconds(lambda a=a, b=b: np.matmul(a, b)) for a, b in matrices)
    # The gradient of a product is two products of the same size.
    matmul *= 3 if backward else 1
    return {"seconds": seconds, "random_numbers": random, "matrix_products": matmul}


def _seconds(work: Callable, least: float = 0.3) -> float:
    """Return the median seconds of a call, repeated for at least that long."""
    work()
    times: list[float] = []
    while len(times) < 3 or sum(times) < least:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return float(np.median(times))
