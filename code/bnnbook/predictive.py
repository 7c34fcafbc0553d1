"""The two predictives: what every method in this book ends in.

A predictive holds one distribution per draw of the weights, draws first and data second.  Averaged
over the draws it is the posterior predictive distribution

    p(y* | x*, D) = E_{w ~ p(w | D)} [ p(y* | x*, w) ]  ≈  1/S Σ_s p(y* | x*, w_s).

The average is over *distributions*, so a regression predictive is a mixture of Normals, not a
Normal, and its intervals are quantiles of that mixture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import entr, log_ndtr, logsumexp, ndtr, ndtri


@dataclass(frozen=True)
class RegressionPredictive:
    """A mixture of Normals for each data point, in the target's units.

    Attributes
    ----------
    mean, scale : ndarray, shape (draws, n)
        Mean and standard deviation of p(y* | x*, w_s) for draw s and data point x*.

    Raises
    ------
    ValueError
        If the shapes differ, a value is not finite, or a scale is not positive.
    """

    mean: np.ndarray
    scale: np.ndarray

    def __post_init__(self) -> None:
        """Check shapes and values, and store float64 arrays."""
        mean, scale = (np.asarray(a, dtype=float) for a in (self.mean, self.scale))
        if mean.ndim != 2 or mean.shape != scale.shape or mean.size == 0:
            raise ValueError(
                "mean and scale must have the same shape (draws, n) with at least one of each, got "
                f"{mean.shape} and {scale.shape}; one single draw is mean[None, :]"
            )
        if not (np.isfinite(mean).all() and np.isfinite(scale).all() and (scale > 0).all()):
            raise ValueError(
                "mean must be finite and scale finite and positive; "
                f"smallest scale {scale.min():g}, {np.isnan(mean).sum()} means are NaN"
            )
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "scale", scale)

    @property
    def draws(self) -> int:
        """Number of draws S."""
        return len(self.mean)

    @property
    def expectation(self) -> np.ndarray:
        """E[y* | x*, D], shape (n,)."""
        return self.mean.mean(axis=0)

    @property
    def epistemic(self) -> np.ndarray:
        """Variance of the draws' means, shape (n,), squared units: what more data would shrink."""
        return self.mean.var(axis=0)

    @property
    def aleatoric(self) -> np.ndarray:
        """Mean of the draws' variances, shape (n,), squared units: noise that stays."""
        return (self.scale**2).mean(axis=0)

    @property
    def variance(self) -> np.ndarray:
        """Var[y* | x*, D] = epistemic + aleatoric (law of total variance), shape (n,)."""
        return self.epistemic + self.aleatoric

    def checked(self, y: np.ndarray) -> np.ndarray:
        """Return the targets of the predictive's data points as an array.

        Raises
        ------
        ValueError
            If they are not n finite numbers.
        """
        y = np.asarray(y)
        if y.shape != self.mean.shape[1:] or not np.isfinite(y).all():
            raise ValueError(
                f"targets must be {self.mean.shape[1]} finite numbers, got shape {y.shape}: {y!r}"
            )
        return y

    def cdf(self, y: np.ndarray) -> np.ndarray:
        """Return P(y* ≤ y) under the mixture.

        Parameters
        ----------
        y : array_like, shape (n,) or broadcastable to it
            Values of the target.

        Returns
        -------
        ndarray, shape (n,)
        """
        return ndtr((y - self.mean) / self.scale).mean(axis=0)

    def log_prob(self, y: np.ndarray) -> np.ndarray:
        """Return the log of the mixture's density at y, shape (n,), in nats per unit of y."""
        z = (y - self.mean) / self.scale
        log_density = -0.5 * z**2 - np.log(self.scale) - 0.5 * np.log(2 * np.pi)
        return logsumexp(log_density, axis=0) - np.log(self.draws)

    def log_mass(self, y: np.ndarray, width: float = 1.0) -> np.ndarray:
        """Return the log of the mixture's probability of y ± width/2, shape (n,), in nats.

        Computed in the tail where both ends lie on the same side, so that it does not underflow.
        """
        # Mirror every draw to the lower tail: there the two log CDFs do not round to zero.
        distance = -np.abs(y - self.mean)
        upper = log_ndtr((distance + width / 2) / self.scale)
        lower = log_ndtr((distance - width / 2) / self.scale)
        log_mass = upper + np.log1p(-np.exp(lower - upper))
        return logsumexp(log_mass, axis=0) - np.log(self.draws)

    def quantile(self, probability: float) -> np.ndarray:
        """Return the mixture's quantile for each data point, by Newton's method within a bracket.

        Parameters
        ----------
        probability : float in (0, 1)
            The quantile's probability.

        Returns
        -------
        ndarray, shape (n,)
            Newton's last step is below a ten-thousandth of the widest component's scale.
        """
        if not 0 < probability < 1:
            raise ValueError(f"probability must be between 0 and 1, got {probability!r}")
        # The mixture's quantile lies between the smallest and the largest of its components'.
        components = self.mean + self.scale * ndtri(probability)
        lower, upper = components.min(axis=0), components.max(axis=0)
        tolerance = 1e-4 * self.scale.max(axis=0)
        new = np.clip(self.expectation + np.sqrt(self.variance) * ndtri(probability), lower, upper)
        step = np.inf
        while np.any(np.abs(step) > tolerance):
            y = new
            z = (y - self.mean) / self.scale
            excess = ndtr(z).mean(axis=0) - probability
            lower, upper = np.where(excess < 0, y, lower), np.where(excess < 0, upper, y)
            density = (np.exp(-0.5 * z**2) / self.scale).mean(axis=0) / np.sqrt(2 * np.pi)
            new = y - excess / np.maximum(density, np.finfo(float).tiny)
            new = np.where((lower <= new) & (new <= upper), new, (lower + upper) / 2)
            step = new - y
        return new

    def interval(self, level: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
        """Return the central interval of the mixture that holds `level` of its probability.

        Parameters
        ----------
        level : float in (0, 1)
            Probability inside the interval.

        Returns
        -------
        lower, upper : ndarray, shape (n,)
        """
        if not 0 < level < 1:
            raise ValueError(f"level must be between 0 and 1, got {level!r}")
        return self.quantile((1 - level) / 2), self.quantile((1 + level) / 2)

    def single_draw(self, s: int) -> RegressionPredictive:
        """Return draw s alone, as a predictive of one draw."""
        return RegressionPredictive(self.mean[s : s + 1], self.scale[s : s + 1])


@dataclass(frozen=True)
class ClassificationPredictive:
    """Class probabilities for each draw and data point.

    Attributes
    ----------
    probs : ndarray, shape (draws, n, classes)
        p(y* = c | x*, w_s).

    Raises
    ------
    ValueError
        If the shape is wrong, or the last axis does not hold probabilities that sum to 1.
    """

    probs: np.ndarray

    def __post_init__(self) -> None:
        """Check that the last axis holds probabilities, and store a float64 array."""
        probs = np.asarray(self.probs, dtype=float)
        if probs.ndim != 3 or probs.size == 0:
            raise ValueError(
                f"probs must have shape (draws, n, classes), got {probs.shape}; "
                "one single draw is probs[None]"
            )
        total = np.einsum("snc->sn", probs)  # a quarter of the time of `sum` over a short axis
        if not (probs >= 0).all() or not np.allclose(total, 1, atol=1e-4):
            raise ValueError(
                "probs must be non-negative and sum to 1 over the classes; smallest "
                f"{probs.min():g}, sums from {total.min():g} to {total.max():g}: apply a softmax"
            )
        # Frameworks compute in float32; the entropies below are of exact probabilities.
        object.__setattr__(self, "probs", probs / total[..., None])

    @property
    def draws(self) -> int:
        """Number of draws S."""
        return len(self.probs)

    @property
    def expectation(self) -> np.ndarray:
        """p(y* = c | x*, D), shape (n, classes): the average of the draws' probabilities."""
        return self.probs.mean(axis=0)

    @property
    def classes(self) -> np.ndarray:
        """The most probable class of each data point, shape (n,)."""
        return self.expectation.argmax(axis=-1)

    @property
    def entropy(self) -> np.ndarray:
        """Entropy of the averaged probabilities, shape (n,), nats: the whole uncertainty."""
        return entr(self.expectation).sum(axis=-1)

    @property
    def aleatoric(self) -> np.ndarray:
        """Mean of the draws' entropies, shape (n,), nats: what stays if the weights were known."""
        return entr(self.probs).sum(axis=-1).mean(axis=0)

    @property
    def epistemic(self) -> np.ndarray:
        """Mutual information of class and weights, shape (n,), nats: how much the draws disagree.

        Equal to entropy - aleatoric; never negative but for rounding, which is clipped.
        """
        return np.maximum(self.entropy - self.aleatoric, 0)

    def checked(self, y: np.ndarray) -> np.ndarray:
        """Return the labels of the predictive's data points as an array of integers.

        Raises
        ------
        ValueError
            If they are not n integers in 0..classes - 1.
        """
        y = np.asarray(y)
        _, n, classes = self.probs.shape
        if y.shape != (n,) or not np.issubdtype(y.dtype, np.integer):
            raise ValueError(f"labels must be {n} integers, got shape {y.shape} of {y.dtype}")
        if y.min() < 0 or y.max() >= classes:
            raise ValueError(f"labels must lie in 0..{classes - 1}, got {y.min()}..{y.max()}")
        return y

    def log_prob(self, y: np.ndarray) -> np.ndarray:
        """Return the log of the averaged probability of each label, shape (n,), in nats."""
        y = self.checked(y)
        with np.errstate(divide="ignore"):  # probability 0 of what happened scores -inf: say so
            return np.log(self.expectation[np.arange(len(y)), y])

    def single_draw(self, s: int) -> ClassificationPredictive:
        """Return draw s alone, as a predictive of one draw."""
        return ClassificationPredictive(self.probs[s : s + 1])


Predictive = RegressionPredictive | ClassificationPredictive


def concatenate(parts: Sequence[Predictive], axis: str) -> Predictive:
    """Join predictives of the same kind.

    Parameters
    ----------
    parts : sequence of RegressionPredictive or of ClassificationPredictive
        What to join.
    axis : {"draws", "data"}
        "draws" pools the draws of several fits of the same data points (an equal-weight mixture if
        each has the same number of draws); "data" puts the data points of several test sets, for
        instance the folds of a cross-validation, behind one another.

    Returns
    -------
    RegressionPredictive or ClassificationPredictive
    """
    if axis not in ("draws", "data"):
        raise ValueError(f"axis must be 'draws' or 'data', got {axis!r}")
    if len({type(part) for part in parts}) != 1:
        raise ValueError("concatenate needs one or more predictives, all of the same kind")
    position = ("draws", "data").index(axis)
    if isinstance(parts[0], RegressionPredictive):
        return RegressionPredictive(
            np.concatenate([part.mean for part in parts], axis=position),
            np.concatenate([part.scale for part in parts], axis=position),
        )
    return ClassificationPredictive(np.concatenate([part.probs for part in parts], axis=position))
