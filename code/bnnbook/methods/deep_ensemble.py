"""Deep ensembles: networks trained from different starting points, and their average.

Each member is a network with one value for each weight.  The members differ where the data leave
them free to differ, and the average of their probabilities is the prediction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from ..predictive import ClassificationPredictive
from . import networks
from .side_by_side import probabilities


@dataclass(frozen=True)
class DeepEnsemble:
    """Trained networks of one architecture, read as draws.

    Attributes
    ----------
    models : tuple of torch.nn.Module
        The members.  With a single member this is a deterministic network.
    """

    models: tuple[nn.Module, ...]

    def predictive(self, X: np.ndarray) -> ClassificationPredictive:
        """Return the predictive of new inputs, `probs` of shape (members, n, classes)."""
        return ClassificationPredictive(probabilities(networks.outputs(self.models, X)))

    def features(self, X: np.ndarray) -> np.ndarray:
        """Return what each member's last layer sees, shape (members, n, features)."""
        return np.stack([networks.features(model, X) for model in self.models])


def fit(
    models: Sequence[nn.Module], X: np.ndarray, y: np.ndarray, *, seed: int, **settings
) -> DeepEnsemble:
    """Train one ensemble: see `fit_many`, of which this is the case of one fit."""
    (ensemble,) = fit_many([models], [X], [y], seed=seed, **settings)
    return ensemble


def fit_many(
    ensembles: Sequence[Sequence[nn.Module]],
    Xs: Sequence[np.ndarray],
    ys: Sequence[np.ndarray],
    *,
    seed: int,
    **settings,
) -> list[DeepEnsemble]:
    """Train several ensembles of one architecture, in one batched computation.

    Parameters
    ----------
    ensembles : sequence of sequences of torch.nn.Module
        For each fit, its untrained members, which differ by their starting points.  They are left
        untouched.
    Xs : sequence of ndarray, each of shape (n, …)
        Training inputs of each fit, all of the same shape; every member sees all of them.
    ys : sequence of ndarray of int, each of shape (n,)
        Training labels of each fit.
    seed : int
        Seed of the shuffles.
    **settings
        `prior_scale`, `steps`, `batch_size` and `learning_rate` of `networks.train`.

    Returns
    -------
    list of DeepEnsemble
        One per fit.

    Raises
    ------
    ValueError
        If the models, data or settings cannot be fitted.

    References
    ----------
    B. Lakshminarayanan, A. Pritzel, C. Blundell: Simple and scalable predictive uncertainty
    estimation using deep ensembles. NeurIPS 2017.
    """
    if not len(ensembles) == len(Xs) == len(ys):
        raise ValueError(
            "each fit needs members, inputs and labels, got "
            f"{len(ensembles)}, {len(Xs)} and {len(ys)}"
        )
    owner = [i for i, members in enumerate(ensembles) for _ in members]
    if set(owner) != set(range(len(ensembles))):
        raise ValueError("each ensemble needs at least one member, and there must be an ensemble")
    trained = networks.train(
        [model for members in ensembles for model in members],
        [Xs[i] for i in owner],
        [ys[i] for i in owner],
        seed=seed,
        **settings,
    )
    return [
        DeepEnsemble(tuple(model for model, i in zip(trained, owner, strict=True) if i == fit))
        for fit in range(len(ensembles))
    ]
