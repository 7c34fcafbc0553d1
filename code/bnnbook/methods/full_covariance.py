"""Variational inference for a small network, with one full-covariance Normal per layer.

The kernel and the bias of a layer together, a vector w of length k, get the posterior

    q(w) = N(m, L Lᵀ),   that is   w = m + L ε   with   ε ~ N(0, I),

where m and the lower triangular L are trained.  The prior is N(0, τ²) for each entry of w.  The
caller brings the likelihood and the loss; this module brings the family, the exact KL divergence
and the training loop.

References
----------
A. Graves: Practical variational inference for neural networks. NeurIPS 2011.
C. Blundell et al.: Weight uncertainty in neural networks. ICML 2015.
M. Titsias, M. Lázaro-Gredilla: Doubly stochastic variational Bayes for non-conjugate inference.
ICML 2014.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

import numpy as np

from ..predictive import RegressionPredictive
from ..progress import progress
from ._chunks import chunks
from ._tensorflow import tf, tfp

# Standard deviation of q at the start: a network that starts at the prior's width is all noise, and
# its gradients say nothing.
START_SCALE = 0.05

# From the network's outputs, shape (draws, n, outputs), and the log of a noise scale that is
# trained with the weights, to the distribution of y, shape (draws, n).
Likelihood = Callable[[tf.Tensor, tf.Tensor], tfp.distributions.Normal]

# From the likelihood, the targets (draws, n), the KL divergence and the number of training
# examples to the number that is minimised.
Loss = Callable[[tfp.distributions.Normal, tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


@dataclass(frozen=True)
class LayerPosterior:
    """Normal posterior of one layer's weights: kernel, row by row, and then bias.

    Attributes
    ----------
    mean : ndarray, shape (k,)
        m, with k = (inputs + 1) * units.
    tril : ndarray, shape (k, k)
        L, lower triangular with a positive diagonal.
    """

    mean: np.ndarray
    tril: np.ndarray


@dataclass(frozen=True)
class VariationalPosterior:
    """Approximate posterior of a network's weights.

    Attributes
    ----------
    layers : tuple of LayerPosterior
        One per layer.
    units : tuple of int
        Size of the input and of each layer's output.
    likelihood : callable
        See `fit`.
    log_noise : float
        Log of the noise scale, in units of the target's standard deviation.
    input_mean, input_scale : ndarray, shape (features,)
        What the inputs are standardised with.
    target_mean, target_scale : float
        What the target is standardised with.
    loss_trace : ndarray
        Mean loss in each of the equally long stretches of the training.
    """

    layers: tuple[LayerPosterior, ...] = field(repr=False)
    units: tuple[int, ...]
    likelihood: Likelihood = field(repr=False)
    log_noise: float
    input_mean: np.ndarray = field(repr=False)
    input_scale: np.ndarray = field(repr=False)
    target_mean: float
    target_scale: float
    loss_trace: np.ndarray = field(repr=False)

    def predictive(self, X: np.ndarray, *, draws: int = 200, seed: int) -> RegressionPredictive:
        """Return the predictive of new inputs, many draws in one batched computation.

        Parameters
        ----------
        X : ndarray, shape (n, features)
            Inputs, in their own units.
        draws : int
            Number of weight draws S.
        seed : int
            Seed of the draws.

        Returns
        -------
        RegressionPredictive
            In the target's own units, shape (draws, n).
        """
        rng = np.random.default_rng(seed)
        inputs = tf.constant((X - self.input_mean) / self.input_scale, tf.float32)
        mean, scale = np.empty((2, draws, len(X)))
        for part in chunks(draws, len(X) * max(self.units)):
            weights = [
                layer.mean + rng.standard_normal((len(mean[part]), len(layer.mean))) @ layer.tril.T
                for layer in self.layers
            ]
            outputs = forward([tf.constant(w, tf.float32) for w in weights], self.units, inputs)
            y = self.likelihood(outputs, tf.constant(self.log_noise, tf.float32))
            mean[part] = self.target_mean + self.target_scale * y.mean().numpy()
            scale[part] = self.target_scale * y.stddev().numpy()
        return RegressionPredictive(mean, scale)

    def kl_to_prior(self, prior_scale: float = 1.0) -> float:
        """Return KL(q ‖ N(0, prior_scale²)) of all weights, in nats."""
        return float(
            sum(
                kl_to_prior(
                    tf.constant(layer.mean, tf.float32),
                    tf.constant(layer.tril, tf.float32),
                    prior_scale,
                )
                for layer in self.layers
            )
        )


def forward(weights: Sequence[tf.Tensor], units: Sequence[int], X: tf.Tensor) -> tf.Tensor:
    """Run a network of sigmoid layers and a linear output for many draws of its weights at once.

    Parameters
    ----------
    weights : sequence of Tensor, shape (draws, k)
        One per layer.
    units : sequence of int
        Size of the input and of each layer's output.
    X : Tensor, shape (n, features) or (draws, n, features)
        Inputs: the same for each draw, or each draw's own.

    Returns
    -------
    Tensor, shape (draws, n, units[-1])
    """
    h = X
    for i, w in enumerate(weights):
        kernel_size = units[i] * units[i + 1]
        kernel = tf.reshape(w[:, :kernel_size], (-1, units[i], units[i + 1]))
        h = tf.matmul(h, kernel) + w[:, None, kernel_size:]
        if i < len(weights) - 1:
            h = tf.sigmoid(h)
    return h


def kl_to_prior(mean: tf.Tensor, tril: tf.Tensor, prior_scale: float) -> tf.Tensor:
    """Return KL(N(m, L Lᵀ) ‖ N(0, τ² I)) in nats, exactly.

    It is  ½ (‖L‖² / τ² + ‖m‖² / τ² - k) + k log τ - Σ log L_ii  for a vector of length k.
    """
    k = mean.shape[-1]
    squares = tf.reduce_sum(tril**2) + tf.reduce_sum(mean**2)
    log_determinant = tf.reduce_sum(tf.math.log(tf.linalg.diag_part(tril)))
    return 0.5 * (squares / prior_scale**2 - k) + k * np.log(prior_scale) - log_determinant


def fit(
    X: np.ndarray,
    y: np.ndarray,
    *,
    hidden: Sequence[int] = (8, 8),
    outputs: int = 1,
    likelihood: Likelihood,
    loss: Loss,
    prior_scale: float = 1.0,
    steps: int = 2000,
    draws: int = 16,
    batch_size: int = 64,
    learning_rate: float = 0.01,
    seed: int,
) -> VariationalPosterior:
    """Train the posterior of a network with sigmoid layers by stochastic gradients.

    At each step every one of the `draws` weight draws sees its own batch, so that a step visits
    `draws * batch_size` examples; the draws come in pairs ±ε, whose errors partly cancel.  Adam's
    learning rate falls to zero along a cosine.

    Parameters
    ----------
    X : ndarray, shape (n, features)
        Inputs; inputs and target are standardised inside.
    y : ndarray, shape (n,)
        Target.
    hidden : sequence of int
        Sizes of the hidden layers; none for a linear model.
    outputs : int
        Number of outputs that the likelihood needs.
    likelihood : callable
        ``likelihood(outputs, log_noise)`` returns the Normal distribution of the standardised
        target, shape (draws, n), from outputs of shape (draws, n, outputs) and the log of a noise
        scale, one number that is trained with the weights.
    loss : callable
        ``loss(likelihood, y, kl, n)`` returns what is minimised, from the likelihood of a batch,
        the batch's targets, the exact KL divergence from the prior, and the number n of rows of X.
    prior_scale : float
        Standard deviation τ of the prior on each weight and bias, for standardised data.
    steps, draws, batch_size : int
        Number of steps, of weight draws per step (even), and of examples per draw.
    learning_rate : float
        Adam's learning rate at the start.
    seed : int
        Seed of the start and of the training.

    Returns
    -------
    VariationalPosterior

    Raises
    ------
    ValueError
        If the data do not fit together, hold a non-finite value or a constant column, or the
        number of draws is odd.
    FloatingPointError
        If the training diverges.
    """
    X, y = _checked(X, y)
    if draws < 2 or draws % 2:
        raise ValueError(f"draws must be even and at least 2, since they come in pairs: {draws!r}")
    input_mean, input_scale = X.mean(axis=0), X.std(axis=0)
    target_mean, target_scale = float(y.mean()), float(y.std())
    units = (X.shape[1], *hidden, outputs)

    train = _training_function(
        units, likelihood, loss, prior_scale, steps, draws, batch_size, learning_rate
    )
    parameters = [tf.constant(p, tf.float32) for p in _start(units, np.random.default_rng(seed))]
    state = [parameters, *([tf.zeros_like(p) for p in parameters] for _ in range(2))]
    data = (
        tf.constant((X - input_mean) / input_scale, tf.float32),
        tf.constant((y - target_mean) / target_scale, tf.float32),
    )
    stretch = max(1, steps // 20)
    trace = []
    for first in progress(range(0, steps, stretch), "training"):
        last = min(first + stretch, steps)
        state, mean_loss = train(state, *data, *(tf.constant(i) for i in (seed, first, last)))
        trace.append(float(mean_loss))
        if not np.isfinite(trace[-1]):
            raise FloatingPointError(
                f"the loss is {trace[-1]} after {last} steps; lower learning_rate, which is "
                f"{learning_rate!r}"
            )
    *layers, log_noise = _unpack(state[0])
    return VariationalPosterior(
        layers=tuple(LayerPosterior(mean.numpy(), tril.numpy()) for mean, tril in layers),
        units=units,
        likelihood=likelihood,
        log_noise=float(log_noise),
        input_mean=input_mean,
        input_scale=input_scale,
        target_mean=target_mean,
        target_scale=target_scale,
        loss_trace=np.array(trace),
    )


def _start(units: Sequence[int], rng: np.random.Generator) -> list[np.ndarray]:
    """Return the parameters at the start: m and the free form of L per layer, then log noise.

    Hidden kernels start at a draw of N(0, 1): with smaller ones the sigmoids are nearly linear and
    training is slow.  The last layer starts at zero: the first predictions are the target's mean.
    """
    parameters = []
    for i, (inputs, outputs) in enumerate(pairwise(units)):
        hidden = i < len(units) - 2
        kernel = rng.standard_normal(inputs * outputs) if hidden else np.zeros(inputs * outputs)
        mean = np.append(kernel, np.zeros(outputs))
        parameters += [mean, np.log(START_SCALE) * np.eye(len(mean))]
    return [*parameters, np.array(0.0)]


def _unpack(parameters: Sequence[tf.Tensor]) -> list:
    """Return (m, L) per layer, and the log noise: L's diagonal is kept as a logarithm."""
    layers = []
    for mean, free in zip(parameters[:-1:2], parameters[1:-1:2], strict=True):
        strictly_lower = tf.linalg.band_part(free, -1, 0) - tf.linalg.band_part(free, 0, 0)
        layers.append((mean, strictly_lower + tf.linalg.diag(tf.exp(tf.linalg.diag_part(free)))))
    return [*layers, parameters[-1]]


