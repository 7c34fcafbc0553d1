"""Scores of predictives: how good they are against data, and how far from a reference posterior.

A lower score is better but for `accuracy`; `coverage` should equal its level.  Each function takes
predictives and targets and nothing else, so that every method is judged in the same way.
"""

from __future__ import annotations

import numpy as np

from .predictive import ClassificationPredictive, Predictive, RegressionPredictive


def nll(predictive: Predictive, y: np.ndarray) -> float:
    """Negative log predictive density (or probability of the label), mean over data, nats.

    A proper scoring rule.  For a regression it is a density: its value depends on the target's
    unit, and narrow spikes on integer targets can drive it down without limit; see
    `discretised_nll`.
    """
    return -float(np.mean(predictive.log_prob(predictive.checked(y))))


def discretised_nll(predictive: RegressionPredictive, y: np.ndarray, width: float = 1.0) -> float:
    """Negative log probability of y ± width/2, mean over data, nats.

    The honest form of `nll` for a target that is recorded to a multiple of `width`: it is never
    negative, and spikes do not pay.
    """
    return -float(np.mean(predictive.log_mass(predictive.checked(y), width)))


def crps(predictive: RegressionPredictive, y: np.ndarray) -> float:
    """Continuous ranked probability score of the mixture, mean over data, in the target's unit.

    A proper scoring rule; for a point prediction it is the absolute error (Gneiting & Raftery
    2007).
    """
    return float(np.mean(crps_of_each(predictive, y)))


def crps_of_each(predictive: RegressionPredictive, y: np.ndarray) -> np.ndarray:
    """Continuous ranked probability score of each data point, shape (n,): see `crps`."""
    import scoringrules  # imported here: it costs more than the rest of the package

    y = predictive.checked(y)
    # The closed form compares all pairs of draws: take the data in chunks to bound its memory.
    chunk = max(1, 200_000 // predictive.draws**2)
    per_point = [
        scoringrules.crps_mixnorm(
            y[i : i + chunk],
            predictive.mean[:, i : i + chunk],
            predictive.scale[:, i : i + chunk],
            m_axis=0,
        )
        for i in range(0, len(y), chunk)
    ]
    return np.concatenate(per_point)


def rmse(predictive: RegressionPredictive, y: np.ndarray) -> float:
    """Root mean squared error of the mixture's expectation, in the target's unit."""
    return float(np.sqrt(np.mean((predictive.checked(y) - predictive.expectation) ** 2)))


def coverage(predictive: RegressionPredictive, y: np.ndarray, level: float = 0.9) -> float:
    """Share of the targets inside the central interval of that level."""
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level!r}")
    # A target is inside if its own probability is: the interval's ends need not be found.
    return float(np.mean(np.abs(pit(predictive, y) - 0.5) <= level / 2))


def interval_width(predictive: RegressionPredictive, level: float = 0.9) -> float:
    """Mean width of the central interval of that level, in the target's unit."""
    lower, upper = predictive.interval(level)
    return float(np.mean(upper - lower))


def pit(predictive: RegressionPredictive, y: np.ndarray) -> np.ndarray:
    """Probability integral transform P(y* ≤ y), shape (n,): uniform if the predictive is right."""
    return predictive.cdf(predictive.checked(y))


def accuracy(predictive: ClassificationPredictive, y: np.ndarray) -> float:
    """Share of the data whose most probable class is their label."""
    return float(np.mean(predictive.classes == predictive.checked(y)))


def brier(predictive: ClassificationPredictive, y: np.ndarray) -> float:
    """Squared distance of probabilities and one-hot labels, summed over classes, mean over data.

    A proper scoring rule between 0 and 2 (Brier 1950).
    """
    one_hot = np.eye(predictive.probs.shape[-1])[predictive.checked(y)]
    return float(np.mean(np.sum((predictive.expectation - one_hot) ** 2, axis=-1)))


def ece(predictive: ClassificationPredictive, y: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error of the most probable class, equal-width bins.

    Mean over data of |accuracy - confidence| in the data point's bin (Guo et al. 2017).  Biased
    upwards on small data: a perfect predictive does not score 0.
    """
    y = predictive.checked(y)
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins!r}")
    confidence = predictive.expectation.max(axis=-1)
    gap = (predictive.classes == y) - confidence
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    return float(np.abs(np.bincount(bin_of, weights=gap, minlength=bins)).sum() / len(y))


def agreement(predictive: ClassificationPredictive, reference: ClassificationPredictive) -> float:
    """Share of the data points where both have the same most probable class."""
    _same_points(predictive, reference)
    return float(np.mean(predictive.classes == reference.classes))


def total_variation(
    predictive: ClassificationPredictive, reference: ClassificationPredictive
) -> float:
    """Total variation distance of the averaged class probabilities, mean over data, in [0, 1]."""
    _same_points(predictive, reference)
    gap = np.abs(predictive.expectation - reference.expectation)
    return float(np.mean(0.5 * gap.sum(axis=-1)))


def summary(predictive: Predictive, y: np.ndarray) -> dict[str, float]:
    """Return the scores that the book's tables show, by name.

    Returns
    -------
    dict
        Regression: "RMSE", "NLL", "discretised NLL", "CRPS", "coverage of 90 %", "width of 90 %".
        Classification: "accuracy", "NLL", "Brier", "ECE".
    """
    if isinstance(predictive, RegressionPredictive):
        return {
            "RMSE": rmse(predictive, y),
            "NLL": nll(predictive, y),
            "discretised NLL": discretised_nll(predictive, y),
            "CRPS": crps(predictive, y),
            "coverage of 90 %": coverage(predictive, y, 0.9),
            "width of 90 %": interval_width(predictive, 0.9),
        }
    return {
        "accuracy": accuracy(predictive, y),
        "NLL": nll(predictive, y),
        "Brier": brier(predictive, y),
        "ECE": ece(predictive, y),
    }


def standard_error(values: np.ndarray) -> float:
    """Standard error of the mean of independent repeats, shape (repeats,)."""
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"a standard error needs at least two repeats, got shape {values.shape}")
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def _same_points(a: ClassificationPredictive, b: ClassificationPredictive) -> None:
    if a.probs.shape[1:] != b.probs.shape[1:]:
        raise ValueError(
            "the two predictives must be of the same points and classes, got "
            f"{a.probs.shape[1:]} and {b.probs.shape[1:]}"
        )
