"""Bayesian linear regression in closed form: the one network whose posterior can be written down.

With weights w ~ N(0, diag(τ²)) and targets y | X, w ~ N(X w, σ² I) the posterior is Normal,

    A = diag(τ⁻²) + Xᵀ X / σ²,    w | D ~ N(A⁻¹ Xᵀ y / σ², A⁻¹),

the posterior predictive of x* is N(x*ᵀ m, σ² + x*ᵀ A⁻¹ x*), and the evidence is N(y; 0, σ² I +
X diag(τ²) Xᵀ) (Bishop 2006, chapter 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular

from ..predictive import RegressionPredictive


@dataclass(frozen=True)
class ConjugatePosterior:
    """The exact posterior of a linear regression.

    Attributes
    ----------
    mean : ndarray, shape (weights,)
        Posterior mean, which is also the mode (MAP).
    covariance : ndarray, shape (weights, weights)
        Posterior covariance.
    noise_scale : float
        The known standard deviation σ of the targets around the line.
    log_evidence : float
        log p(y | X), in nats: the likelihood averaged over the prior.
    """

    mean: np.ndarray
    covariance: np.ndarray
    noise_scale: float
    log_evidence: float

    def sample(self, draws: int, *, seed: int) -> np.ndarray:
        """Draw weights, shape (draws, weights)."""
        rng = np.random.default_rng(seed)
        root = np.linalg.cholesky(self.covariance)
        return self.mean + rng.standard_normal((draws, len(self.mean))) @ root.T

    def predictive(self, X: np.ndarray, *, draws: int, seed: int) -> RegressionPredictive:
        """Return the posterior predictive as a mixture over drawn weights.

        Parameters
        ----------
        X : ndarray, shape (n, weights)
            New inputs, with the columns of the fit.
        draws : int
            Number S of weight draws.
        seed : int
            Seed of the draws.
        """
        mean = self.sample(draws, seed=seed) @ X.T
        return RegressionPredictive(mean, np.full_like(mean, self.noise_scale))

    def exact_predictive(self, X: np.ndarray) -> RegressionPredictive:
        """Return the posterior predictive in closed form: one Normal for each row of X.

        It has the variance of the mixture of infinitely many draws, but as it is a single
        component all of that variance counts as aleatoric.
        """
        variance = self.noise_scale**2 + np.sum((X @ self.covariance) * X, axis=1)
        return RegressionPredictive((X @ self.mean)[None], np.sqrt(variance)[None])


def fit(
    X: np.ndarray, y: np.ndarray, *, prior_scale: float | np.ndarray, noise_scale: float
) -> ConjugatePosterior:
    """Return the exact posterior of the weights.

    Exact: the one method of the book that needs no seed.  No rows give the prior.

    Parameters
    ----------
    X : ndarray, shape (n, weights)
        Inputs; put a column of ones for an intercept.
    y : ndarray, shape (n,)
        Targets.
    prior_scale : float or ndarray of shape (weights,)
        Prior standard deviation τ of each weight.
    noise_scale : float
        Standard deviation σ of the noise, in the target's unit.

    Raises
    ------
    ValueError
        If shapes do not fit, a value is not finite, or a scale is not positive.
    """
    X, y = np.asarray(X, dtype=float), np.asarray(y, dtype=float)
    if X.ndim != 2 or y.shape != X.shape[:1]:
        raise ValueError(f"X must be (n, weights) and y (n,), got {X.shape} and {y.shape}")
    if not (np.isfinite(X).all() and np.isfinite(y).all()):
        raise ValueError("X and y must be finite; drop or impute missing values first")
    prior_scale = np.asarray(prior_scale, dtype=float)
    if prior_scale.shape not in ((), X.shape[1:]) or not (prior_scale > 0).all():
        raise ValueError(
            f"prior_scale must be positive, one number or {X.shape[1]} of them, got {prior_scale!r}"
        )
    if not noise_scale > 0:
        raise ValueError(f"noise_scale must be positive, got {noise_scale!r}")

    n, weights = X.shape
    prior_scale = np.broadcast_to(prior_scale, weights)
    precision = cho_factor(np.diag(prior_scale**-2.0) + X.T @ X / noise_scale**2, lower=True)
    mean = cho_solve(precision, X.T @ y / noise_scale**2)
    root = solve_triangular(precision[0], np.eye(weights), lower=True)
    log_determinant = 2 * np.sum(np.log(np.diag(precision[0])))
    residual = (y - X @ mean) / noise_scale
    log_evidence = (
        -0.5 * (residual @ residual + np.sum((mean / prior_scale) ** 2) + log_determinant)
        - 0.5 * n * np.log(2 * np.pi)
        - n * np.log(noise_scale)
        - np.sum(np.log(prior_scale))
    )
    return ConjugatePosterior(mean, root.T @ root, float(noise_scale), float(log_evidence))