@lru_cache(maxsize=8)
def _training_function(
    units: tuple[int, ...],
    likelihood: Likelihood,
    loss: Loss,
    prior_scale: float,
    steps: int,
    draws: int,
    batch_size: int,
    learning_rate: float,
) -> Callable:
    """Build the function that trains from step `first` up to step `last`.

    Data and state are arguments, so that all fits of the same settings share one trace, whatever
    the number of examples.
    """
    layers = len(units) - 1

    def weight_draws(posteriors: Sequence, keys: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        weights = []
        for (mean, tril), key in zip(posteriors, keys, strict=True):
            half = tf.random.stateless_normal((draws // 2, mean.shape[-1]), key)
            # Each ε is used with both signs: what is odd in it cancels in the gradient's mean.
            noise = tf.concat([half, -half], axis=0)
            weights.append(mean + tf.matmul(noise, tril, transpose_b=True))
        return weights

    def objective(parameters: Sequence, X: tf.Tensor, y: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
        *posteriors, log_noise = _unpack(parameters)
        keys = tf.unstack(tf.random.split(key, layers + 1))
        rows = tf.random.stateless_uniform(
            (draws, batch_size), keys[-1], maxval=tf.shape(y)[0], dtype=tf.int32
        )
        outputs = forward(weight_draws(posteriors, keys[:-1]), units, tf.gather(X, rows))
        kl = tf.add_n([kl_to_prior(mean, tril, prior_scale) for mean, tril in posteriors])
        n = tf.cast(tf.shape(y)[0], tf.float32)
        return loss(likelihood(outputs, log_noise), tf.gather(y, rows), kl, n)

    def adam(state: Sequence, gradient: Sequence, step: tf.Tensor) -> list:
        beta_1, beta_2, t = 0.9, 0.999, tf.cast(step, tf.float32)
        rate = learning_rate * 0.5 * (1 + tf.cos(np.pi * t / steps))
        rate *= tf.sqrt(1 - beta_2 ** (t + 1)) / (1 - beta_1 ** (t + 1))
        first = [beta_1 * m + (1 - beta_1) * g for m, g in zip(state[1], gradient, strict=True)]
        second = [beta_2 * v + (1 - beta_2) * g**2 for v, g in zip(state[2], gradient, strict=True)]
        updated = [
            p - rate * m / (tf.sqrt(v) + 1e-7)
            for p, m, v in zip(state[0], first, second, strict=True)
        ]
        return [updated, first, second]

    start = _start(units, np.random.default_rng(0))
    parameters = [tf.TensorSpec(p.shape, tf.float32) for p in start]
    inputs = tf.TensorSpec((None, units[0]), tf.float32)
    target, index = tf.TensorSpec((None,), tf.float32), tf.TensorSpec((), tf.int32)

    @tf.function(input_signature=([parameters] * 3, inputs, target, *[index] * 3))
    def train(state, X, y, seed, first, last):
        total = tf.constant(0.0)
        for step in tf.range(first, last):
            with tf.GradientTape() as tape:
                tape.watch(state[0])
                value = objective(state[0], X, y, key=tf.stack([seed, step]))
            gradient = tape.gradient(value, state[0], unconnected_gradients="zero")
            state = adam(state, gradient, step)
            total += value
        return state, total / tf.cast(last - first, tf.float32)

    return train


def _checked(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    X, y = np.asarray(X, dtype=float), np.asarray(y, dtype=float)
    if X.ndim != 2 or y.shape != X.shape[:1] or len(y) < 2:
        raise ValueError(
            f"X must have shape (n, features) and y shape (n,) with n > 1: {X.shape}, {y.shape}"
        )
    if not (np.isfinite(X).all() and np.isfinite(y).all()):
        raise ValueError("X and y must be finite: drop or impute the other rows first")
    constant = np.flatnonzero(X.std(axis=0) == 0)
    if len(constant) or y.std() == 0:
        what = f"columns {constant.tolist()} of X" if len(constant) else "y"
        raise ValueError(f"{what} constant: cannot be standardised; drop them first")
    return X, y
