"""Hamiltonian Monte Carlo against exact posteriors."""

import numpy as np
import pytest
import torch

from bnnbook.methods import conjugate, hamiltonian
from bnnbook.methods.diagnostics import effective_sample_size
from bnnbook.predictive import RegressionPredictive

PRIOR = np.array([1.0, 0.5, 2.0])
CHAINS = 8


def data_set(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((12, 3))
    return X, X @ [0.5, -1.0, 2.0] + 0.7 * rng.standard_normal(12)


def predict(w: np.ndarray, X: np.ndarray) -> RegressionPredictive:
    return RegressionPredictive(w @ X.T, np.full((len(w), len(X)), 0.7))


def log_likelihood_of(*sets: tuple[np.ndarray, np.ndarray]):
    Xs, ys = (
        torch.tensor(np.repeat(np.stack(part), CHAINS, axis=0), dtype=torch.float32)
        for part in zip(*sets, strict=True)
    )
    return lambda w: -0.5 * (((ys - (Xs @ w[..., None])[..., 0]) / 0.7) ** 2).sum(1)


def test_converges_to_the_posterior_of_each_data_set() -> None:
    sets = [data_set(0), data_set(1)]
    together = hamiltonian.fit(
        log_likelihood_of(*sets),
        predict,
        prior_scale=PRIOR,
        chains=2 * CHAINS,
        warmup=200,
        draws=500,
        leapfrog_steps=8,
        seed=0,
    )
    assert ((together.acceptance > 0.6) & (together.acceptance < 0.95)).all()
    for (X, y), q in zip(sets, together.split(2), strict=True):
        exact = conjugate.fit(X, y, prior_scale=PRIOR, noise_scale=0.7)
        draws = q.chains.reshape(-1, 3)
        sd = np.sqrt(np.diag(exact.covariance))
        error = sd / np.sqrt(effective_sample_size(q.chains))
        assert np.abs((draws.mean(axis=0) - exact.mean) / error).max() < 4
        np.testing.assert_allclose(draws.std(axis=0), sd, rtol=0.07)
        np.testing.assert_allclose(
            q.predictive(X).variance, exact.exact_predictive(X).variance, rtol=0.05
        )


def test_no_data_give_the_prior() -> None:
    q = hamiltonian.fit(
        lambda w: 0 * w.sum(1),
        predict,
        prior_scale=PRIOR,
        chains=CHAINS,
        draws=500,
        leapfrog_steps=8,
        seed=3,
    )
    np.testing.assert_allclose(q.chains.reshape(-1, 3).std(axis=0), PRIOR, rtol=0.07)


def test_starts_where_it_is_told_and_repeats_itself() -> None:
    start = np.full((CHAINS, 3), 0.3)
    options = {"prior_scale": PRIOR, "start": start, "chains": CHAINS, "warmup": 1, "draws": 2}
    fits = [
        hamiltonian.fit(log_likelihood_of(data_set(0)), predict, **options, seed=0)
        for _ in range(2)
    ]
    np.testing.assert_array_equal(fits[0].chains, fits[1].chains)
    # Two trajectories with the first, small step size do not lead far.
    assert np.abs(fits[0].chains[:, 0] - start).max() < 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prior_scale": [1.0, 0.0, 1.0]}, "positive numbers"),
        ({"draws": 0}, "at least 1"),
        ({"start": np.zeros((2, 3))}, r"start must have shape .*\(8, 3\)"),
    ],
)
def test_bad_settings_are_named(change: dict, message: str) -> None:
    options = {"prior_scale": PRIOR, "chains": CHAINS, "seed": 0} | change
    with pytest.raises(ValueError, match=message):
        hamiltonian.fit(log_likelihood_of(data_set(0)), predict, **options)


def test_bad_log_likelihoods_are_named() -> None:
    options = {"prior_scale": PRIOR, "chains": CHAINS, "seed": 0}
    with pytest.raises(ValueError, match=r"to shape \(8,\), got \(8, 3\)"):
        hamiltonian.fit(lambda w: w, predict, **options)
    with pytest.raises(FloatingPointError, match="not finite at the start"):
        hamiltonian.fit(lambda w: (w / 0).sum(1), predict, **options)
