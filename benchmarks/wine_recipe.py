"""The Keras tutorial's wine networks, with their published settings and loops, on the book's data.

Nothing here is made faster: eleven inputs, a `tf.data` pipeline, Keras's own `fit` with a look at
the test wines after each epoch, one call of the model for each weight draw.  That is the point.

References
----------
K. Salama: Probabilistic Bayesian neural networks. Keras examples, 2021.
"""

from __future__ import annotations

import numpy as np

# Loads TensorFlow without its start-up messages.
from bnnbook.methods._tensorflow import tf, tf_keras, tfp

BATCH = 256
LEARNING_RATE = 0.001
UNITS = (8, 8)
EPOCHS, PROBABILISTIC_EPOCHS = 500, 1000


def columns(X: np.ndarray) -> dict[str, np.ndarray]:
    """Return each feature by itself, as the published network takes them."""
    return {f"feature {i}": column[:, None].astype("float32") for i, column in enumerate(X.T)}


def fit(
    X: np.ndarray, y: np.ndarray, X_test: np.ndarray, y_test: np.ndarray, *, probabilistic: bool
) -> tf_keras.Model:
    """Train the published wine network, as Keras's example does.

    Parameters
    ----------
    X, X_test : ndarray, shape (n, 11)
        Measurements of the training and the test wines.
    y, y_test : ndarray, shape (n,)
        Grades; the recipe validates on the test wines after each epoch.
    probabilistic : bool
        Whether the output is a distribution, trained for 1,000 epochs, or a grade, trained for 500.

    Returns
    -------
    tf_keras.Model
        Takes `columns(X)`.
    """
    n = len(y)

    def prior(kernel_size, bias_size, dtype=None):
        size = kernel_size + bias_size
        return tf_keras.Sequential(
            [
                tfp.layers.DistributionLambda(
                    lambda _: tfp.distributions.MultivariateNormalDiag(
                        loc=tf.zeros(size), scale_diag=tf.ones(size)
                    )
                )
            ]
        )

    def posterior(kernel_size, bias_size, dtype=None):
        size = kernel_size + bias_size
        return tf_keras.Sequential(
            [
                tfp.layers.VariableLayer(
                    tfp.layers.MultivariateNormalTriL.params_size(size), dtype=dtype
                ),
                tfp.layers.MultivariateNormalTriL(size),
            ]
        )

    inputs = {name: tf_keras.layers.Input(name=name, shape=(1,)) for name in columns(X[:1])}
    h = tf_keras.layers.concatenate(list(inputs.values()))
    h = tf_keras.layers.BatchNormalization()(h)
    for units in UNITS:
        h = tfp.layers.DenseVariational(
            units=units,
            make_prior_fn=prior,
            make_posterior_fn=posterior,
            kl_weight=1 / n,
            activation="sigmoid",
        )(h)
    if probabilistic:
        outputs = tfp.layers.IndependentNormal(1)(tf_keras.layers.Dense(2)(h))
    else:
        outputs = tf_keras.layers.Dense(1)(h)
    model = tf_keras.Model(inputs=inputs, outputs=outputs)

    def negative_log_likelihood(targets, distribution):
        return -distribution.log_prob(targets)

    model.compile(
        optimizer=tf_keras.optimizers.RMSprop(learning_rate=LEARNING_RATE),
        loss=negative_log_likelihood if probabilistic else tf_keras.losses.MeanSquaredError(),
        metrics=[tf_keras.metrics.RootMeanSquaredError()],
    )
    training = tf.data.Dataset.from_tensor_slices((columns(X), y[:, None].astype("float32")))
    testing = tf.data.Dataset.from_tensor_slices(
        (columns(X_test), y_test[:, None].astype("float32"))
    )
    model.fit(
        training.prefetch(n).cache().shuffle(buffer_size=n).batch(BATCH),
        validation_data=testing.batch(BATCH),
        epochs=PROBABILISTIC_EPOCHS if probabilistic else EPOCHS,
        verbose=0,
    )
    return model


def draws(model: tf_keras.Model, X: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Call the network once for each weight draw.

    Returns
    -------
    mean, scale : ndarray, shape (number, n)
        Of each draw's distribution.  A network without one is given the noise scale that its loss,
        the squared error, implies: the square root of one half.
    """
    examples = {name: tf.constant(column) for name, column in columns(X).items()}
    mean, scale = [], []
    for _ in range(number):
        output = model(examples)
        if hasattr(output, "stddev"):
            mean.append(output.mean().numpy()[:, 0])
            scale.append(output.stddev().numpy()[:, 0])
        else:
            mean.append(output.numpy()[:, 0])
            scale.append(np.full(len(X), np.sqrt(1 / 2)))
    return np.array(mean), np.array(scale)
