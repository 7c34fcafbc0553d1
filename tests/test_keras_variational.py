"""Compiled training against `model.fit`, batched draws against calls of the model."""

import numpy as np
import pytest

from bnnbook.methods import keras_variational
from bnnbook.methods._tensorflow import compiled, tf, tf_keras, tfp

tfd = tfp.distributions


def prior(kernel_size, bias_size, dtype=None):
    size = kernel_size + bias_size
    standard = tfd.MultivariateNormalDiag(tf.zeros(size), tf.ones(size))
    return tf_keras.Sequential([tfp.layers.DistributionLambda(lambda _: standard)])


def posterior(kernel_size, bias_size, dtype=None):
    size = kernel_size + bias_size
    parameters = tfp.layers.MultivariateNormalTriL.params_size(size)
    start = tf_keras.initializers.RandomNormal(seed=1)
    return tf_keras.Sequential(
        [
            tfp.layers.VariableLayer(parameters, initializer=start),
            tfp.layers.MultivariateNormalTriL(size),
        ]
    )


def variational(units, **options):
    return tfp.layers.DenseVariational(units, posterior, prior, kl_weight=1 / 100, **options)


def bayesian(*outputs):
    return tf_keras.Sequential(
        [
            tf_keras.layers.BatchNormalization(input_shape=(3,)),
            variational(4, activation="sigmoid"),
            variational(4, activation="sigmoid"),
            *outputs,
        ]
    )


def point(**options):
    return tf_keras.Sequential(
        [
            tf_keras.layers.BatchNormalization(input_shape=(3,)),
            tf_keras.layers.Dense(4, activation="sigmoid", **options),
            tf_keras.layers.Dense(1),
        ]
    )


def squared_error(y, output):
    return (y - output) ** 2


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    X = rng.normal(2, 3, size=(100, 3))
    return X, X @ [0.3, -0.2, 0.1] + 0.1 * rng.normal(size=100)


def trainer(model, batch_size, optimizer=None):
    return keras_variational.Trainer(
        model,
        optimizer=optimizer or tf_keras.optimizers.RMSprop(0.01),
        loss=squared_error,
        batch_size=batch_size,
    )


def test_updates_are_those_of_model_fit(rows):
    # One batch per epoch: then the random order cannot matter.
    X, y = rows
    compiled = trainer(point(), batch_size=100)
    reference = point()
    reference.set_weights(compiled.fit(X, y, epochs=0, seed=3).get_weights())
    reference.compile(optimizer=tf_keras.optimizers.RMSprop(0.01), loss="mse")
    reference.fit(X, y, epochs=7, batch_size=100, verbose=0)
    compiled.fit(X, y, epochs=7, seed=3)
    for ours, theirs in zip(compiled.model.get_weights(), reference.get_weights(), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-5)


def test_kl_is_part_of_the_loss(rows):
    # Without data to speak of, the posterior moves to the prior.
    X, y = rows
    layer = tfp.layers.DenseVariational(
        1, posterior, prior, kl_weight=1.0, kl_use_exact=True, input_shape=(3,)
    )
    compiled = keras_variational.Trainer(
        tf_keras.Sequential([layer]),
        optimizer=tf_keras.optimizers.Adam(0.05),
        loss=lambda y, output: 0 * output,
        batch_size=100,
    )
    compiled.fit(X, y, epochs=400, seed=0)
    q = keras_variational.weight_posterior(layer)
    p = keras_variational.weight_prior(layer)
    assert float(tfd.kl_divergence(q, p)) < 0.01


def test_quick_draws_are_those_of_the_library():
    parameters = tf.Variable(np.random.default_rng(0).normal(size=14), dtype=tf.float32)
    library = tfp.layers.MultivariateNormalTriL(4)
    with tf.GradientTape(persistent=True) as tape:
        quick = keras_variational._Drawn(parameters, 4)
        log_prob = quick.log_prob(quick.draw)
        theirs = library(parameters[None])
        value = tf.stop_gradient(quick.draw)
        noise = tf.stop_gradient(
            tf.linalg.solve(theirs.scale.to_dense()[0], (value - theirs.loc[0])[:, None])
        )
        draw = theirs.loc[0] + tf.linalg.matvec(theirs.scale.to_dense()[0], noise[:, 0])
        their_log_prob = theirs.log_prob(draw[None])[0]
    assert quick.loc.numpy() == pytest.approx(theirs.loc[0].numpy())
    assert quick.scale.to_dense().numpy() == pytest.approx(theirs.scale.to_dense()[0].numpy())
    assert float(log_prob) == pytest.approx(float(their_log_prob), rel=1e-4)
    for ours, other in ((quick.draw, draw), (log_prob, their_log_prob)):
        expected = tape.gradient(other, parameters).numpy()
        assert tape.gradient(ours, parameters).numpy() == pytest.approx(expected, abs=1e-4)


def test_training_leaves_the_layers_as_they_were(rows):
    model = bayesian(tf_keras.layers.Dense(1))
    before = [layer._posterior for layer in model.layers[1:3]]
    start = [w.copy() for w in model.get_weights()]
    trainer(model, batch_size=50).fit(*rows, epochs=2, seed=0)
    assert [layer._posterior for layer in model.layers[1:3]] == before
    # Each weight has been trained, those of the posteriors too.
    assert not any(np.allclose(a, b) for a, b in zip(start, model.get_weights(), strict=True))


