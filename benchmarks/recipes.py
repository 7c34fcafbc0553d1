"""The tutorials' recipes, with their published settings and loops, on the book's data.

Nothing here is made faster: eleven inputs and a `tf.data` pipeline, Keras's own `fit`, one call of
the model for each weight draw, one weight draw for each step of PyTorch.  That is the point.

References
----------
K. Salama: Probabilistic Bayesian neural networks. Keras examples, 2021.
"""

from __future__ import annotations

import numpy as np
import torch
import torchbnn as bnn
from torch import nn

# Loads TensorFlow without its start-up messages.
from bnnbook.methods._tensorflow import tf, tf_keras, tfp

WINE_BATCH = 256
WINE_LEARNING_RATE = 0.001
WINE_UNITS = (8, 8)
WINE_EPOCHS, PROBABILISTIC_EPOCHS = 500, 1000
IRIS_UNITS = 100
IRIS_STEPS = 3000
IRIS_LEARNING_RATE = 0.01
IRIS_PRIOR_SCALE = 0.1
IRIS_KL_WEIGHT = 0.01


def columns(X: np.ndarray) -> dict[str, np.ndarray]:
    """Return each feature by itself, as the published network takes them."""
    return {f"feature {i}": column[:, None].astype("float32") for i, column in enumerate(X.T)}


def fit_wine(
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
    for units in WINE_UNITS:
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
        optimizer=tf_keras.optimizers.RMSprop(learning_rate=WINE_LEARNING_RATE),
        loss=negative_log_likelihood if probabilistic else tf_keras.losses.MeanSquaredError(),
        metrics=[tf_keras.metrics.RootMeanSquaredError()],
    )
    training = tf.data.Dataset.from_tensor_slices((columns(X), y[:, None].astype("float32")))
    testing = tf.data.Dataset.from_tensor_slices(
        (columns(X_test), y_test[:, None].astype("float32"))
    )
    model.fit(
        training.prefetch(n).cache().shuffle(buffer_size=n).batch(WINE_BATCH),
        validation_data=testing.batch(WINE_BATCH),
        epochs=PROBABILISTIC_EPOCHS if probabilistic else WINE_EPOCHS,
        verbose=0,
    )
    return model


def wine_draws(model: tf_keras.Model, X: np.ndarray, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """Call the network once for each weight draw.

    Returns
    -------
    mean, scale : ndarray, shape (draws, n)
        Of each draw's distribution.  A network without one is given the noise scale that its loss,
        the squared error, implies: the square root of one half.
    """
    examples = {name: tf.constant(column) for name, column in columns(X).items()}
    mean, scale = [], []
    for _ in range(draws):
        output = model(examples)
        if hasattr(output, "stddev"):
            mean.append(output.mean().numpy()[:, 0])
            scale.append(output.stddev().numpy()[:, 0])
        else:
            mean.append(output.numpy()[:, 0])
            scale.append(np.full(len(X), np.sqrt(1 / 2)))
    return np.array(mean), np.array(scale)


def iris_network(inputs: int = 4, classes: int = 3) -> nn.Sequential:
    """Return the published iris network, untrained."""
    prior = dict(prior_mu=0, prior_sigma=IRIS_PRIOR_SCALE)
    return nn.Sequential(
        bnn.BayesLinear(**prior, in_features=inputs, out_features=IRIS_UNITS),
        nn.ReLU(),
        bnn.BayesLinear(**prior, in_features=IRIS_UNITS, out_features=classes),
    )


def fit_iris(X: np.ndarray, y: np.ndarray) -> nn.Sequential:
    """Train the published iris network: one weight draw per step, all flowers in each step."""
    x, y = torch.from_numpy(X).float(), torch.from_numpy(y).long()
    model = iris_network()
    cross_entropy_loss = nn.CrossEntropyLoss()
    kl_loss = bnn.BKLLoss(reduction="mean", last_layer_only=False)
    optimizer = torch.optim.Adam(model.parameters(), lr=IRIS_LEARNING_RATE)
    for _ in range(IRIS_STEPS):
        cost = cross_entropy_loss(model(x), y) + IRIS_KL_WEIGHT * kl_loss(model)
        optimizer.zero_grad()
        cost.backward()
        optimizer.step()
    return model


def iris_draws(model: nn.Module, X: np.ndarray, draws: int) -> np.ndarray:
    """Call the network once for each weight draw: probabilities of shape (draws, n, classes)."""
    x = torch.from_numpy(X).float()
    with torch.no_grad():
        return np.stack([model(x).softmax(-1).numpy() for _ in range(draws)])
