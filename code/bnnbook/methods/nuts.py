"""The no-U-turn sampler: draws from a posterior that is known up to a constant.

A draw is found by letting the weights roll through the landscape -log p(w, D), from a random push,
until the path turns back on itself (Hoffman & Gelman 2014).  The step size is tuned during the
warm-up so that a chosen share of proposals is accepted.

TensorFlow Probability provides the sampler.  This module compiles it once, in pieces so that a
progress bar can move, and reads its diagnostics.
"""

from __future__ import annotations

import ctypes
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from ..predictive import Predictive
from ..progress import progress
from ._tensorflow import tf, tfp
from .diagnostics import effective_sample_size, energy_fraction, potential_scale_reduction

# From weights (chains, weights) and the data to log p(w, D), shape (chains,).
LogJoint = Callable[..., tf.Tensor]
Predict = Callable[[np.ndarray, np.ndarray], Predictive]


class DiagnosticWarning(UserWarning):
    """The chains do not, or may not, represent the posterior."""


@dataclass(frozen=True)
class NutsPosterior:
    """Draws from a posterior, and what the sampler says of them.

    Attributes
    ----------
    chains : ndarray, shape (chains, draws, weights)
        Weights.
    log_joint, energy : ndarray, shape (chains, draws)
        log p(w, D) and Hamiltonian energy of each draw, in nats.
    divergent, deepest : ndarray of bool, shape (chains, draws)
        Whether the path to a draw diverged, and whether it ended for want of depth.
    leapfrogs : ndarray of int, shape (chains, draws)
        Gradients computed for each draw.
    step_size : float
        Step size after the warm-up.
    predict : callable
        Maps weights of shape (draws, weights) and inputs to a predictive.
    """

    chains: np.ndarray = field(repr=False)
    log_joint: np.ndarray = field(repr=False)
    energy: np.ndarray = field(repr=False)
    divergent: np.ndarray = field(repr=False)
    deepest: np.ndarray = field(repr=False)
    leapfrogs: np.ndarray = field(repr=False)
    step_size: float
    predict: Predict = field(repr=False)

    def predictive(self, X: np.ndarray) -> Predictive:
        """Return the posterior predictive of the inputs, all chains and draws pooled."""
        return self.predict(self.chains.reshape(-1, self.chains.shape[-1]), X)

    def some_chains(self, chosen: slice | list[int]) -> NutsPosterior:
        """Return the posterior of some of the chains, for instance one half against the other."""
        return NutsPosterior(
            self.chains[chosen],
            self.log_joint[chosen],
            self.energy[chosen],
            self.divergent[chosen],
            self.deepest[chosen],
            self.leapfrogs[chosen],
            self.step_size,
            self.predict,
        )

    def diagnostics(self, X: np.ndarray) -> dict[str, float]:
        """Return the worst value of each diagnostic, of predictions for X and of the sampler.

        Parameters
        ----------
        X : ndarray, shape (n, features)
            Where to look at predictions: means for a regression, probabilities for classes.

        Returns
        -------
        dict
            "R-hat" and "effective sample size" of the predictions, "R-hat of log joint",
            "energy fraction", "divergences" (count) and "at maximum depth" (share of the draws).
        """
        predictive = self.predictive(X)
        values = predictive.mean if hasattr(predictive, "mean") else predictive.probs
        sequences = values.reshape(*self.chains.shape[:2], -1)
        return {
            "R-hat": float(potential_scale_reduction(sequences).max()),
            "effective sample size": float(effective_sample_size(sequences).min()),
            "R-hat of log joint": float(potential_scale_reduction(self.log_joint)),
            "energy fraction": float(energy_fraction(self.energy).min()),
            "divergences": int(self.divergent.sum()),
            "at maximum depth": float(self.deepest.mean()),
        }


