"""The exact posterior of a linear regression against brute force and against a library."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bnnbook.methods import conjugate


def problem(seed=0, n=30, weights=3, noise=0.7):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, weights))
    return X, X @ rng.normal(size=weights) + rng.normal(scale=noise, size=n)


def test_posterior_of_one_weight_by_numerical_integration():
    X, y = problem(weights=1, n=5)
    posterior = conjugate.fit(X, y, prior_scale=0.5, noise_scale=0.7)
    w = np.linspace(-5, 5, 20_001)
    joint = stats.norm(0, 0.5).pdf(w) * stats.norm(X * w, 0.7).pdf(y[:, None]).prod(axis=0)
    evidence = np.trapezoid(joint, w)
    mean = np.trapezoid(w * joint, w) / evidence
    variance = np.trapezoid((w - mean) ** 2 * joint, w) / evidence
    assert posterior.log_evidence == pytest.approx(np.log(evidence))
    assert posterior.mean[0] == pytest.approx(mean)
    assert posterior.covariance[0, 0] == pytest.approx(variance)


@settings(max_examples=25)
@given(st.integers(0, 100), st.integers(0, 12), st.floats(0.1, 3), st.floats(0.2, 2))
def test_evidence_is_the_marginal_density_of_the_targets(seed, n, prior_scale, noise_scale):
    X, y = problem(seed, n=n)
    posterior = conjugate.fit(X, y, prior_scale=prior_scale, noise_scale=noise_scale)
    covariance = noise_scale**2 * np.eye(n) + prior_scale**2 * X @ X.T
    exact = stats.multivariate_normal(np.zeros(n), covariance).logpdf(y) if n else 0.0
    assert posterior.log_evidence == pytest.approx(exact, abs=1e-8)


def test_no_data_give_the_prior():
    posterior = conjugate.fit(
        np.zeros((0, 2)), np.zeros(0), prior_scale=np.array([1.0, 3.0]), noise_scale=1.0
    )
    assert posterior.mean.tolist() == [0, 0]
    np.testing.assert_allclose(posterior.covariance, np.diag([1, 9]), atol=1e-12)


def test_learning_in_two_steps_is_learning_at_once():
    """Yesterday's posterior is today's prior."""
    X, y = problem(weights=1)
    at_once = conjugate.fit(X, y, prior_scale=2.0, noise_scale=0.7)
    first = conjugate.fit(X[:10], y[:10], prior_scale=2.0, noise_scale=0.7)
    shifted = y[10:] - X[10:] @ first.mean
    second = conjugate.fit(
        X[10:], shifted, prior_scale=np.sqrt(np.diag(first.covariance)), noise_scale=0.7
    )
    np.testing.assert_allclose(first.mean + second.mean, at_once.mean)
    np.testing.assert_allclose(second.covariance, at_once.covariance)


def test_draws_have_the_posterior_moments_and_give_the_exact_predictive():
    X, y = problem()
    posterior = conjugate.fit(X, y, prior_scale=1.0, noise_scale=0.7)
    draws = posterior.sample(200_000, seed=0)
    np.testing.assert_allclose(draws.mean(axis=0), posterior.mean, atol=2e-3)
    np.testing.assert_allclose(np.cov(draws.T), posterior.covariance, atol=5e-4)
    new = np.random.default_rng(1).normal(size=(6, 3))
    mixture = posterior.predictive(new, draws=20_000, seed=0)
    exact = posterior.exact_predictive(new)
    np.testing.assert_allclose(mixture.expectation, exact.expectation, atol=0.02)
    np.testing.assert_allclose(mixture.variance, exact.variance, rtol=0.02)


def test_predictive_variance_by_brute_force():
    X, y = problem()
    posterior = conjugate.fit(X, y, prior_scale=1.0, noise_scale=0.7)
    x = np.array([[1.0, -2.0, 0.5]])
    rng = np.random.default_rng(0)
    w = rng.multivariate_normal(posterior.mean, posterior.covariance, size=400_000)
    sampled = w @ x[0] + rng.normal(scale=0.7, size=len(w))
    assert posterior.exact_predictive(x).variance[0] == pytest.approx(sampled.var(), rel=0.01)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.zeros(4)}, r"got \(30, 3\) and \(4,\)"),
        ({"X": np.full((30, 3), np.nan)}, "must be finite"),
        ({"prior_scale": 0.0}, "prior_scale must be positive"),
        ({"prior_scale": np.ones(2)}, "one number or 3 of them"),
        ({"noise_scale": -1.0}, "noise_scale must be positive, got -1.0"),
    ],
)
def test_bad_input_is_named(change, message):
    X, y = problem()
    arguments = {"X": X, "y": y, "prior_scale": 1.0, "noise_scale": 1.0} | change
    with pytest.raises(ValueError, match=message):
        conjugate.fit(arguments.pop("X"), arguments.pop("y"), **arguments)
