"""The no-U-turn sampler: draws from a posterior that is known up to a constant.

A draw is found by letting the weights roll through the landscape -log p(w, D), from a random push,
until the path turns back on itself (Hoffman & Gelman 2014).  The step size is tuned during the
warm-up so that a chosen share of proposals is accepted.

TensorFlow Probability provides the sampler.  This module compiles it once, in pieces so that a
progress bar can move, and reads its diagnostics.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ..predictive import Predictive
from ..progress import progress
from ._tensorflow import tf, tfp
from .diagnostics import energy_fraction, potential_scale_reduction

# From weights (chains, weights), inputs and targets to log p(w, y | X), shape (chains,).
LogJoint = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]
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
            "effective sample size": float(_effective_sample_size(sequences).min()),
            "R-hat of log joint": float(potential_scale_reduction(self.log_joint)),
            "energy fraction": float(energy_fraction(self.energy).min()),
            "divergences": int(self.divergent.sum()),
            "at maximum depth": float(self.deepest.mean()),
        }


def fit(
    log_joint: LogJoint,
    predict: Predict,
    X: np.ndarray,
    y: np.ndarray,
    *,
    start: np.ndarray,
    step_size: float = 0.01,
    warmup: int = 500,
    draws: int = 500,
    max_depth: int = 8,
    target_accept: float = 0.8,
    seed: int,
) -> NutsPosterior:
    """Sample weights from the posterior p(w | X, y).

    Parameters
    ----------
    log_joint : callable
        Maps TensorFlow tensors w (chains, weights), X and y to log p(w, y | X), shape (chains,),
        up to a constant.
    predict : callable
        Maps weights of shape (draws, weights) and inputs, both NumPy, to a predictive.
    X, y : ndarray
        Training data; the first axis of both is n.
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
    if len(X) != len(y):
        raise ValueError(f"X and y must have the same length, got {len(X)} and {len(y)}")
    if draws < 4 or warmup < 1 or max_depth < 1 or not step_size > 0 or not 0 < target_accept < 1:
        raise ValueError(
            "draws must be at least 4, warmup and max_depth at least 1, step_size positive and "
            f"target_accept between 0 and 1, got {draws}, {warmup}, {max_depth}, {step_size} and "
            f"{target_accept}"
        )
    inputs = tf.constant(X, tf.float32)
    targets = tf.constant(y, tf.float32 if np.issubdtype(np.asarray(y).dtype, float) else tf.int32)

    def target(w: tf.Tensor) -> tf.Tensor:
        return log_joint(w, inputs, targets)

    first = target(tf.constant(start)).numpy()
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

    kernel = tfp.mcmc.DualAveragingStepSizeAdaptation(
        tfp.mcmc.NoUTurnSampler(target, step_size=step_size, max_tree_depth=max_depth),
        num_adaptation_steps=int(0.8 * warmup),
        target_accept_prob=target_accept,
    )

    piece = _piece_length(warmup, draws)

    @tf.function(jit_compile=True)
    def run(w: tf.Tensor, results: object, piece_seed: tf.Tensor) -> tuple:
        return tfp.mcmc.sample_chain(
            piece,
            w,
            kernel=kernel,
            previous_kernel_results=results,
            return_final_kernel_results=True,
            trace_fn=_trace,
            seed=piece_seed,
        )

    w, results = tf.constant(start), kernel.bootstrap_results(tf.constant(start))
    pieces = []
    for i in progress(range((warmup + draws) // piece), "no-U-turn sampling"):
        states, trace, results = run(w, results, tf.constant([seed, i]))
        w = states[-1]
        if i >= warmup // piece:
            pieces.append({"chains": states, **trace})
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


def _piece_length(warmup: int, draws: int) -> int:
    """Return the length of the compiled piece: it divides warm-up and draws, and is at most 50."""
    return max(k for k in range(1, 51) if warmup % k == 0 and draws % k == 0)


def _trace(_: tf.Tensor, results: object) -> dict[str, tf.Tensor]:
    inner = results.inner_results
    return {
        "log_joint": inner.target_log_prob,
        "energy": inner.energy,
        "divergent": inner.has_divergence,
        "deepest": inner.reach_max_depth,
        "leapfrogs": inner.leapfrogs_taken,
    }


def _effective_sample_size(sequences: np.ndarray) -> np.ndarray:
    draws_first = np.swapaxes(sequences, 0, 1)
    return tfp.mcmc.effective_sample_size(
        draws_first, filter_beyond_positive_pairs=True, cross_chain_dims=1
    ).numpy()


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