def fit(
    log_joint: LogJoint,
    predict: Predict,
    *data: np.ndarray | float,
    start: np.ndarray,
    step_size: float = 0.01,
    warmup: int = 500,
    draws: int = 500,
    max_depth: int = 8,
    target_accept: float = 0.8,
    seed: int,
) -> NutsPosterior:
    """Sample weights from the posterior p(w | D).

    The sampler is compiled for a log joint and the shapes of its data: a second call with the same
    function and shapes, for instance with another prior scale, starts at once.

    Parameters
    ----------
    log_joint : callable
        Maps TensorFlow tensors, weights w of shape (chains, weights) and the data, to log p(w, D)
        of shape (chains,), up to a constant.
    predict : callable
        Maps weights of shape (draws, weights) and inputs, both NumPy, to a predictive.
    *data : ndarray or float
        What the log joint takes besides w: inputs, targets, scales.
    start : ndarray, shape (chains, weights)
        Where each chain begins, for instance draws from the prior.
    step_size : float
        First guess; the warm-up tunes it.
    warmup, draws : int
        Draws per chain that are thrown away, and that are kept.
    max_depth : int
        A path is at most 2**max_depth steps long.
    target_accept : float in (0, 1)
        Mean acceptance probability to which the step size is tuned.
    seed : int
        Seed of everything random.

    Returns
    -------
    NutsPosterior

    Raises
    ------
    ValueError
        If a shape or a setting makes no sense, or the log joint is not finite where a chain starts.

    Warns
    -----
    DiagnosticWarning
        If chains disagree on the log joint (R-hat above 1.05), paths diverge, or the energy
        fraction is below 0.3.

    References
    ----------
    M. Hoffman, A. Gelman: The No-U-Turn Sampler. Journal of Machine Learning Research 15, 2014.
    """
    start = np.asarray(start, dtype=np.float32)
    if start.ndim != 2 or start.size == 0:
        raise ValueError(f"start must have shape (chains, weights), got {start.shape}")
    if draws < 4 or warmup < 1 or max_depth < 1 or not step_size > 0 or not 0 < target_accept < 1:
        raise ValueError(
            "draws must be at least 4, warmup and max_depth at least 1, step_size positive and "
            f"target_accept between 0 and 1, got {draws}, {warmup}, {max_depth}, {step_size} and "
            f"{target_accept}"
        )
    tensors = tuple(_tensor(d) for d in data)
    first = log_joint(tf.constant(start), *tensors).numpy()
    if first.shape != (len(start),):
        raise ValueError(
            f"log_joint must return shape {(len(start),)}, one number for each chain, got "
            f"{first.shape}; does it sum over the data and keep the chains apart?"
        )
    if not np.isfinite(first).all():
        raise ValueError(
            f"log_joint is not finite where a chain starts: {first}; start closer to the prior's "
            "mean, or look for a log of zero"
        )

    piece = _piece_length(warmup, draws)
    bootstrap, run = _compiled(log_joint, max_depth, target_accept, piece)
    w = tf.constant(start)
    adaptation = tf.constant(int(0.8 * warmup))  # a tensor: another length needs no compilation
    results = bootstrap(w, tf.constant(step_size, tf.float32), adaptation, tensors)
    pieces = []
    for i in progress(range((warmup + draws) // piece), "no-U-turn sampling"):
        states, trace, results = run(w, results, tf.constant([seed, i]), adaptation, tensors)
        w = states[-1]
        if i >= warmup // piece:
            pieces.append({"chains": states, **trace})
    _return_memory()
    # TensorFlow puts draws first; the book puts chains first and draws second.
    columns = {
        name: np.swapaxes(np.concatenate([p[name].numpy() for p in pieces]), 0, 1)
        for name in pieces[0]
    }
    posterior = NutsPosterior(
        **columns, step_size=float(np.mean(results.new_step_size)), predict=predict
    )
    _warn(posterior)
    return posterior


@lru_cache(maxsize=4)
def _compiled(
    log_joint: LogJoint, max_depth: int, target_accept: float, piece: int
) -> tuple[Callable, Callable]:
    """Return the compiled start of a chain and a compiled piece of it."""

    def kernel(
        step_size: tf.Tensor, adaptation: tf.Tensor, data: tuple
    ) -> tfp.mcmc.TransitionKernel:
        return tfp.mcmc.DualAveragingStepSizeAdaptation(
            tfp.mcmc.NoUTurnSampler(
                lambda w: log_joint(w, *data), step_size=step_size, max_tree_depth=max_depth
            ),
            num_adaptation_steps=adaptation,
            target_accept_prob=target_accept,
        )

    @tf.function(jit_compile=True)
    def bootstrap(w: tf.Tensor, step_size: tf.Tensor, adaptation: tf.Tensor, data: tuple) -> object:
        return kernel(step_size, adaptation, data).bootstrap_results(w)

    @tf.function(jit_compile=True)
    def run(
        w: tf.Tensor, results: object, seed: tf.Tensor, adaptation: tf.Tensor, data: tuple
    ) -> tuple:
        return tfp.mcmc.sample_chain(
            piece,
            w,
            # The step size that counts is the one that the adaptation keeps in its results.
            kernel=kernel(tf.constant(1.0), adaptation, data),
            previous_kernel_results=results,
            return_final_kernel_results=True,
            trace_fn=_trace,
            seed=seed,
        )

    return bootstrap, run


def _tensor(array: np.ndarray | float) -> tf.Tensor:
    whole = np.issubdtype(np.asarray(array).dtype, np.integer)
    return tf.constant(array, tf.int32 if whole else tf.float32)


def _piece_length(warmup: int, draws: int) -> int:
    """Return the length of the compiled piece: it divides warm-up and draws, and is at most 20."""
    return max(k for k in range(1, 21) if warmup % k == 0 and draws % k == 0)


def _trace(_: tf.Tensor, results: object) -> dict[str, tf.Tensor]:
    inner = results.inner_results
    return {
        "log_joint": inner.target_log_prob,
        "energy": inner.energy,
        "divergent": inner.has_divergence,
        "deepest": inner.reach_max_depth,
        "leapfrogs": inner.leapfrogs_taken,
    }


def _return_memory() -> None:
    """Give what the compiler freed back to the system: glibc would keep some 200 MB."""
    with suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _warn(posterior: NutsPosterior) -> None:
    r_hat = float(potential_scale_reduction(posterior.log_joint))
    fraction = float(energy_fraction(posterior.energy).min())
    found = []
    if not r_hat <= 1.05:
        found.append(f"R-hat of the log joint is {r_hat:.2f} (above 1.05): sample longer")
    if posterior.divergent.any():
        found.append(
            f"{posterior.divergent.sum()} divergences: raise target_accept or standardise inputs"
        )
    if not fraction >= 0.3:
        found.append(f"energy fraction is {fraction:.2f} (below 0.3): reparameterise or run longer")
    if found:
        warnings.warn("; ".join(found), DiagnosticWarning, stacklevel=3)