def test_an_epoch_visits_every_row_once_in_batches(rows):
    # With a tiny step the weights hardly move, and the sum of all gradients is what remains.
    X, y = rows
    model = tf_keras.Sequential([tf_keras.layers.Dense(1, input_shape=(3,))])
    optimizer = tf_keras.optimizers.SGD(1e-6)
    compiled = trainer(model, batch_size=25, optimizer=optimizer)
    compiled.fit(X, y, epochs=0, seed=0)
    kernel, bias = model.get_weights()
    residual = X @ kernel[:, 0] + bias - y
    compiled.fit(X, y, epochs=1, seed=0)
    moved = (kernel - model.get_weights()[0])[:, 0] / 1e-6
    assert moved == pytest.approx(4 * 2 * (X.T @ residual) / 100, rel=0.05)


def test_a_smaller_last_batch_is_an_update_too(rows):
    optimizer = tf_keras.optimizers.SGD(1e-6)
    trainer(point(), batch_size=30, optimizer=optimizer).fit(*rows, epochs=5, seed=0)
    assert int(optimizer.iterations) == 5 * 4


def test_training_restarts_and_is_reproducible(rows):
    compiled = trainer(point(), batch_size=30)
    a = [w.copy() for w in compiled.fit(*rows, epochs=3, seed=0).get_weights()]
    b = [w.copy() for w in compiled.fit(*rows, epochs=3, seed=1).get_weights()]
    c = compiled.fit(*rows, epochs=3, seed=0).get_weights()
    assert all(np.array_equal(x, z) for x, z in zip(a, c, strict=True))
    assert not np.allclose(a[4], b[4])


@pytest.mark.parametrize("distributional", [False, True])
def test_batched_draws_equal_calls_of_the_model_with_those_weights(rows, distributional):
    if distributional:
        model = bayesian(tf_keras.layers.Dense(2), tfp.layers.IndependentNormal(1))
    else:
        model = bayesian(tf_keras.layers.Dense(1))
    X = rows[0].astype(np.float32)
    model.layers[0].moving_mean.assign(X.mean(axis=0))
    model.layers[0].moving_variance.assign(X.var(axis=0))
    options = {} if distributional else {"noise_scale": 0.5}
    batched = keras_variational.predictive(model, X, draws=6, seed=9, **options)

    # The same draws, layer by layer; then one ordinary network per draw.
    seeds = np.random.SeedSequence(9).generate_state(4).reshape(2, 2).astype(np.int32)
    first, second = (
        keras_variational.weight_posterior(layer).sample(6, seed=seed).numpy()
        for layer, seed in zip(model.layers[1:3], seeds, strict=True)
    )
    for s in range(6):
        h = model.layers[0](X, training=False)
        h = tf.sigmoid(h @ first[s, :12].reshape(3, 4) + first[s, 12:])
        h = tf.sigmoid(h @ second[s, :16].reshape(4, 4) + second[s, 16:])
        for layer in model.layers[3:]:
            h = layer(h)
        mean = h.mean() if distributional else h
        assert batched.mean[s] == pytest.approx(mean.numpy()[:, 0], abs=1e-5)
        if distributional:
            assert batched.scale[s] == pytest.approx(h.stddev().numpy()[:, 0], abs=1e-5)
        else:
            assert (batched.scale == 0.5).all()


def test_batched_draws_have_the_distribution_of_calls(rows):
    model = bayesian(tf_keras.layers.Dense(1))
    X = rows[0][:4].astype(np.float32)
    batched = keras_variational.predictive(model, X, draws=4000, noise_scale=1.0, seed=0).mean
    # The compiled call makes 1,000 ordinary ones affordable.
    call = tf.function(lambda: model(X, training=False))
    tf.random.set_seed(0)
    called = np.stack([call().numpy()[:, 0] for _ in range(1000)]).astype(float)
    assert batched.mean(axis=0) == pytest.approx(called.mean(axis=0), abs=0.15 * called.std())
    assert np.cov(batched.T) == pytest.approx(np.cov(called.T), rel=0.25)


def test_a_model_without_variational_layers_has_one_draw(rows):
    model = point()
    predictive = keras_variational.predictive(model, rows[0], noise_scale=0.5, seed=0)
    assert predictive.mean == pytest.approx(model(rows[0].astype(np.float32)).numpy().T, abs=1e-5)


def test_bad_input_is_named(rows):
    model = point()
    with pytest.raises(ValueError, match="noise_scale is None"):
        keras_variational.predictive(model, rows[0], seed=0)
    output = bayesian(tf_keras.layers.Dense(2), tfp.layers.IndependentNormal(1))
    with pytest.raises(ValueError, match="which has its own"):
        keras_variational.predictive(output, rows[0], noise_scale=1.0, seed=0)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        trainer(model, batch_size=0)
    with pytest.raises(ValueError, match="100 and 99"):
        trainer(model, batch_size=10).fit(rows[0], rows[1][:99], epochs=1, seed=0)


def test_a_compiled_loop_is_traced_once_and_is_what_the_function_computes() -> None:
    traces = []

    @compiled([tf.TensorSpec((None,), tf.float32), tf.TensorSpec((), tf.int32)])
    def total(x, times):
        traces.append(x)
        result = tf.constant(0.0)
        for _ in tf.range(times):
            result += tf.reduce_sum(x)
        return result

    assert total(tf.constant([1.0, 2.0]), tf.constant(3)) == 9
    assert total(tf.constant([1.0, 2.0, 3.0]), tf.constant(0)) == 0
    assert len(traces) == 1
