"""Keras models with `tfp.layers.DenseVariational`: compiled training, and all draws at once.

`model.fit` calls Python for every batch, and a predictive of S draws by S calls of the model calls
it for every draw.  Here a whole stretch of epochs is one compiled function, and the S draws are one
batched product.  The updates and the draws are the same; the waiting is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from ..predictive import RegressionPredictive
from ..progress import progress
from ._chunks import chunks
from ._tensorflow import compiled, tf, tf_keras, tfp


class Trainer:
    """Trains one model, again and again from new initial values, compiling it once.

    Each epoch visits all examples in a new random order, in batches; the last one may be smaller.
    The layers' own losses, such as the KL term of `DenseVariational`, are added, and
    `BatchNormalization` runs in training mode: these are the updates of `model.fit`.

    Parameters
    ----------
    model : tf_keras.Model
        A new model of inputs of shape (batch, features).
    optimizer : tf_keras.optimizers.Optimizer
        Updates the weights.
    loss : callable
        ``loss(y, model(X))`` returns the loss of each example, or their mean, with y of shape
        (batch, 1).
    batch_size : int
        Number of examples in a batch.
    """

    def __init__(
        self,
        model: tf_keras.Model,
        *,
        optimizer: tf_keras.optimizers.Optimizer,
        loss: Callable,
        batch_size: int,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size!r}")
        self.model = model
        self.optimizer = optimizer
        optimizer.build(model.trainable_variables)
        self._start = model.get_weights()
        self._epochs = _epoch_function(model, optimizer, loss, batch_size)

    def fit(self, X: np.ndarray, y: np.ndarray, *, epochs: int, seed: int) -> tf_keras.Model:
        """Train the model from new initial values.

        Parameters
        ----------
        X : ndarray, shape (n, features)
            Inputs.
        y : ndarray, shape (n,)
            Target.
        epochs : int
            Number of passes over the data.
        seed : int
            Seed of the initial values, of the order of the examples and of the weight draws.

        Returns
        -------
        tf_keras.Model
            The trained model; the next call trains the same object anew.
        """
        if len(X) != len(y):
            raise ValueError(f"X and y must have the same length, got {len(X)} and {len(y)}")
        tf_keras.utils.set_random_seed(seed)
        self._restart(seed)
        data = tf.constant(X, tf.float32), tf.constant(y[:, None], tf.float32)
        stretch = max(1, epochs // 20)
        for first in progress(range(0, epochs, stretch), "training"):
            last = min(first + stretch, epochs)
            self._epochs(*data, *(tf.constant(i) for i in (seed, first, last)))
        return self.model

    def _restart(self, seed: int) -> None:
        """Forget the last training: as at the start, but with new random kernels."""
        # Building the model anew would do, but Keras never frees its graph of symbolic tensors.
        self.model.set_weights(self._start)
        for i, layer in enumerate(self.model.layers):
            if isinstance(layer, tf_keras.layers.Dense):
                kind, settings = (
                    type(layer.kernel_initializer),
                    layer.kernel_initializer.get_config(),
                )
                new = kind.from_config(settings | {"seed": 1000 * seed + i})
                layer.kernel.assign(new(layer.kernel.shape))
        for variable in self.optimizer.variables:
            if variable is not self.optimizer.learning_rate:
                variable.assign(tf.zeros_like(variable))


def predictive(
    model: tf_keras.Sequential,
    X: np.ndarray,
    *,
    draws: int = 100,
    noise_scale: float | None = None,
    seed: int,
) -> RegressionPredictive:
    """Return the predictive of a sequential model, many draws in one batched computation.

    One draw is one draw of *all* layers, used for all inputs.  (A call of the model does the same
    with S = 1.)

    Parameters
    ----------
    model : tf_keras.Sequential
        Its last layer gives the mean of y, or is a `tfp.layers.IndependentNormal`.
    X : ndarray, shape (n, features)
        Inputs.
    draws : int
        Number of weight draws S; a model without variational layers has only one.
    noise_scale : float, optional
        Standard deviation of y around a mean output; the scale is the model's own if its output is
        a distribution, and then this must be left out.
    seed : int
        Seed of the draws.

    Returns
    -------
    RegressionPredictive
        Shape (draws, n), or (1, n) without variational layers.

    Raises
    ------
    ValueError
        If the noise scale is missing, or given although the model has its own.
    """
    *layers, last = model.layers
    if isinstance(last, tfp.layers.IndependentNormal) != (noise_scale is None):
        raise ValueError(
            f"noise_scale is {noise_scale!r}: give one if the model's output is a mean, and none "
            "if it is a distribution, which has its own"
        )
    if noise_scale is not None:
        layers = model.layers
    variational = sum(isinstance(layer, tfp.layers.DenseVariational) for layer in layers)
    if not variational:
        draws = 1
    widest = max(model.input_shape[-1], *(layer.output_shape[-1] for layer in layers))
    parts = chunks(draws, len(X) * widest)
    # Two words for each chunk and variational layer.
    words = np.random.SeedSequence(seed).generate_state(2 * variational * len(parts))
    keys = words.astype(np.int32).reshape(len(parts), variational, 2)
    inputs = tf.constant(X, tf.float32)[None]
    mean, scale = np.empty((2, draws, len(X)))
    for part, part_keys in zip(parts, keys, strict=True):
        h = _hidden(layers, inputs, len(mean[part]), part_keys)
        if noise_scale is None:
            normal = last(tf.reshape(h, (-1, h.shape[-1])))
            mean[part] = tf.reshape(normal.mean(), h.shape[:2]).numpy()
            scale[part] = tf.reshape(normal.stddev(), h.shape[:2]).numpy()
        else:
            mean[part] = h[..., 0].numpy()
            scale[part] = noise_scale
    return RegressionPredictive(mean, scale)


def _hidden(
    layers: Sequence[tf_keras.layers.Layer], inputs: tf.Tensor, draws: int, keys: np.ndarray
) -> tf.Tensor:
    """Run layers for several draws at once, from shape (1, n, features) to (draws, n, units)."""
    h, keys = inputs, iter(keys)
    for layer in layers:
        if isinstance(layer, tfp.layers.DenseVariational):
            w = weight_posterior(layer).sample(draws, seed=next(keys))
            size = h.shape[-1] * layer.units
            kernel = tf.reshape(w[:, :size], (draws, h.shape[-1], layer.units))
            h = layer.activation(tf.matmul(h, kernel) + w[:, None, size:])
        else:
            # Other layers see the examples of all draws behind one another.
            flat = layer(tf.reshape(h, (-1, h.shape[-1])))
            h = tf.reshape(flat, (*h.shape[:2], -1))
    return h


def weight_posterior(layer: tfp.layers.DenseVariational) -> tfp.distributions.Distribution:
    """Return the distribution q(w) of a built layer's kernel, row by row, and then bias."""
    # The layer keeps its posterior model under a private name only; its input does not matter.
    return layer._posterior(tf.zeros((1, 1)))


