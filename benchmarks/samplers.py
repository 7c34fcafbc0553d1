"""The no-U-turn sampler of TensorFlow Probability, as the book uses it, beside NumPyro's.

NumPyro is an independent implementation on another framework and is not needed for the book:
``pip install -r benchmarks/requirements.txt``.
"""

from __future__ import annotations

import numpy as np
from scipy.special import softmax

from bnnbook import data
from bnnbook.methods.diagnostics import effective_sample_size, potential_scale_reduction
from bnnbook.predictive import ClassificationPredictive

from .child import clock
from .pairs import iris_split, quality

PRIOR_SCALE = 0.1
CHAINS, WARMUP, KEPT, DEPTH = 4, 500, 500, 8
SIZES = (4, 100, 3)
WEIGHTS = 803


def layers(w) -> tuple:
    """Cut a vector of weights, shape (…, weights), into kernels and biases."""
    inputs, units, classes = SIZES
    ends = np.cumsum([inputs * units, units, units * classes])
    kernel_1 = w[..., : ends[0]].reshape(*w.shape[:-1], inputs, units)
    kernel_2 = w[..., ends[1] : ends[2]].reshape(*w.shape[:-1], units, classes)
    return kernel_1, w[..., None, ends[0] : ends[1]], kernel_2, w[..., None, ends[2] :]


def predict(w: np.ndarray, X: np.ndarray) -> ClassificationPredictive:
    """Return the predictive of draws of the weights, shape (draws, weights)."""
    kernel_1, bias_1, kernel_2, bias_2 = layers(w)
    hidden = np.maximum(X @ kernel_1 + bias_1, 0)
    return ClassificationPredictive(softmax(hidden @ kernel_2 + bias_2, axis=-1))


def start(seed: int) -> np.ndarray:
    """Draw where the chains start, from the prior."""
    normal = np.random.default_rng(seed).standard_normal((CHAINS, WEIGHTS))
    return (PRIOR_SCALE * normal).astype("float32")


def book(seed: int) -> dict:
    """Sample with the book's `nuts.fit`."""
    from bnnbook.methods import nuts
    from bnnbook.methods._tensorflow import tf

    def log_joint(w, X, one_hot):
        sizes = (SIZES[0] * SIZES[1], SIZES[1], SIZES[1] * SIZES[2], SIZES[2])
        kernel_1, bias_1, kernel_2, bias_2 = tf.split(w, sizes, axis=-1)
        hidden = tf.nn.relu(X @ tf.reshape(kernel_1, (-1, *SIZES[:2])) + bias_1[:, None])
        logits = hidden @ tf.reshape(kernel_2, (-1, *SIZES[1:])) + bias_2[:, None]
        log_likelihood = tf.reduce_sum(one_hot * tf.nn.log_softmax(logits), (-1, -2))
        return log_likelihood - 0.5 * tf.reduce_sum(w**2, -1) / PRIOR_SCALE**2

    split = iris_split(seed)
    seconds: dict[str, float] = {}
    with clock(seconds, "fit"):
        posterior = nuts.fit(
            log_joint,
            predict,
            split.X_train,
            np.eye(3)[split.y_train],
            start=start(seed),
            step_size=0.02,
            warmup=WARMUP,
            draws=KEPT,
            max_depth=DEPTH,
            seed=seed,
        )
    return {"seconds": seconds, "fit": _judged(posterior.chains, split)}


def numpyro(seed: int) -> dict:
    """Sample with NumPyro, all chains in one vectorised computation too."""
    import jax
    import jax.numpy as jnp
    from numpyro.infer import MCMC, NUTS

    split = iris_split(seed)
    X, one_hot = jnp.asarray(split.X_train), jax.nn.one_hot(split.y_train, 3)

    def potential(w):
        kernel_1, bias_1, kernel_2, bias_2 = layers(w)
        logits = jax.nn.relu(X @ kernel_1 + bias_1) @ kernel_2 + bias_2
        log_likelihood = (one_hot * jax.nn.log_softmax(logits)).sum()
        return 0.5 * (w**2).sum() / PRIOR_SCALE**2 - log_likelihood

    sampler = MCMC(
        NUTS(potential_fn=potential, step_size=0.02, max_tree_depth=DEPTH, adapt_mass_matrix=False),
        num_warmup=WARMUP,
        num_samples=KEPT,
        num_chains=CHAINS,
        chain_method="vectorized",
        progress_bar=False,
    )
    seconds: dict[str, float] = {}
    with clock(seconds, "fit"):
        sampler.run(jax.random.PRNGKey(seed), init_params=jnp.asarray(start(seed)))
        chains = np.asarray(sampler.get_samples(group_by_chain=True))
    return {"seconds": seconds, "fit": _judged(chains, split)}


def _judged(chains: np.ndarray, split: data.Split) -> dict[str, float]:
    predictive = predict(chains.reshape(-1, WEIGHTS), split.X_test)
    sequences = predictive.probs.reshape(*chains.shape[:2], -1)
    return quality(predictive, split.y_test) | {
        "R-hat": float(potential_scale_reduction(sequences).max()),
        "effective draws": float(effective_sample_size(sequences).min()),
    }
