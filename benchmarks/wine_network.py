"""The wine chapter's network, as it calls the package: likelihoods, loss, fit."""

from __future__ import annotations

import numpy as np

from bnnbook.methods import full_covariance
from bnnbook.methods._tensorflow import tf, tfp


def constant_noise(outputs: tf.Tensor, log_noise: tf.Tensor) -> tfp.distributions.Normal:
    """Return the grades' distribution, with one noise scale for all wines."""
    return tfp.distributions.Normal(outputs[..., 0], tf.exp(log_noise))


def noise_per_wine(outputs: tf.Tensor, log_noise: tf.Tensor) -> tfp.distributions.Normal:
    """Return the grades' distribution, with a noise scale for each wine."""
    return tfp.distributions.Normal(outputs[..., 0], tf.exp(log_noise + outputs[..., 1]))


def negative_elbo(
    likelihood: tfp.distributions.Normal, y: tf.Tensor, kl: tf.Tensor, n: tf.Tensor
) -> tf.Tensor:
    """Return minus the evidence lower bound, per wine."""
    return kl / n - tf.reduce_mean(likelihood.log_prob(y))


def fit(
    X: np.ndarray, y: np.ndarray, *, probabilistic: bool = False, **settings
) -> full_covariance.VariationalPosterior:
    """Fit the network; `settings` are those of `full_covariance.fit`."""
    return full_covariance.fit(
        X,
        y,
        likelihood=noise_per_wine if probabilistic else constant_noise,
        outputs=2 if probabilistic else 1,
        loss=negative_elbo,
        **settings,
    )