def weight_prior(layer: tfp.layers.DenseVariational) -> tfp.distributions.Distribution:
    """Return the prior p(w) of a built layer's kernel, row by row, and then bias."""
    return layer._prior(tf.zeros((1, 1)))


class _Drawn(tfp.distributions.MultivariateNormalTriL):
    """A layer's posterior N(m, L Lᵀ), and one draw of it: TensorFlow Probability's, but quick.

    A training step needs nothing of a posterior but one draw w = m + L ε and log q(w), which is
    known from ε.  On the way through the library's bijectors and linear operators these take most
    of the step's operations.
    """

    def __init__(self, parameters: tf.Tensor, k: int) -> None:
        loc, free = tf.split(parameters, [k, k * (k + 1) // 2])
        # As in tfp.math.fill_triangular, and in the library's layer a softplus on the diagonal.
        square = tf.reshape(tf.concat([free[k:], tf.reverse(free, [0])], axis=0), (k, k))
        lower = square * np.tri(k, k, -1, dtype=np.float32)
        diagonal = tf.nn.softplus(tf.reduce_sum(square * np.eye(k, dtype=np.float32), axis=1))
        diagonal += 1e-5
        super().__init__(loc, tf.linalg.set_diag(lower, diagonal))
        noise = tf.random.normal((k,))
        self.draw = loc + tf.linalg.matvec(lower, noise) + diagonal * noise
        self._log_prob_of_draw = (
            -tf.nn.l2_loss(noise) - tf.reduce_sum(tf.math.log(diagonal)) - k / 2 * np.log(2 * np.pi)
        )

    def log_prob(self, value: tf.Tensor) -> tf.Tensor:
        """Return log q of a value; that of the draw is known already."""
        return self._log_prob_of_draw if value is self.draw else super().log_prob(value)


tf.register_tensor_conversion_function(_Drawn, lambda q, *_, **__: q.draw, priority=0)


@contextmanager
def _few_operations(model: tf_keras.Model) -> Iterator[None]:
    """Let the variational layers take their draws from `_Drawn` where it is their family."""
    replaced = {}
    for layer in model.layers:
        q = layer._posterior if isinstance(layer, tfp.layers.DenseVariational) else None
        kinds = [type(part) for part in getattr(q, "layers", ())]
        if kinds == [tfp.layers.VariableLayer, tfp.layers.MultivariateNormalTriL]:
            replaced[layer] = q
            k = layer.units * (layer.input_spec.axes[-1] + layer.use_bias)
            # Past Keras, which would forget the posterior's variables.
            vars(layer)["_posterior"] = lambda _, q=q, k=k: _Drawn(q.trainable_variables[0], k)
    try:
        yield
    finally:
        for layer, q in replaced.items():
            vars(layer)["_posterior"] = q


def _epoch_function(
    model: tf_keras.Model,
    optimizer: tf_keras.optimizers.Optimizer,
    loss: Callable,
    batch_size: int,
) -> Callable:
    """Compile the training from epoch `first` up to epoch `last`."""
    index = tf.TensorSpec((), tf.int32)
    inputs = tf.TensorSpec((None, model.input_shape[-1]), tf.float32)

    # One trace for any number of examples: each further one takes a second and 40 MB.
    @compiled((inputs, tf.TensorSpec((None, 1), tf.float32), *[index] * 3))
    def run(X, y, seed, first, last):
        n = tf.shape(X)[0]
        for epoch in tf.range(first, last):
            key = tf.stack([seed, epoch])
            order = tf.random.experimental.stateless_shuffle(tf.range(n), key)
            shuffled_X, shuffled_y = tf.gather(X, order), tf.gather(y, order)
            for start in tf.range(0, n, batch_size):
                stop = tf.minimum(start + batch_size, n)
                with tf.GradientTape() as tape, _few_operations(model):
                    output = model(shuffled_X[start:stop], training=True)
                    example_loss = tf.reduce_mean(loss(shuffled_y[start:stop], output))
                    value = tf.add_n([example_loss, *model.losses])
                gradient = tape.gradient(value, model.trainable_variables)
                optimizer.apply_gradients(zip(gradient, model.trainable_variables, strict=True))

    return run
