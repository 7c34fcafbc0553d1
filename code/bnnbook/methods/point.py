"""Point estimates, done well: weight decay and early stopping, many networks side by side.

The deterministic network beside a Bayesian one must be trained with as much care.  This module
climbs log p(D | w) + log p(w), whose second term is weight decay, by Adam, and keeps for each
network the weights along the way that were best on data held out from its training.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ..progress import progress

# Every optimiser of torch.optim loads PyTorch's compiler; this one has the same updates.
from .torch_variational import Adam


def fit_many(
    log_likelihood: Callable[[Tensor], Tensor],
    validation_loss: Callable[[Tensor], Tensor],
    *,
    prior_scale: np.ndarray,
    fits: int,
    steps: int = 500,
    learning_rate: float = 0.02,
    seed: int,
) -> np.ndarray:
    """Train several networks, each stopped where its own validation loss was lowest.

    Parameters
    ----------
    log_likelihood : callable
        Maps weights, a Tensor of float32 and shape (fits, weights), to log p(D | w) of shape
        (fits,), in nats.  Fit i may have its own data.
    validation_loss : callable
        Maps the same to the loss on the held-out data of each fit, shape (fits,).
    prior_scale : ndarray, shape (weights,)
        Standard deviations of the prior N(0, diag(prior_scale²)); the fits start at draws from it.
    fits : int
        Number of networks.
    steps : int
        Steps of Adam, whose learning rate falls to 0 along a cosine.
    learning_rate : float
        Learning rate at the start, relative to the prior's scale.
    seed : int
        Seed of the starts.

    Returns
    -------
    ndarray, shape (fits, weights)
        The weights with the lowest validation loss.

    Raises
    ------
    ValueError
        If a setting makes no sense, or a function returns the wrong shape.
    FloatingPointError
        If a fit never has a finite validation loss.
    """
    prior_scale = np.asarray(prior_scale, dtype=np.float32)
    if prior_scale.ndim != 1 or prior_scale.size == 0 or not (prior_scale > 0).all():
        raise ValueError(f"prior_scale must be a vector of positive numbers, got {prior_scale!r}")
    for name, value in {"fits": fits, "steps": steps, "learning_rate": learning_rate}.items():
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value!r}")

    scale = torch.from_numpy(prior_scale)
    generator = torch.Generator().manual_seed(seed)
    # Weights are counted in units of the prior, so that one learning rate suits them all.
    z = torch.randn(fits, len(scale), generator=generator).requires_grad_()
    optimiser = Adam([z], lr=learning_rate)
    best, lowest = torch.zeros_like(z), torch.full((fits,), math.inf)
    for step in progress(range(steps), "training"):
        optimiser.lr = learning_rate * (1 + math.cos(math.pi * step / steps)) / 2
        value = log_likelihood(scale * z)
        with torch.no_grad():
            loss = validation_loss(scale * z)
        if value.shape != (fits,) or loss.shape != (fits,):
            raise ValueError(
                f"log_likelihood and validation_loss must return shape {(fits,)}, got "
                f"{tuple(value.shape)} and {tuple(loss.shape)}"
            )
        better = loss < lowest
        best = torch.where(better[:, None], z.detach(), best)
        lowest = torch.where(better, loss, lowest)
        optimiser.zero_grad()
        # The fits share no parameter: the gradient of the sum is each fit's own gradient.
        (0.5 * z.square().sum() - value.sum()).backward()
        optimiser.step()
    if not lowest.isfinite().all():
        raise FloatingPointError(
            f"fits {(~lowest.isfinite()).nonzero().flatten().tolist()} never had a finite "
            f"validation loss; lower learning_rate={learning_rate!r} or rescale the data"
        )
    return (scale * best).numpy().astype(float)
