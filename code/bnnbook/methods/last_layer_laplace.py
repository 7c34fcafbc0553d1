"""Laplace's approximation for the last layer of a trained classifier.

All layers but the last are kept as they are, and give the features of an image.  What remains is a
multinomial logistic regression on these features.  Its log posterior is concave, and its curvature
has a closed form; the approximate posterior is the Normal with the same peak and curvature.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..predictive import ClassificationPredictive
from . import networks
from .side_by_side import probabilities
from .torch_variational import stacked_data


@dataclass(frozen=True)
class LastLayerPosterior:
    """A Normal posterior over the last layer of a network; the other layers are fixed.

    Attributes
    ----------
    model : torch.nn.Sequential
        The trained network.
    mean : Tensor, shape (classes, features + 1)
        The last layer's weights, with its biases as the last column.
    curvature : Tensor, shape (parameters, parameters)
        That of the negative log likelihood; the parameters are those of `mean`, row by row.
    prior_scale : float
        Standard deviation of the prior of each parameter.
    log_evidence : float
        Laplace's approximation of log p(D), in nats, features taken as given.
    """

    model: nn.Sequential
    mean: Tensor
    curvature: Tensor
    prior_scale: float
    log_evidence: float

    def predictive(self, X: np.ndarray, *, draws: int = 100, seed: int) -> ClassificationPredictive:
        """Return the predictive of new inputs from draws of the last layer.

        Parameters
        ----------
        X : ndarray, shape (n, …)
            Inputs.
        draws : int
            Number S of weight draws; each is used for all inputs, so that draws are functions.
        seed : int
            Seed of the draws.

        Returns
        -------
        ClassificationPredictive
            `probs` of shape (draws, n, classes).
        """
        if draws < 1:
            raise ValueError(f"draws must be at least 1, got {draws!r}")
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(self.mean.numel(), draws, generator=generator, dtype=torch.double)
        precision = self.curvature.clone()
        precision.diagonal().add_(self.prior_scale**-2)
        # With L Lᵀ the precision, L⁻ᵀ ε has its inverse as covariance.
        root = torch.linalg.cholesky(precision)
        shifts = torch.linalg.solve_triangular(root.T, noise, upper=True)
        weights = self.mean + shifts.T.unflatten(1, self.mean.shape)
        logits = _with_bias(self.model, X) @ weights.mT
        return ClassificationPredictive(probabilities(logits))

    def features(self, X: np.ndarray) -> np.ndarray:
        """Return what the last layer sees, shape (n, features)."""
        return networks.features(self.model, X)


def fit(
    model: nn.Sequential, X: np.ndarray, y: np.ndarray, *, prior_scale: float | None = None
) -> LastLayerPosterior:
    """Approximate the posterior of the last layer of a trained network.

    Nothing is trained, nothing is random: the mean is the layer as it is.

    Parameters
    ----------
    model : torch.nn.Sequential
        A trained network whose last layer is an `nn.Linear`, for instance of a `DeepEnsemble`.
    X : ndarray, shape (n, …)
        Inputs that it was trained on.
    y : ndarray of int, shape (n,)
        Their labels.
    prior_scale : float, optional
        Standard deviation of the prior of each parameter of the last layer.  If not given, the
        one with the highest approximate evidence.

    Returns
    -------
    LastLayerPosterior

    Raises
    ------
    ValueError
        If the model, data or prior make no sense.

    References
    ----------
    D. J. C. MacKay: The evidence framework applied to classification networks. Neural Computation
    4(5), 1992.
    E. Daxberger, A. Kristiadi, A. Immer, R. Eschenhagen, M. Bauer, P. Hennig: Laplace redux:
    effortless Bayesian deep learning. NeurIPS 2021.
    """
    if prior_scale is not None and not prior_scale > 0:
        raise ValueError(f"prior_scale must be positive, got {prior_scale!r}")
    phi = _with_bias(model, X)
    _, (labels,) = stacked_data([model], [X], [y])
    mean = torch.column_stack([model[-1].weight, model[-1].bias]).detach().double()
    log_probs = (phi @ mean.T).log_softmax(-1)
    log_likelihood = log_probs[torch.arange(len(labels)), labels].sum().item()
    hessian = curvature(phi, log_probs.exp())
    # Without the eigenvectors, which would take longer than all the rest: draws need a root only.
    eigenvalues = torch.linalg.eigvalsh(hessian)
    eigenvalues = eigenvalues.clamp(min=0)  # some are 0, and may be rounded below it

    def log_evidence(scale: float) -> float:
        log_prior = -0.5 * mean.square().sum() / scale**2
        # Half of the log determinant of (curvature + 1 / scale²), in units of the prior's.
        log_volume = -0.5 * torch.log1p(eigenvalues * scale**2).sum()
        return log_likelihood + (log_prior + log_volume).item()

    if prior_scale is None:
        prior_scale = max(np.geomspace(0.01, 100, 400).tolist(), key=log_evidence)
    return LastLayerPosterior(model, mean, hessian, prior_scale, log_evidence(prior_scale))


def curvature(phi: Tensor, probs: Tensor) -> Tensor:
    """Return the Hessian of the negative log likelihood of a softmax layer.

    With p the probabilities of one example and φ its features, it is the sum over the examples of
    (diag p - p pᵀ) ⊗ φ φᵀ, whatever the labels.

    Parameters
    ----------
    phi : Tensor, shape (n, features)
        Features.
    probs : Tensor, shape (n, classes)
        Class probabilities.

    Returns
    -------
    Tensor, shape (classes · features, classes · features)
        For the weights of shape (classes, features), row by row.
    """
    of_logits = probs.diag_embed() - probs[:, :, None] * probs[:, None, :]
    # One class at a time: a table of all pairs of classes and features of all examples is large.
    rows = [phi.T @ (row[:, :, None] * phi[:, None]).flatten(1) for row in of_logits.unbind(1)]
    return torch.cat(rows)


def _with_bias(model: nn.Module, X: np.ndarray) -> Tensor:
    """Return the features with a constant 1 as the last, for the bias, shape (n, features + 1)."""
    phi = torch.from_numpy(networks.features(model, X)).double()
    return torch.column_stack([phi, torch.ones(len(phi))])
