"""Draws are computed in chunks: none is lost, none is drawn twice, memory does not grow."""

import numpy as np
import pytest

from bnnbook.methods import _chunks, full_covariance, keras_variational
from bnnbook.methods._chunks import chunks
from bnnbook.methods._tensorflow import tf, tf_keras, tfp

X = np.random.default_rng(0).standard_normal((30, 2))


def test_chunks_cover_all_draws_once() -> None:
    values = _chunks.LARGEST // 3  # three draws at a time
    assert [range(10)[part] for part in chunks(10, values)] == [
        range(3),
        range(3, 6),
        range(6, 9),
        range(9, 10),
    ]


def test_one_draw_may_be_larger_than_a_chunk() -> None:
    assert chunks(2, 10 * _chunks.LARGEST) == [slice(0, 1), slice(1, 2)]


def test_no_draw_is_refused() -> None:
    with pytest.raises(ValueError, match="draws must be at least 1, got 0"):
        chunks(0, 1)


@pytest.fixture(scope="module")
def full() -> full_covariance.VariationalPosterior:
    return full_covariance.fit(
        X,
        X @ [1.0, -1.0],
        hidden=(3,),
        likelihood=lambda outputs, log_noise: tfp.distributions.Normal(
            outputs[..., 0], tf.exp(log_noise)
        ),
        loss=lambda likelihood, y, kl, n: kl / n - tf.reduce_mean(likelihood.log_prob(y)),
        steps=20,
        seed=0,
    )


@pytest.fixture(scope="module")
def keras() -> tf_keras.Sequential:
    def posterior(kernel_size, bias_size, dtype=None):
        size = kernel_size + bias_size
        parameters = tfp.layers.MultivariateNormalTriL.params_size(size)
        layers = [tfp.layers.VariableLayer(parameters), tfp.layers.MultivariateNormalTriL(size)]
        return tf_keras.Sequential(layers)

    def prior(kernel_size, bias_size, dtype=None):
        normal = tfp.distributions.MultivariateNormalDiag(tf.zeros(kernel_size + bias_size))
        return tf_keras.Sequential([tfp.layers.DistributionLambda(lambda _: normal)])

    hidden = tfp.layers.DenseVariational(
        3, posterior, prior, activation="sigmoid", input_shape=(2,)
    )
    return tf_keras.Sequential([hidden, tf_keras.layers.Dense(1)])


@pytest.mark.parametrize("method", ["full", "keras"])
def test_draws_of_different_chunks_differ(method, request, monkeypatch) -> None:
    posterior = request.getfixturevalue(method)

    def predict(draws):
        if method == "full":
            return posterior.predictive(X, draws=draws, seed=1)
        return keras_variational.predictive(posterior, X, draws=draws, noise_scale=1.0, seed=1)

    at_once = predict(4000)
    monkeypatch.setattr(_chunks, "LARGEST", 7 * 3 * len(X))  # seven draws at a time
    chunked = predict(4000)
    assert len(np.unique(chunked.mean, axis=0)) == 4000
    spread = at_once.mean.std(axis=0)
    error = spread / np.sqrt(4000)
    assert np.all(np.abs(chunked.expectation - at_once.expectation) < 6 * error)
    assert chunked.mean.std(axis=0) == pytest.approx(spread, rel=0.15)
