"""Variational inference in plain PyTorch: the Normal nearest to a posterior, every term in sight.

The approximate posterior is a Normal over all weights of a model,

    q(w) = N(m, L Lᵀ),   that is   w = m + L ε   with   ε ~ N(0, I),

in one of two families: *mean-field*, where L is diagonal, and *full covariance*, where L is lower
triangular.  With the prior p(w) = N(0, diag(τ²)) the evidence lower bound is

    ELBO(q) = E_q[log p(D | w)] - KL(q ‖ p) = log p(D) - KL(q ‖ p(w | D)).

The KL divergence from the prior is exact; the expectation is estimated by draws of ε, through which
gradients reach m and L (the reparameterisation trick).

References
----------
A. Graves: Practical variational inference for neural networks. NeurIPS 2011.
D. P. Kingma, M. Welling: Auto-encoding variational Bayes. ICLR 2014.
M. Titsias, M. Lázaro-Gredilla: Doubly stochastic variational Bayes for non-conjugate inference.
ICML 2014.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ..predictive import Predictive
from ..progress import progress

# Every optimiser of torch.optim loads PyTorch's compiler; this one has the same updates.
from .torch_variational import Adam

LogLikelihood = Callable[[Tensor], Tensor]
Predict = Callable[[np.ndarray, np.ndarray], Predictive]

FAMILIES = ("mean-field", "full covariance")


@dataclass(frozen=True)
class NormalPosterior:
    """A Normal that stands for the posterior.

    Attributes
    ----------
    mean : ndarray, shape (weights,)
        m.
    root : ndarray, shape (weights,) or (weights, weights)
        L: its diagonal, which is the standard deviations, for mean-field; all of it, lower
        triangular, for full covariance.
    kl : float
        KL(q ‖ prior), in nats.
    expected_log_likelihood : float
        E_q[log p(D | w)], in nats, estimated from fresh draws.
    elbo_error : float
        Standard error of that estimate, and so of the bound.
    trace : ndarray, shape (steps,)
        The noisy estimate of the objective at each step of the training.
    predict : callable
        Maps weights of shape (draws, weights) and inputs to a predictive.
    """

    mean: np.ndarray = field(repr=False)
    root: np.ndarray = field(repr=False)
    kl: float
    expected_log_likelihood: float
    elbo_error: float
    trace: np.ndarray = field(repr=False)
    predict: Predict = field(repr=False)

    @property
    def elbo(self) -> float:
        """The evidence lower bound, in nats; with the true KL weight whatever the temperature."""
        return self.expected_log_likelihood - self.kl

    @property
    def covariance(self) -> np.ndarray:
        """L Lᵀ, shape (weights, weights)."""
        return np.diag(self.root**2) if self.root.ndim == 1 else self.root @ self.root.T

    def sample(self, draws: int, *, seed: int) -> np.ndarray:
        """Draw weights, shape (draws, weights)."""
        noise = np.random.default_rng(seed).standard_normal((draws, len(self.mean)))
        return self.mean + (noise * self.root if self.root.ndim == 1 else noise @ self.root.T)

    def predictive(self, X: np.ndarray, *, draws: int = 1000, seed: int) -> Predictive:
        """Return the predictive of new inputs.

        Parameters
        ----------
        X : ndarray
            Inputs, as `predict` expects them.
        draws : int
            Number S of weight draws.
        seed : int
            Seed of the draws.
        """
        return self.predict(self.sample(draws, seed=seed), X)


def kl_to_prior(mean: Tensor, root: Tensor, prior_scale: Tensor) -> Tensor:
    """Return KL(N(m, L Lᵀ) ‖ N(0, diag(τ²))) in nats, exactly.

    It is  ½ Σ_i [ (m_i² + Σ_j L_ij²) / τ_i² - 1 ] + Σ_i log(τ_i / L_ii).

    Parameters
    ----------
    mean, prior_scale : Tensor, shape (…, weights)
        m and τ.
    root : Tensor, shape (…, weights) or (…, weights, weights)
        The diagonal of L, or L.
    """
    full = root.ndim > mean.ndim
    variance = (root**2).sum(-1) if full else root**2
    diagonal = root.diagonal(dim1=-2, dim2=-1) if full else root
    squares = (mean**2 + variance) / prior_scale**2
    return (0.5 * (squares - 1) + torch.log(prior_scale / diagonal)).sum(-1)


def reparameterised(mean: Tensor, root: Tensor, noise: Tensor) -> Tensor:
    """Return the weights w = m + L ε of all draws.

    Parameters
    ----------
    mean : Tensor, shape (fits, weights)
        m.
    root : Tensor, shape (fits, weights) or (fits, weights, weights)
        The diagonal of L, or L.
    noise : Tensor, shape (draws, weights)
        ε, the same for all fits.

    Returns
    -------
    Tensor, shape (fits, draws, weights)
    """
    if root.ndim > mean.ndim:
        return mean[:, None] + noise @ root.transpose(-1, -2)
    return mean[:, None] + noise * root[:, None]


def fit(
    log_likelihood: LogLikelihood,
    predict: Predict,
    *,
    prior_scale: np.ndarray,
    family: str = "mean-field",
    temperature: float = 1.0,
    steps: int = 2000,
    draws: int = 8,
    learning_rate: float = 0.02,
    seed: int,
) -> NormalPosterior:
    """Fit one Normal: see `fit_many`, of which this is the case of one fit."""
    (posterior,) = fit_many(
        log_likelihood,
        predict,
        prior_scale=np.asarray(prior_scale, dtype=float)[None],
        family=family,
        temperature=temperature,
        steps=steps,
        draws=draws,
        learning_rate=learning_rate,
        seed=seed,
    )
    return posterior


def fit_many(
    log_likelihood: LogLikelihood,
    predict: Predict,
    *,
    prior_scale: np.ndarray,
    family: str = "mean-field",
    temperature: float | np.ndarray = 1.0,
    steps: int = 2000,
    draws: int = 8,
    learning_rate: float = 0.02,
    bound_draws: int = 1000,
    seed: int,
) -> list[NormalPosterior]:
    """Fit several Normals at once, each to its own data, prior or temperature.

    Maximises, by Adam on reparameterised draws with a learning rate that falls to 0 along a cosine,

        E_q[log p(D | w)]  -  T · KL(q ‖ prior),

    which is the evidence lower bound at temperature T = 1.  The means start at a draw from the
    prior, the standard deviations at a tenth of the prior's.  All fits share the noise ε, and a fit
    gives the same result alone and in company.

    Parameters
    ----------
    log_likelihood : callable
        Maps weights, a Tensor of float64 and shape (fits, draws, weights), to log p(D | w) of shape
        (fits, draws), in nats.
    predict : callable
        Maps weights of shape (draws, weights) and inputs, both NumPy, to a predictive.
    prior_scale : ndarray, shape (fits, weights)
        Standard deviations τ of the prior.
    family : {"mean-field", "full covariance"}
        Whether q has independent weights.
    temperature : float or ndarray of shape (fits,)
        T: 1 for Bayes, below 1 for a cold posterior.
    steps, draws : int
        Steps of Adam, and weight draws per step.
    learning_rate : float
        Adam's learning rate at the start, relative to the prior's scale.
    bound_draws : int
        At least so many draws estimate the bound of a finished fit; few, where it is not looked at.
    seed : int
        Seed of the start and of the draws.

    Returns
    -------
    list of NormalPosterior
        One per row of `prior_scale`.

    Raises
    ------
    ValueError
        If a setting makes no sense, or the log likelihood has the wrong shape.
    FloatingPointError
        If a fit diverges.
    """
    prior_scale, temperature = _checked(
        prior_scale,
        family,
        temperature,
        steps=steps,
        draws=draws,
        learning_rate=learning_rate,
        bound_draws=bound_draws,
    )
    fits, weights = prior_scale.shape
    start = np.random.default_rng(seed).standard_normal((fits, weights))
    # The parameters are counted in units of the prior, so that one learning rate suits all weights.
    mean = torch.from_numpy(start).requires_grad_()
    log_scale = torch.full_like(prior_scale, math.log(0.1)).requires_grad_()
    parameters = [mean, log_scale]
    if family == "full covariance":
        lower = torch.zeros(fits, weights, weights, dtype=torch.float64, requires_grad=True)
        parameters.append(lower)

    def mean_and_root() -> tuple[Tensor, Tensor]:
        scale = prior_scale * log_scale.exp()
        if family == "full covariance":
            scale = scale[..., None] * (torch.eye(weights) + lower.tril(-1))
        return prior_scale * mean, scale

    generator = torch.Generator().manual_seed(seed)

    def log_likelihood_of_draws(mean: Tensor, root: Tensor) -> Tensor:
        noise = torch.randn((draws, weights), generator=generator, dtype=torch.float64)
        value = log_likelihood(reparameterised(mean, root, noise))
        if value.shape != (fits, draws):
            raise ValueError(
                f"log_likelihood must map weights of shape {(fits, draws, weights)} to shape "
                f"{(fits, draws)}, got {tuple(value.shape)}"
            )
        return value

    optimiser = Adam(parameters, lr=learning_rate)
    trace = np.empty((steps, fits))
    for step in progress(range(steps), "fitting q"):
        optimiser.lr = learning_rate * (1 + math.cos(math.pi * step / steps)) / 2
        m, L = mean_and_root()
        kl = kl_to_prior(m, L, prior_scale)
        objective = log_likelihood_of_draws(m, L).mean(1) - temperature * kl
        trace[step] = objective.detach().numpy()
        if not np.isfinite(trace[step]).all():
            raise FloatingPointError(
                f"the objective of fits {np.flatnonzero(~np.isfinite(trace[step])).tolist()} is "
                f"not finite at step {step}; lower learning_rate={learning_rate!r}, or rescale the "
                "data"
            )
        optimiser.zero_grad()
        # The fits share no parameter: the gradient of the sum is each fit's own gradient.
        (-objective.sum()).backward()
        optimiser.step()

    with torch.no_grad():
        m, L = mean_and_root()
        kl = kl_to_prior(m, L, prior_scale)
        batches = math.ceil(bound_draws / draws)
        # One array: small results, each kept between two large temporaries, would leave holes that
        # the next temporaries do not fit into, and gigabytes of memory would stay taken.
        values = torch.empty(batches, fits, draws, dtype=torch.float64)
        for batch in values:
            batch.copy_(log_likelihood_of_draws(m, L))
    return [
        NormalPosterior(
            mean=m[i].numpy(),
            root=L[i].numpy(),
            kl=kl[i].item(),
            expected_log_likelihood=values[:, i].mean().item(),
            elbo_error=values[:, i].std().item() / math.sqrt(batches * draws),
            trace=trace[:, i],
            predict=predict,
        )
        for i in range(fits)
    ]


def _checked(
    prior_scale: np.ndarray, family: str, temperature: float | np.ndarray, **positive: float
) -> tuple[Tensor, Tensor]:
    prior_scale = np.asarray(prior_scale, dtype=float)
    if prior_scale.ndim != 2 or prior_scale.size == 0 or not (prior_scale > 0).all():
        raise ValueError(
            "prior_scale must hold positive numbers, one for each weight (of each fit, in "
            f"fit_many), got {prior_scale!r}"
        )
    if family not in FAMILIES:
        raise ValueError(f"unknown family {family!r}; expected 'mean-field' or 'full covariance'")
    temperature = np.asarray(temperature, dtype=float)
    if temperature.shape not in ((), prior_scale.shape[:1]) or not (temperature > 0).all():
        raise ValueError(
            f"temperature must be positive, one number or {len(prior_scale)} of them, got "
            f"{temperature!r}"
        )
    for name, value in positive.items():
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value!r}")
    return torch.from_numpy(prior_scale), torch.from_numpy(temperature)
