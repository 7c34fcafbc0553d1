"""How time and memory grow with the rows of the data, the width of a network and the draws.

Each point is one fresh process.  Data with more rows are the white wines, drawn again with
replacement: their numbers mean nothing, their size does.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bnnbook import data

from .child import clock, peak_mb

WIDTH = 8  # of the wine network, times 1, 2, 4, …


def epochs(rows: int) -> dict:
    """Train the wine chapter's deterministic network with Keras: the cost of one pass."""
    from bnnbook.methods import keras_variational
    from bnnbook.methods._tensorflow import tf_keras

    model = tf_keras.Sequential(
        [
            tf_keras.layers.BatchNormalization(input_shape=(11,)),
            tf_keras.layers.Dense(WIDTH, activation="sigmoid"),
            tf_keras.layers.Dense(WIDTH, activation="sigmoid"),
            tf_keras.layers.Dense(1),
        ]
    )
    trainer = keras_variational.Trainer(
        model,
        optimizer=tf_keras.optimizers.RMSprop(0.001),
        loss=lambda y, output: (y - output) ** 2,
        batch_size=256,
    )
    X, y = _wines(rows)
    trainer.fit(X[:512], y[:512], epochs=1, seed=0)
    passes = max(1, 500_000 // rows)
    return _measured(lambda: trainer.fit(X, y, epochs=passes, seed=0), per=passes)


def variational_steps(rows: int) -> dict:
    """Train the wine chapter's network for 500 steps."""
    X, y = _wines(rows)
    return _measured(_wine_fit(X, y, width=WIDTH, steps=500))


def full_covariance(width: int) -> dict:
    """Train with a full covariance per layer: the second layer's has (width² + width)² entries."""
    X, y = _wines(4_000)
    return _measured(_wine_fit(X, y, width=width, steps=20), per=20)


def mean_field(width: int) -> dict:
    """Train a torchbnn network with one hidden layer of that many units on the irises."""
    import torch
    import torchbnn as bnn
    from torch import nn

    from bnnbook.methods import torch_variational

    iris = data.iris()
    torch.manual_seed(0)
    network = nn.Sequential(
        bnn.BayesLinear(0, 1.0, in_features=4, out_features=width),
        nn.ReLU(),
        bnn.BayesLinear(0, 1.0, in_features=width, out_features=3),
    )

    def fit():
        torch_variational.fit(network, iris.X, iris.y, steps=100, draws=8, seed=0)

    return _measured(fit, per=100)


def wine_predictive(rows: int, draws: int) -> dict:
    """Ask the wine chapter's network for a predictive: what it takes, and what it returns."""
    X, y = _wines(4_000)
    posterior = _wine_fit(X, y, width=WIDTH, steps=20)()
    new, _ = _wines(rows)
    posterior.predictive(new, draws=1, seed=0)
    before = peak_mb()
    seconds: dict[str, float] = {}
    with clock(seconds, "predictive"):
        predictive = posterior.predictive(new, draws=draws, seed=0)
    returned = (predictive.mean.nbytes + predictive.scale.nbytes) / 2**20
    return {"seconds": seconds["predictive"], "mb": peak_mb() - before, "returned_mb": returned}


def _wines(rows: int) -> tuple[np.ndarray, np.ndarray]:
    white = data.wine("white")
    drawn = np.random.default_rng(0).integers(0, len(white), rows)
    return white.X[drawn], white.y[drawn]


def _wine_fit(X: np.ndarray, y: np.ndarray, *, width: int, steps: int) -> Callable:
    """Return a function that fits, and whose tracing is done."""
    from . import wine_network

    def fit():
        return wine_network.fit(
            X, y, hidden=(width, width), steps=steps, draws=8, learning_rate=0.001, seed=0
        )

    fit()
    return fit


def _measured(work: Callable, per: int = 1) -> dict:
    seconds: dict[str, float] = {}
    with clock(seconds, "all"):
        work()
    return {"seconds": seconds["all"] / per, "mb": peak_mb()}
