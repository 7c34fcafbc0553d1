"""Hamiltonian Monte Carlo in PyTorch: posteriors of many networks, in batched computations.

A draw is found by giving the weights a random push p ~ N(0, I) and following Hamilton's equations
through the landscape U(w) = -log p(w, D) for a few leapfrog steps of size ε,

    p ← p - ½ ε ∇U(w),    w ← w + ε p,    p ← p - ½ ε ∇U(w).

Exact dynamics would keep U(w) + ½ pᵀp; the end point is accepted with the probability that makes up
for the change (Neal 2011).  All chains move together, each with its own data if the caller's log
likelihood says so: one gradient for all of them costs hardly more than one for a single small
network.  `nuts` chooses the length of each trajectory by itself and needs TensorFlow; here the
number of steps is fixed, and the steps' size is tuned during the warm-up.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ..progress import progress
from .elliptical_slice import Predict, SampledPosterior

# Share of accepted proposals for which the step size is tuned, near the best of Neal (2011).
TARGET_ACCEPTANCE = 0.8


@dataclass(frozen=True)
class HamiltonianPosterior(SampledPosterior):
    """Draws from a posterior, and how the sampler fared.

    Attributes
    ----------
    acceptance : ndarray, shape (chains,)
        Mean probability of acceptance after the warm-up: far below 0.8, a chain is stuck.
    step_size : ndarray, shape (chains,)
        ε, in units of the prior's scales.
    """

    acceptance: np.ndarray = field(repr=False)
    step_size: np.ndarray = field(repr=False)

    def split(self, parts: int) -> list[HamiltonianPosterior]:
        """Return the posteriors of several data sets whose chains stand behind one another."""
        pieces = zip(
            *(np.split(a, parts) for a in (self.chains, self.acceptance, self.step_size)),
            strict=True,
        )
        return [
            HamiltonianPosterior(chains, self.predict, acceptance, step_size)
            for chains, acceptance, step_size in pieces
        ]


def fit(
    log_likelihood: Callable[[Tensor], Tensor],
    predict: Predict,
    *,
    prior_scale: np.ndarray,
    start: np.ndarray | None = None,
    chains: int = 4,
    warmup: int = 100,
    draws: int = 100,
    leapfrog_steps: int = 15,
    seed: int,
) -> HamiltonianPosterior:
    """Sample weights from the posterior.

    Parameters
    ----------
    log_likelihood : callable
        Maps weights, a Tensor of float32 and shape (chains, weights), to log p(D | w) of shape
        (chains,), in nats.  Chain i may have its own data.
    predict : callable
        Maps weights of shape (draws, weights) and inputs, both NumPy, to a predictive.
    prior_scale : ndarray, shape (weights,)
        Standard deviations of the prior N(0, diag(prior_scale²)).
    start : ndarray, shape (chains, weights), optional
        Where the chains start, for instance at several trained networks; a draw from the prior,
        which takes a longer warm-up, if not given.
    chains : int
        Number of chains.
    warmup, draws : int
        Trajectories that are thrown away, and draws that are kept per chain.
    leapfrog_steps : int
        Steps, and so gradients, per trajectory.
    seed : int
        Seed of everything random.

    Raises
    ------
    ValueError
        If a setting makes no sense, or the log likelihood has the wrong shape.
    FloatingPointError
        If the log likelihood is not finite where a chain starts.

    References
    ----------
    R. M. Neal: MCMC using Hamiltonian dynamics. Handbook of Markov Chain Monte Carlo, 2011.
    M. D. Hoffman, A. Gelman: The No-U-Turn sampler. JMLR 15, 2014 (the tuning of the step size).
    """
    prior_scale = np.asarray(prior_scale, dtype=np.float32)
    if prior_scale.ndim != 1 or prior_scale.size == 0 or not (prior_scale > 0).all():
        raise ValueError(f"prior_scale must be a vector of positive numbers, got {prior_scale!r}")
    if min(chains, warmup, draws, leapfrog_steps) < 1:
        raise ValueError(
            "chains, warmup, draws and leapfrog_steps must be at least 1, got "
            f"{chains}, {warmup}, {draws} and {leapfrog_steps}"
        )
    shape = (chains, len(prior_scale))
    if start is not None and np.shape(start) != shape:
        raise ValueError(
            f"start must have shape (chains, weights) = {shape}, got {np.shape(start)}"
        )

    scale = torch.from_numpy(prior_scale)
    generator = torch.Generator().manual_seed(seed)
    # The state z = w / scale has a standard Normal prior, so that one step size suits all weights.
    if start is None:
        z = torch.randn(shape, generator=generator)
    else:
        z = torch.from_numpy(np.asarray(start, dtype=np.float32)) / scale

    def log_joint_and_gradient(z: Tensor) -> tuple[Tensor, Tensor]:
        z = z.detach().requires_grad_()
        value = log_likelihood(scale * z)
        if value.shape != (chains,):
            raise ValueError(
                f"log_likelihood must map weights of shape {shape} to shape {(chains,)}, got "
                f"{tuple(value.shape)}"
            )
        value = value - 0.5 * z.square().sum(1)
        (gradient,) = torch.autograd.grad(value.sum(), z)
        return value.detach(), gradient

    current, gradient = log_joint_and_gradient(z)
    if not current.isfinite().all():
        raise FloatingPointError(
            f"the log likelihood of chains {(~current.isfinite()).nonzero().flatten().tolist()} is "
            "not finite at the start; rescale the data or give another start"
        )
    step = _StepSize(chains)
    kept = torch.empty(chains, draws, len(prior_scale))
    acceptance = torch.zeros(chains)
    for trajectory in progress(range(warmup + draws), "Hamiltonian Monte Carlo"):
        # A step size that varies keeps trajectories from closing on themselves (Neal 2011).
        jitter = 0.8 + 0.4 * torch.rand(chains, 1, generator=generator)
        size = jitter * step.size[:, None]
        momentum = torch.randn(shape, generator=generator)
        energy = 0.5 * momentum.square().sum(1) - current
        proposal, proposed_gradient = z, gradient
        for _ in range(leapfrog_steps):
            momentum = momentum + 0.5 * size * proposed_gradient
            proposal = proposal + size * momentum
            proposed, proposed_gradient = log_joint_and_gradient(proposal)
            momentum = momentum + 0.5 * size * proposed_gradient
        change = energy - (0.5 * momentum.square().sum(1) - proposed)
        probability = change.exp().clamp(max=1).nan_to_num(0)  # a diverged trajectory: rejected
        accepted = torch.rand(chains, generator=generator) < probability
        z = torch.where(accepted[:, None], proposal, z)
        gradient = torch.where(accepted[:, None], proposed_gradient, gradient)
        current = torch.where(accepted, proposed, current)
        if trajectory < warmup:
            step.tune(probability, last=trajectory == warmup - 1)
        else:
            kept[:, trajectory - warmup] = z
            acceptance += probability / draws
    return HamiltonianPosterior(
        chains=(scale * kept).numpy().astype(float),
        predict=predict,
        acceptance=acceptance.numpy(),
        step_size=step.size.numpy(),
    )


class _StepSize:
    """The step size of each chain, by dual averaging (Hoffman & Gelman 2014, section 3.2).

    Their γ is 0.05; 0.2 makes the size less restless, which short warm-ups need.
    """

    def __init__(self, chains: int, first: float = 0.02) -> None:
        self.centre = math.log(10 * first)
        self.error = torch.zeros(chains)
        self.average = torch.zeros(chains)  # of the log step size, the late ones counting most
        self.trials = 0
        self.size = torch.full((chains,), first)

    def tune(self, probability: Tensor, *, last: bool) -> None:
        """Make steps smaller where too few proposals are accepted; at the end, take the average."""
        self.trials += 1
        weight = 1 / (self.trials + 10)
        self.error.lerp_(TARGET_ACCEPTANCE - probability, weight)
        log_size = self.centre - math.sqrt(self.trials) / 0.2 * self.error
        self.average.lerp_(log_size, self.trials**-0.75)
        self.size = (self.average if last else log_size).exp()
