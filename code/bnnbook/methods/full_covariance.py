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
from ._tensorflow import compiled, tf, tfp

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
        kernel, bias = tf.split(w, [units[i] * units[i + 1], units[i + 1]], axis=1)
        h = tf.matmul(h, tf.reshape(kernel, (-1, units[i], units[i + 1]))) + bias[:, None]
        if i < len(weights) - 1:
            h = tf.sigmoid(h)
    return h


def kl_to_prior(mean: tf.Tensor, tril: tf.Tensor, prior_scale: float) -> tf.Tensor:
    """Return KL(N(m, L Lᵀ) ‖ N(0, τ² I)) in nats, exactly.

    It is  ½ (‖L‖² / τ² + ‖m‖² / τ² - k) + k log τ - Σ log L_ii  for a vector of length k.
    """
    squares = tf.reduce_sum(tril**2) + tf.reduce_sum(mean**2)
    log_determinant = tf.reduce_sum(tf.math.log(tf.linalg.diag_part(tril)))
    return _kl(squares, log_determinant, mean.shape[-1], prior_scale)


def _kl(squares: tf.Tensor, log_determinant: tf.Tensor, k: int, prior_scale: float) -> tf.Tensor:
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
    start = tf.constant(_start(units, np.random.default_rng(seed)), tf.float32)
    state = start, tf.zeros_like(start), tf.zeros_like(start)
    standardised = np.column_stack(
        [(X - input_mean) / input_scale, (y - target_mean) / target_scale]
    )
    data = tf.constant(standardised, tf.float32)
    stretch = max(1, steps // 20)
    trace = []
    for first in progress(range(0, steps, stretch), "training"):
        last = min(first + stretch, steps)
        state, mean_loss = train(state, data, *(tf.constant(i) for i in (seed, first, last)))
        trace.append(float(mean_loss))
        if not np.isfinite(trace[-1]):
            raise FloatingPointError(
                f"the loss is {trace[-1]} after {last} steps; lower learning_rate, which is "
                f"{learning_rate!r}"
            )
    means, below, log_diagonal, log_noise = _unpack(state[0], units)
    sizes = _sizes(units)
    diagonals = tf.split(tf.exp(log_diagonal), sizes)
    return VariationalPosterior(
        layers=tuple(
            LayerPosterior(mean.numpy(), (lower + tf.linalg.diag(diagonal)).numpy())
            for mean, lower, diagonal in zip(
                tf.split(means, sizes), _matrices(below, sizes), diagonals, strict=True
            )
        ),
        units=units,
        likelihood=likelihood,
        log_noise=float(log_noise),
        input_mean=input_mean,
        input_scale=input_scale,
        target_mean=target_mean,
        target_scale=target_scale,
        loss_trace=np.array(trace),
    )


def _sizes(units: Sequence[int]) -> list[int]:
    """Return the length k of each layer's weights."""
    return [(inputs + 1) * outputs for inputs, outputs in pairwise(units)]


def _start(units: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """Return the parameters at the start, one vector: see `_unpack`.

    Hidden kernels start at a draw of N(0, 1): with smaller ones the sigmoids are nearly linear and
    training is slow.  The last layer starts at zero: the first predictions are the target's mean.
    """
    means = []
    for i, (inputs, outputs) in enumerate(pairwise(units)):
        hidden = i < len(units) - 2
        kernel = rng.standard_normal(inputs * outputs) if hidden else np.zeros(inputs * outputs)
        means.append(np.append(kernel, np.zeros(outputs)))
    sizes = _sizes(units)
    below = np.zeros(sum(k**2 for k in sizes))
    log_diagonal = np.full(sum(sizes), np.log(START_SCALE))
    return np.concatenate([*means, below, log_diagonal, [0.0]])


def _unpack(parameters: tf.Tensor, units: Sequence[int]) -> tuple[tf.Tensor, ...]:
    """Split the vector of all parameters, in which the layers stand behind one another.

    Returns
    -------
    means : Tensor, shape (sum of k,)
        m.
    below : Tensor, shape (sum of k²,)
        L with zeros on its diagonal (see `_matrices`).
    log_diagonal : Tensor, shape (sum of k,)
        Logarithm of L's diagonal.
    log_noise : Tensor, shape ()
    """
    sizes = _sizes(units)
    means, below, log_diagonal, log_noise = tf.split(
        parameters, [sum(sizes), sum(k**2 for k in sizes), sum(sizes), 1]
    )
    return means, below, log_diagonal, tf.reshape(log_noise, ())


def _matrices(below: tf.Tensor, sizes: Sequence[int]) -> list[tf.Tensor]:
    parts = tf.split(below, [k**2 for k in sizes])
    return [tf.reshape(part, (k, k)) for part, k in zip(parts, sizes, strict=True)]


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
    sizes = _sizes(units)
    strictly_lower = np.concatenate([np.tri(k, k, -1).ravel() for k in sizes]).astype(np.float32)

    def objective(parameters: tf.Tensor, data: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        mean, below, log_diagonal, log_noise = _unpack(parameters, units)
        # Few operations on long vectors: on many short ones TensorFlow spends its time elsewhere.
        below, diagonal = below * strictly_lower, tf.exp(log_diagonal)
        half = tf.random.stateless_normal((draws // 2, sum(sizes)), keys[0])
        parts = zip(tf.split(half, sizes, axis=1), _matrices(below, sizes), strict=True)
        shift = tf.concat([tf.matmul(part, L, transpose_b=True) for part, L in parts], axis=1)
        shift += half * diagonal
        # Each ε is used with both signs: what is odd in it cancels in the gradient's mean.
        weights = tf.split(tf.concat([mean + shift, mean - shift], axis=0), sizes, axis=1)

        n = tf.shape(data)[0]
        rows = tf.random.stateless_uniform((draws, batch_size), keys[1], maxval=n, dtype=tf.int32)
        X, y = tf.split(tf.gather(data, rows), [units[0], 1], axis=-1)
        squares = 2 * (tf.nn.l2_loss(mean) + tf.nn.l2_loss(below) + tf.nn.l2_loss(diagonal))
        kl = _kl(squares, tf.reduce_sum(log_diagonal), sum(sizes), prior_scale)
        y_given_w = likelihood(forward(weights, units, X), log_noise)
        return loss(y_given_w, y[..., 0], kl, tf.cast(n, tf.float32))

    # Adam's rates, each step's own.
    t = np.arange(steps)
    beta_1, beta_2 = 0.9, 0.999
    rates = learning_rate * 0.5 * (1 + np.cos(np.pi * t / steps))
    rates *= np.sqrt(1 - beta_2 ** (t + 1)) / (1 - beta_1 ** (t + 1))
    rates = tf.constant(rates, tf.float32)

    def adam(state: Sequence, gradient: tf.Tensor, rate: tf.Tensor) -> tuple:
        parameters, first, second = state
        first = beta_1 * first + (1 - beta_1) * gradient
        second = beta_2 * second + (1 - beta_2) * tf.square(gradient)
        return parameters - rate * first / (tf.sqrt(second) + 1e-7), first, second

    vector = tf.TensorSpec(_start(units, np.random.default_rng(0)).shape, tf.float32)
    table, index = tf.TensorSpec((None, units[0] + 1), tf.float32), tf.TensorSpec((), tf.int32)

    @compiled(((vector,) * 3, table, *[index] * 3))
    def train(state, data, seed, first, last):
        total = tf.constant(0.0)
        for step in tf.range(first, last):
            keys = tf.random.split(tf.stack([seed, step]))
            with tf.GradientTape() as tape:
                tape.watch(state[0])
                value = objective(state[0], data, keys)
            state = adam(state, tape.gradient(value, state[0]), rates[step])
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
