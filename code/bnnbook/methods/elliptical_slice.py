"""Elliptical slice sampling: exact draws from a posterior with a Normal prior, without gradients.

The current weights w and a fresh draw v from the prior span an ellipse w cos φ + v sin φ, on which
the prior is constant.  A point of it is accepted if its likelihood exceeds a random level below
that of w; after a miss the bracket of angles shrinks towards w, so that a step always ends
(Murray, Adams & MacKay 2010, https://proceedings.mlr.press/v9/murray10a.html).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ..predictive import Predictive
from ..progress import progress

Predict = Callable[[np.ndarray, np.ndarray], Predictive]


@dataclass(frozen=True)
class SampledPosterior:
    """Draws from a posterior.

    Attributes
    ----------
    chains : ndarray, shape (chains, draws, weights)
        Weights, one sequence for each chain.
    predict : callable
        Maps weights of shape (draws, weights) and inputs to a predictive.
    """

    chains: np.ndarray = field(repr=False)
    predict: Predict = field(repr=False)

    def predictive(self, X: np.ndarray) -> Predictive:
        """Return the posterior predictive of the inputs, all chains and draws pooled."""
        return self.predict(self.chains.reshape(-1, self.chains.shape[-1]), X)


def fit(
    log_likelihood: Callable[[np.ndarray], np.ndarray],
    predict: Predict,
    *,
    prior_scale: np.ndarray,
    chains: int = 4,
    warmup: int = 500,
    draws: int = 500,
    thin: int = 1,
    seed: int,
) -> SampledPosterior:
    """Sample weights from the posterior; all chains' attempts are one batched computation.

    Parameters
    ----------
    log_likelihood : callable
        Maps weights of shape (chains, weights) to log p(D | w) of shape (chains,), in nats.
    predict : callable
        Maps weights of shape (draws, weights) and inputs to a predictive.
    prior_scale : ndarray, shape (weights,)
        Standard deviations of the prior N(0, diag(prior_scale²)).
    chains : int
        Number of independent chains, each started from a draw of the prior.
    warmup, draws, thin : int
        Steps that are thrown away, draws that are kept per chain, and steps per kept draw.
    seed : int
        Seed of everything random.

    Raises
    ------
    ValueError
        If a prior scale is not positive, a count is below 1 (warmup: below 0), or the log
        likelihood has the wrong shape or is NaN.
    """
    prior_scale = np.asarray(prior_scale, dtype=float)
    if prior_scale.ndim != 1 or not (prior_scale > 0).all():
        raise ValueError(f"prior_scale must be a vector of positive numbers, got {prior_scale!r}")
    if min(chains, draws, thin) < 1 or warmup < 0:
        raise ValueError(
            "chains, draws and thin must be at least 1 and warmup at least 0, got "
            f"{chains}, {draws}, {thin} and {warmup}"
        )

    def checked_log_likelihood(w: np.ndarray) -> np.ndarray:
        value = log_likelihood(w)
        if np.shape(value) != (chains,) or np.isnan(value).any():
            raise ValueError(
                f"log_likelihood must return {chains} numbers that are not NaN, one for each "
                f"chain, got {value!r}"
            )
        return value

    rng = np.random.default_rng(seed)
    w = prior_scale * rng.standard_normal((chains, len(prior_scale)))
    current = checked_log_likelihood(w)
    kept = np.empty((chains, draws, len(prior_scale)))
    v = np.empty_like(w)
    level, angle, low, high = np.empty((4, chains))
    done = np.zeros(chains, int)  # steps of each chain
    starting = np.full(chains, True)
    for step in progress(range(warmup + draws * thin), "elliptical slice sampling"):
        # A chain that has found its point goes on to its next step at once: nobody waits for the
        # chain that happens to need the most attempts.
        while done.min() <= step:
            n = starting.sum()
            v[starting] = prior_scale * rng.standard_normal((n, len(prior_scale)))
            level[starting] = current[starting] + np.log(rng.random(n))
            angle[starting] = rng.uniform(0, 2 * np.pi, n)
            low[starting], high[starting] = angle[starting] - 2 * np.pi, angle[starting]
            proposal = w * np.cos(angle)[:, None] + v * np.sin(angle)[:, None]
            proposed = checked_log_likelihood(proposal)
            starting = proposed >= level
            w[starting], current[starting] = proposal[starting], proposed[starting]
            done += starting
            draw, rest = np.divmod(done - warmup, thin)
            keep = starting & (rest == 0) & (draw >= 1) & (draw <= draws)
            kept[keep, draw[keep] - 1] = w[keep]
            low = np.where(angle < 0, angle, low)
            high = np.where(angle >= 0, angle, high)
            angle = rng.uniform(low, high)
    return SampledPosterior(kept, predict)
