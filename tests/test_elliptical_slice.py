"""The sampler converges to posteriors that are known exactly."""

import numpy as np
import pytest

from bnnbook.methods import conjugate, elliptical_slice
from bnnbook.methods.diagnostics import potential_scale_reduction
from bnnbook.predictive import RegressionPredictive

NOISE = 0.5


def linear_problem():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(12, 3))
    return X, X @ np.array([1.0, -0.5, 0.2]) + rng.normal(scale=NOISE, size=12)


def predict(w, X):
    mean = w @ X.T
    return RegressionPredictive(mean, np.full_like(mean, NOISE))


def sample(**options):
    X, y = linear_problem()

    def log_likelihood(w):
        return -0.5 * np.sum(((y - w @ X.T) / NOISE) ** 2, axis=-1)

    settings = {"chains": 8, "warmup": 300, "draws": 2000, "seed": 0} | options
    return elliptical_slice.fit(
        log_likelihood, predict, prior_scale=np.array([1.0, 1.0, 0.3]), **settings
    )


def test_draws_have_the_moments_of_the_exact_posterior():
    X, y = linear_problem()
    exact = conjugate.fit(X, y, prior_scale=np.array([1.0, 1.0, 0.3]), noise_scale=NOISE)
    posterior = sample()
    pooled = posterior.chains.reshape(-1, 3)
    np.testing.assert_allclose(pooled.mean(axis=0), exact.mean, atol=0.02)
    np.testing.assert_allclose(np.cov(pooled.T), exact.covariance, atol=0.004)
    assert (potential_scale_reduction(posterior.chains) < 1.02).all()
    new = np.eye(3)
    np.testing.assert_allclose(
        posterior.predictive(new).variance, exact.exact_predictive(new).variance, rtol=0.05
    )


def test_without_data_it_samples_the_prior():
    posterior = elliptical_slice.fit(
        lambda w: np.zeros(len(w)), predict, prior_scale=np.array([0.5, 2.0]),
        draws=4000, seed=1,
    )  # fmt: skip
    np.testing.assert_allclose(posterior.chains.std(axis=(0, 1)), [0.5, 2.0], rtol=0.05)


def test_the_seed_decides():
    first, again, other = (sample(draws=5, seed=s).chains for s in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_thinning_keeps_every_second_step():
    every = sample(draws=10, warmup=0).chains
    np.testing.assert_array_equal(sample(draws=5, warmup=0, thin=2).chains, every[:, 1::2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prior_scale": np.array([1.0, 0.0])}, "vector of positive numbers"),
        ({"draws": 0}, "at least 1 and warmup at least 0, got 4, 0, 1 and 500"),
        ({"log_likelihood": lambda w: 0.0}, "one for each chain"),
        ({"log_likelihood": lambda w: np.full(len(w), np.nan)}, "not NaN"),
    ],
)
def test_bad_input_is_named(options, message):
    arguments = {
        "log_likelihood": lambda w: np.zeros(len(w)),
        "predict": predict,
        "prior_scale": np.ones(2),
        "seed": 0,
    } | options
    with pytest.raises(ValueError, match=message):
        elliptical_slice.fit(arguments.pop("log_likelihood"), arguments.pop("predict"), **arguments)
