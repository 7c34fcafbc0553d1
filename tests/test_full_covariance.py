"""Full-covariance variational inference against closed forms and a library."""

import numpy as np
import pytest

from bnnbook.methods import full_covariance
from bnnbook.methods._tensorflow import tf, tfp

tfd = tfp.distributions


def constant_noise(outputs, log_noise):
    return tfd.Normal(outputs[..., 0], tf.exp(log_noise))


def noise_per_example(outputs, log_noise):
    return tfd.Normal(outputs[..., 0], tf.exp(log_noise + outputs[..., 1]))


def negative_elbo(likelihood, y, kl, n):
    return kl / n - tf.reduce_mean(likelihood.log_prob(y))


def fit(X, y, **options):
    defaults = {"likelihood": constant_noise, "loss": negative_elbo, "seed": 0}
    return full_covariance.fit(X, y, **defaults | options)


@pytest.fixture(scope="module")
def line():
    """Few, correlated and noisy data: the posterior is wide, skewed and felt by the prior."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(12, 2)) @ np.array([[1, 0.8], [0, 0.6]]) + [3, -2]
    return X, X @ [1, 0.5] + rng.normal(0, 1.5, 12)


@pytest.fixture(scope="module")
def linear_posterior(line):
    return fit(*line, hidden=(), steps=6000, batch_size=48, learning_rate=0.02)


def closed_form(X, y, log_noise, prior_scale=1.0):
    """Posterior of the standardised linear model, given its noise scale."""
    design = np.column_stack([(X - X.mean(axis=0)) / X.std(axis=0), np.ones(len(X))])
    variance = np.exp(2 * log_noise)
    covariance = np.linalg.inv(design.T @ design / variance + np.eye(3) / prior_scale**2)
    return covariance @ design.T @ ((y - y.mean()) / y.std()) / variance, covariance


def test_one_linear_layer_converges_to_the_exact_posterior(line, linear_posterior):
    mean, covariance = closed_form(*line, linear_posterior.log_noise)
    (layer,) = linear_posterior.layers
    deviation = np.sqrt(np.diag(covariance))
    assert np.abs(layer.mean - mean).max() < 0.1 * deviation.min()
    found = layer.tril @ layer.tril.T
    scaled = (found - covariance) / np.outer(deviation, deviation)
    assert np.abs(scaled).max() < 0.1
    # A posterior without correlations would miss this by far.
    assert abs(covariance[0, 1] / deviation[0] / deviation[1]) > 0.3


def test_predictive_is_in_the_units_of_the_target(line, linear_posterior):
    X, y = line
    mean, covariance = closed_form(X, y, linear_posterior.log_noise)
    new = np.array([[3.0, -2.0], [6.0, 1.0]])
    design = np.column_stack([(new - X.mean(axis=0)) / X.std(axis=0), np.ones(2)])
    predictive = linear_posterior.predictive(new, draws=20_000, seed=0)
    deviation = y.std() * np.sqrt(np.einsum("ij,jk,ik->i", design, covariance, design))
    assert predictive.expectation == pytest.approx(
        y.mean() + y.std() * design @ mean, abs=0.1 * deviation.min()
    )
    assert np.sqrt(predictive.epistemic) == pytest.approx(deviation, rel=0.08)
    assert predictive.scale == pytest.approx(y.std() * np.exp(linear_posterior.log_noise))


def test_kl_equals_the_library():
    rng = np.random.default_rng(0)
    mean, tril = rng.normal(size=5), np.tril(rng.normal(size=(5, 5)))
    np.fill_diagonal(tril, np.abs(np.diag(tril)) + 0.1)
    mean, tril = tf.constant(mean, tf.float32), tf.constant(tril, tf.float32)
    q = tfd.MultivariateNormalTriL(mean, tril)
    p = tfd.MultivariateNormalDiag(tf.zeros(5), 0.3 * tf.ones(5))
    expected = float(tfd.kl_divergence(q, p))
    assert float(full_covariance.kl_to_prior(mean, tril, 0.3)) == pytest.approx(expected, rel=1e-5)


def test_forward_equals_one_network_per_draw():
    rng = np.random.default_rng(0)
    units, X = (3, 4, 2), rng.normal(size=(5, 3))
    weights = [rng.normal(size=(6, k)) for k in ((3 + 1) * 4, (4 + 1) * 2)]
    batched = full_covariance.forward(
        [tf.constant(w, tf.float32) for w in weights], units, tf.constant(X, tf.float32)
    )
    for s in range(6):
        first, second = (w[s] for w in weights)
        h = 1 / (1 + np.exp(-(X @ first[:12].reshape(3, 4) + first[12:])))
        assert batched[s].numpy() == pytest.approx(
            h @ second[:8].reshape(4, 2) + second[8:], abs=1e-5
        )


@pytest.fixture(scope="module")
def fan():
    rng = np.random.default_rng(2)
    X = rng.uniform(-2, 2, size=(600, 1))
    return X, np.sin(2 * X[:, 0]) + np.exp(0.5 * X[:, 0] - 1) * rng.standard_normal(600)


def test_a_network_learns_a_curve_and_its_noise(fan):
    options = {"outputs": 2, "likelihood": noise_per_example, "steps": 1500}
    # Some starts end in a bend less, however long they train; the bound knows which.
    fits = {seed: fit(*fan, **options, seed=seed) for seed in range(6)}
    seed = min(fits, key=lambda seed: fits[seed].loss_trace[-1])
    posterior = fits[seed]
    x = np.array([[-1.5], [-0.5], [0.5], [1.5]])
    predictive = posterior.predictive(x, draws=200, seed=0)
    assert predictive.expectation == pytest.approx(np.sin(2 * x[:, 0]), abs=0.25)
    assert np.sqrt(predictive.aleatoric) == pytest.approx(np.exp(0.5 * x[:, 0] - 1), rel=0.3)
    assert posterior.loss_trace[-1] < posterior.loss_trace[0]
    # Same seed, same result; and the compiled function is shared.
    again = fit(*fan, **options, seed=seed).predictive(x, draws=200, seed=0)
    assert np.array_equal(predictive.mean, again.mean)


def test_a_narrow_prior_keeps_the_weights(fan):
    posterior = fit(*fan, prior_scale=0.01, steps=1500, learning_rate=0.02)
    assert max(np.abs(layer.mean).max() for layer in posterior.layers) < 0.1
    predictive = posterior.predictive(fan[0], draws=50, seed=0)
    assert predictive.expectation == pytest.approx(fan[1].mean(), abs=0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": np.ones((5, 2))}, r"columns \[0, 1\] of X constant"),
        ({"y": np.ones(5)}, "y constant"),
        ({"y": np.ones(4)}, r"\(5, 2\), \(4,\)"),
        ({"y": np.array([0, 1, np.nan, 2, 3])}, "finite"),
        ({"draws": 5}, "even"),
    ],
)
def test_bad_input_is_named(change, message):
    rng = np.random.default_rng(0)
    good = {"X": rng.normal(size=(5, 2)), "y": rng.normal(size=5)}
    with pytest.raises(ValueError, match=message):
        fit(**good | change)


def test_divergence_is_named(line):
    with pytest.raises(FloatingPointError, match="lower learning_rate"):
        fit(*line, steps=100, learning_rate=1e6)
