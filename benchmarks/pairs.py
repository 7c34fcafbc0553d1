"""The tutorials' code and the book's, side by side: what each takes, and what it is worth.

Each function runs in a fresh process (see `process`), trains on the training part of a split and is
scored on the rest.  Times leave out the imports and the loading of the data, which both have alike.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

import numpy as np

from bnnbook import data, scores
from bnnbook.predictive import Predictive, RegressionPredictive

from .child import clock

DRAWS = {"wine": 100, "iris": 1000}

# What the book needs to be at least as good as the recipe, and what the wine chapter gives it.
WINE_STEPS = {"book": 300, "proper": 2000}
WINE_DRAWS = 16  # in each of these steps
# Eight weight draws per step instead of one, a narrow start near the prior's mean, and a learning
# rate that falls to zero: an eighth of the steps will do.
IRIS_FIT = dict(steps=350, draws=8, learning_rate=0.08, initial_scale=0.05)
IRIS_START = 0.2  # the factor by which the means at the start are smaller than torchbnn's


def wine_source(seed: int, probabilistic: bool) -> dict:
    """Train and use the published wine network."""
    from . import wine_recipe

    split = wine_split(seed)
    seconds: dict[str, float] = {}
    wine_recipe.tf_keras.utils.set_random_seed(seed)
    with clock(seconds, "fit"):
        model = wine_recipe.fit(
            split.X_train, split.y_train, split.X_test, split.y_test, probabilistic=probabilistic
        )
    for time in ("first", "again"):
        with clock(seconds, f"draws, {time}"):
            mean, scale = wine_recipe.draws(model, split.X_test, DRAWS["wine"])
    return {"seconds": seconds, "fit": quality(RegressionPredictive(mean, scale), split.y_test)}


def wine_book(seed: int, probabilistic: bool, steps: int) -> dict:
    """Train the network of the wine chapter, use it, and train it again."""
    from . import wine_network

    split = wine_split(seed)
    fit = dict(X=split.X_train, y=split.y_train, probabilistic=probabilistic)
    fit |= dict(steps=steps, draws=WINE_DRAWS)
    seconds: dict[str, float] = {}
    with clock(seconds, "fit"):
        posterior = wine_network.fit(seed=seed, **fit)
    for time in ("first", "again"):
        with clock(seconds, f"draws, {time}"):
            predictive = posterior.predictive(split.X_test, draws=DRAWS["wine"], seed=seed)
    with clock(seconds, "fit, traced before"):
        wine_network.fit(seed=seed + 1000, **fit)
    return {"seconds": seconds, "fit": quality(predictive, split.y_test)}


def iris_source(seed: int) -> dict:
    """Train and use the published iris network."""
    from . import iris_recipe

    split = iris_split(seed)
    seconds: dict[str, float] = {}
    iris_recipe.fit(split.X_train, split.y_train, steps=10)  # loads PyTorch's compiler
    iris_recipe.torch.manual_seed(seed)
    with clock(seconds, "fit"):
        model = iris_recipe.fit(split.X_train, split.y_train)
    for flowers, X in {"test": split.X_test, "all": data.iris().X}.items():
        seconds[f"draws, {flowers}"] = _median_seconds(
            lambda X=X: iris_recipe.draws(model, X, DRAWS["iris"])
        )
    return {"seconds": seconds, "fit": _iris_quality(model, split, seed)}


def iris_book(seed: int) -> dict:
    """Train the published iris network, to the published objective, in an eighth of the steps."""
    from bnnbook.methods import torch_variational

    from . import iris_recipe

    split = iris_split(seed)
    seconds: dict[str, float] = {}
    iris_recipe.torch.manual_seed(seed)
    network = iris_recipe.network()
    for name, parameter in network.named_parameters():
        if name.endswith("_mu"):
            parameter.data.mul_(IRIS_START)
    weight = iris_recipe.KL_WEIGHT / _weights(network)  # of the sum; the recipe's is of the mean
    fit = dict(X=split.X_train, y=split.y_train, kl_weight=weight, seed=seed, **IRIS_FIT)
    torch_variational.fit(network, **fit | {"steps": 10})  # loads parts of PyTorch
    with clock(seconds, "fit"):
        posterior = torch_variational.fit(network, **fit)
    for flowers, X in {"test": split.X_test, "all": data.iris().X}.items():
        seconds[f"draws, {flowers}"] = _median_seconds(
            lambda X=X: posterior.predictive(X, draws=DRAWS["iris"], seed=seed)
        )
    return {"seconds": seconds, "fit": _iris_quality(posterior.model, split, seed)}


def progress_bar(seed: int) -> dict:
    """Train the iris network with the progress bar and without, in turn."""
    from bnnbook.methods import torch_variational

    from . import iris_recipe

    split = iris_split(seed)
    seconds: dict[str, float] = {}
    shown = torch_variational.progress
    fit = dict(X=split.X_train, y=split.y_train, draws=1, steps=1000, seed=seed)
    for name, bar in {"first": shown, "with": shown, "without": lambda steps, _: steps}.items():
        torch_variational.progress = bar
        with clock(seconds, name):
            torch_variational.fit(iris_recipe.network(), **fit)
    return {"seconds": seconds}


def _median_seconds(work: Callable, calls: int = 31) -> float:
    """Return the median of several calls, since one of them takes only milliseconds."""
    seconds: dict[str, float] = {}
    for call in range(calls):
        with clock(seconds, str(call)):
            work()
    return median(seconds.values())


def wine_split(seed: int) -> data.Split:
    """Return a random split, 85 to 15, as the recipe makes it."""
    return data.split(data.wine("white"), "random", test_fraction=0.15, seed=seed)


def iris_split(seed: int) -> data.Split:
    """Two thirds of the flowers for training, a third for testing, classes in equal shares."""
    return next(data.cross_validation(data.iris(), folds=3, repeats=1, seed=seed))


def quality(predictive: Predictive, y: np.ndarray) -> dict[str, float]:
    """Return the scores that the tables show."""
    summary = scores.summary(predictive, y)
    return {name: summary[name] for name in ("RMSE", "accuracy", "NLL") if name in summary}


def _iris_quality(model, split: data.Split, seed: int) -> dict[str, float]:
    """Score the held-out flowers, and the objective on the others, both by the same function."""
    from bnnbook.methods.torch_variational import MeanFieldPosterior

    from . import iris_recipe

    posterior = MeanFieldPosterior(model)
    train = posterior.predictive(split.X_train, draws=DRAWS["iris"], seed=seed).probs
    cross_entropy = -np.log(train[:, np.arange(len(split.y_train)), split.y_train]).mean()
    kl = iris_recipe.KL_WEIGHT * posterior.kl / _weights(model)
    test = posterior.predictive(split.X_test, draws=DRAWS["iris"], seed=seed)
    held_out = quality(test, split.y_test)
    return held_out | {"objective": float(cross_entropy + kl)}


def _weights(network) -> int:
    return sum(p.numel() for p in network.parameters()) // 2  # a mean and a scale for each
