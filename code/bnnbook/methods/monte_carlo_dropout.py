"""Monte Carlo dropout: a network whose dropout stays on when it predicts.

A mask says which units are dropped; a network with one mask is one draw.  Averaged over masks, the
network can be read as a variational approximation whose weights are either there or not.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, vmap

from ..predictive import ClassificationPredictive
from . import networks
from .side_by_side import probabilities
from .torch_variational import stacked_data


@dataclass(frozen=True)
class DropoutPosterior:
    """A network with dropout layers, read as an approximate posterior over its weights.

    Attributes
    ----------
    model : torch.nn.Module
        The trained network.
    """

    model: nn.Module

    @torch.no_grad()
    def predictive(self, X: np.ndarray, *, draws: int = 100, seed: int) -> ClassificationPredictive:
        """Return the predictive of new inputs from draws of the masks.

        Parameters
        ----------
        X : ndarray, shape (n, …)
            Inputs.
        draws : int
            Number S of masks; each is used for all inputs, so that draws are functions.
        seed : int
            Seed of the masks.

        Returns
        -------
        ClassificationPredictive
            `probs` of shape (draws, n, classes).
        """
        if draws < 1:
            raise ValueError(f"draws must be at least 1, got {draws!r}")
        (inputs,), _ = stacked_data([self.model], [X])
        network = copy.deepcopy(self.model).train()  # in this mode dropout drops
        weights = {name: value.detach() for name, value in network.named_parameters()}

        def run(x: torch.Tensor) -> torch.Tensor:
            return functional_call(network, weights, (x[None],))[0]

        over_inputs = vmap(run, randomness="same")
        over_draws = vmap(lambda _: over_inputs(inputs), randomness="different")
        chunk = max(1, 20_000 // len(inputs))  # draws at once, to bound the memory
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # dropout can draw from the global generator only
            parts = [over_draws(part) for part in torch.zeros(draws).split(chunk)]
        return ClassificationPredictive(probabilities(torch.cat(parts)))

    def features(self, X: np.ndarray) -> np.ndarray:
        """Return what the last layer sees when nothing is dropped, shape (n, features)."""
        return networks.features(self.model, X)


def fit(
    model: nn.Module, X: np.ndarray, y: np.ndarray, *, seed: int, **settings
) -> DropoutPosterior:
    """Train one network: see `fit_many`, of which this is the case of one fit."""
    (posterior,) = fit_many([model], [X], [y], seed=seed, **settings)
    return posterior


def fit_many(
    models: Sequence[nn.Module],
    Xs: Sequence[np.ndarray],
    ys: Sequence[np.ndarray],
    *,
    seed: int,
    **settings,
) -> list[DropoutPosterior]:
    """Train several networks with dropout, in one batched computation.

    Parameters
    ----------
    models : sequence of torch.nn.Module
        Untrained networks with dropout layers, equal but for their starting points.  They are left
        untouched.
    Xs : sequence of ndarray, each of shape (n, …)
        Training inputs of each fit; all of the same shape.
    ys : sequence of ndarray of int, each of shape (n,)
        Training labels of each fit.
    seed : int
        Seed of the shuffles and of the masks; in training, each example has a mask of its own.
    **settings
        `prior_scale`, `steps`, `batch_size` and `learning_rate` of `networks.train`.

    Returns
    -------
    list of DropoutPosterior
        One per model.

    Raises
    ------
    ValueError
        If a model never drops anything, or the models, data or settings cannot be fitted.

    References
    ----------
    Y. Gal, Z. Ghahramani: Dropout as a Bayesian approximation: representing model uncertainty in
    deep learning. ICML 2016.
    """
    for model in models:
        rates = [
            layer.p for layer in model.modules() if isinstance(layer, nn.modules.dropout._DropoutNd)
        ]
        if not any(rate > 0 for rate in rates):
            raise ValueError(
                "the network never drops a unit: give it nn.Dropout layers with p above 0"
            )
    trained = networks.train(models, Xs, ys, seed=seed, **settings)
    return [DropoutPosterior(model) for model in trained]
