"""Acting on uncertainty: which predictions to keep, and how many errors that leaves.

An `uncertainty` is any number per example that grows with doubt, for instance the entropy of a
predictive.  Abstaining keeps the examples whose uncertainty is at most a threshold; the share that
is kept is the coverage, and the error rate among them is the risk.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import binom


class RiskCoverage(NamedTuple):
    """The risk that each threshold leaves, from the most cautious to the one that keeps all.

    Attributes
    ----------
    threshold : ndarray, shape (k,)
        The distinct uncertainties, rising.
    coverage : ndarray, shape (k,)
        Share of the examples whose uncertainty is at most the threshold.
    risk : ndarray, shape (k,)
        Share of errors among these.
    """

    threshold: np.ndarray
    coverage: np.ndarray
    risk: np.ndarray


def risk_coverage(uncertainty: np.ndarray, wrong: np.ndarray) -> RiskCoverage:
    """Return risk and coverage at every threshold that makes a difference.

    Examples of equal uncertainty are kept or refused together: no rule can tell them apart.

    Parameters
    ----------
    uncertainty : ndarray, shape (n,)
        Doubt about each example.
    wrong : ndarray of bool, shape (n,)
        Whether the prediction of each example is an error.

    Returns
    -------
    RiskCoverage

    Raises
    ------
    ValueError
        If the arrays do not fit together, or an uncertainty is not finite.

    References
    ----------
    R. El-Yaniv, Y. Wiener: On the foundations of noise-free selective classification. JMLR 11,
    2010.
    """
    uncertainty, wrong = _checked(uncertainty, wrong)
    threshold, counts = np.unique(uncertainty, return_counts=True)
    kept, errors = np.cumsum(counts), _errors_kept(uncertainty, wrong, threshold)
    return RiskCoverage(threshold, kept / len(wrong), errors / kept)


def guaranteed_threshold(
    uncertainty: np.ndarray,
    wrong: np.ndarray,
    *,
    thresholds: np.ndarray,
    risk: float,
    confidence: float = 0.9,
) -> float:
    """Return the last threshold of a sequence up to which a promised risk is proved.

    The thresholds are tested in order, the most cautious first.  One passes if so few errors among
    what it keeps would have a probability of at most 1 - confidence, were its true risk as high as
    `risk`: the tail of a binomial distribution.  At the first that fails the test stops.  So a
    threshold whose true risk is above `risk` is returned with a probability of at most
    1 - confidence, whatever the model, if the examples are drawn as those to come will be.

    Parameters
    ----------
    uncertainty : ndarray, shape (n,)
        Doubt about each calibration example, none of which the model has been fitted to.
    wrong : ndarray of bool, shape (n,)
        Whether the prediction of each is an error.
    thresholds : ndarray, shape (k,)
        Strictly rising.  They must be fixed without a look at the calibration examples: no
        guarantee holds else.
    risk : float in (0, 1)
        The promised error rate among what is kept.
    confidence : float in (0, 1)
        Probability, over calibration sets, with which the promise is kept.

    Returns
    -------
    float
        The threshold; minus infinity, which keeps nothing, if even the first fails.

    Raises
    ------
    ValueError
        If an array or a setting makes no sense.

    References
    ----------
    Y. Geifman, R. El-Yaniv: Selective classification for deep neural networks. NeurIPS, 2017.
    A. N. Angelopoulos, S. Bates, E. J. Candès, M. I. Jordan, L. Lei: Learn then test: calibrating
    predictive algorithms to achieve risk control. Annals of Applied Statistics 19(2), 2025.
    """
    uncertainty, wrong = _checked(uncertainty, wrong)
    thresholds = np.asarray(thresholds, dtype=float)
    if thresholds.ndim != 1 or thresholds.size == 0 or not (np.diff(thresholds) > 0).all():
        raise ValueError(
            f"thresholds must be a strictly rising vector, the most cautious first, got "
            f"{thresholds!r}; np.unique sorts and drops repeats"
        )
    for name, value in {"risk": risk, "confidence": confidence}.items():
        if not 0 < value < 1:
            raise ValueError(f"{name} must be between 0 and 1, got {value!r}")
    kept = np.searchsorted(np.sort(uncertainty), thresholds, side="right")
    errors = _errors_kept(uncertainty, wrong, thresholds)
    passed = binom.cdf(errors, kept, risk) <= 1 - confidence
    proved = len(thresholds) if passed.all() else int(np.argmin(passed))
    return float(thresholds[proved - 1]) if proved else -np.inf


def _checked(uncertainty: np.ndarray, wrong: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    uncertainty, wrong = np.asarray(uncertainty, dtype=float), np.asarray(wrong)
    if uncertainty.ndim != 1 or uncertainty.size == 0 or uncertainty.shape != wrong.shape:
        raise ValueError(
            "uncertainty and wrong must both have shape (n,) with at least one example, got "
            f"{uncertainty.shape} and {wrong.shape}"
        )
    if not np.isfinite(uncertainty).all():
        raise ValueError(f"{(~np.isfinite(uncertainty)).sum()} uncertainties are not finite")
    if wrong.dtype != bool:
        raise ValueError(
            f"wrong must be an array of bool, got {wrong.dtype}; compare: predicted != y"
        )
    return uncertainty, wrong


def _errors_kept(uncertainty: np.ndarray, wrong: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Count the errors whose uncertainty is at most each threshold."""
    return np.searchsorted(np.sort(uncertainty[wrong]), thresholds, side="right")
