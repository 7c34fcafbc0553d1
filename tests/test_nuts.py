"""The sampler converges to a posterior that is known exactly, and says when it does not."""

import numpy as np
import pytest

from bnnbook.methods import conjugate, nuts
from bnnbook.methods._tensorflow import tf
from bnnbook.predictive import RegressionPredictive

NOISE = 0.5


def linear_problem():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(12, 3))
    return X, X @ np.array([1.0, -0.5, 0.2]) + rng.normal(scale=NOISE, size=12)


def log_joint(w, X, y):
    residual = y - tf.matmul(w, X, transpose_b=True)
    return -0.5 * tf.reduce_sum((residual / NOISE) ** 2, -1) - 0.5 * tf.reduce_sum(w**2, -1)


def predict(w, X):
    mean = w @ X.T
    return RegressionPredictive(mean, np.full_like(mean, NOISE))


def sample(log_joint=log_joint, **options):
    X, y = linear_problem()
    settings = {
        "X": X,
        "y": y,
        "warmup": 200,
        "draws": 500,
        "max_depth": 5,
        "seed": 0,
        "start": np.zeros((4, 3)),
    }
    settings |= options
    return nuts.fit(log_joint, predict, settings.pop("X"), settings.pop("y"), **settings)


@pytest.fixture(scope="module")
def posterior():
    return sample()


def test_draws_have_the_moments_of_the_exact_posterior(posterior):
    X, y = linear_problem()
    exact = conjugate.fit(X, y, prior_scale=1.0, noise_scale=NOISE)
    pooled = posterior.chains.reshape(-1, 3)
    # Four standard errors of 2,000 nearly independent draws.
    np.testing.assert_allclose(
        pooled.mean(axis=0), exact.mean, atol=4 * np.sqrt(np.diag(exact.covariance) / 2000).max()
    )
    np.testing.assert_allclose(np.cov(pooled.T), exact.covariance, atol=0.012)
    new = np.eye(3)
    np.testing.assert_allclose(
        posterior.predictive(new).variance, exact.exact_predictive(new).variance, rtol=0.1
    )


def test_diagnostics_of_a_good_run(posterior):
    good = posterior.diagnostics(np.eye(3))
    assert good["R-hat"] < 1.02 and good["R-hat of log joint"] < 1.02
    assert good["effective sample size"] > 500
    assert good["divergences"] == 0 and good["at maximum depth"] == 0
    assert good["energy fraction"] > 0.3
    assert posterior.chains.shape == (4, 500, 3) and posterior.energy.shape == (4, 500)


def test_halves_of_the_chains(posterior):
    half = posterior.some_chains([0, 2])
    np.testing.assert_array_equal(half.chains, posterior.chains[[0, 2]])
    assert half.predictive(np.eye(3)).draws == 1000


def test_the_seed_decides(posterior):
    np.testing.assert_array_equal(sample().chains, posterior.chains)
    assert not np.array_equal(sample(seed=1).chains, posterior.chains)


def test_chains_that_disagree_are_named():
    def two_modes(w, X, y):
        """Two narrow modes of different height, far apart: no chain crosses."""
        near = -0.5 * tf.reduce_sum(((w - 50) / 0.5) ** 2, -1)
        far = -0.5 * tf.reduce_sum(((w + 50) / 0.5) ** 2, -1) + 30
        return tf.maximum(near, far)

    start = np.array([[50.0] * 3, [50.0] * 3, [-50.0] * 3, [-50.0] * 3])
    with pytest.warns(nuts.DiagnosticWarning, match="R-hat of the log joint is .* sample longer"):
        sample(two_modes, start=start, warmup=100, draws=100)


def test_divergences_are_named():
    def funnel(w, X, y):
        """Neal's funnel: where it is narrow, no step is short enough."""
        log_scale = 3 * w[:, 0]
        rest = (
            -0.5 * tf.reduce_sum((w[:, 1:] / tf.exp(log_scale / 2)[:, None]) ** 2, -1) - log_scale
        )
        return -0.5 * w[:, 0] ** 2 + rest

    with pytest.warns(nuts.DiagnosticWarning, match="divergences: raise target_accept"):
        sample(funnel, start=np.full((4, 3), 0.1), warmup=100, draws=400, target_accept=0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": np.zeros(3)}, r"shape \(chains, weights\), got \(3,\)"),
        ({"draws": 3}, "draws must be at least 4"),
        ({"target_accept": 1.0}, "target_accept between 0 and 1"),
        ({"log_joint": lambda w, X, y: tf.reduce_sum(w)}, "one number for each chain, got"),
        (
            {"log_joint": lambda w, X, y: tf.math.log(0 * tf.reduce_sum(w, -1))},
            "not finite where a chain starts",
        ),
    ],
)
def test_bad_input_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        sample(**options)
