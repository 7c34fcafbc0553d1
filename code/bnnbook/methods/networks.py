"""Ordinary PyTorch networks, many of one architecture side by side: training, outputs, features.

An ensemble, a network with dropout and a Laplace approximation all start from networks with one
value for each weight.  This module trains them in one batched computation.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ..progress import progress
from .side_by_side import SideBySide, stack

# Every optimiser of torch.optim loads PyTorch's compiler; this one has the same updates.
from .torch_variational import Adam, batches, stacked_data


def train(
    models: Sequence[nn.Module],
    Xs: Sequence[np.ndarray],
    ys: Sequence[np.ndarray],
    *,
    prior_scale: float = 1.0,
    steps: int = 660,
    batch_size: int | None = 32,
    learning_rate: float = 0.01,
    seed: int,
) -> list[nn.Module]:
    """Train classifiers by maximum a posteriori, all at once.

    Minimises, for each network,

        -1/n Σ_i log p(y_i | x_i, w)  +  ‖w‖² / (2 n prior_scale²),

    whose second term, the prior N(0, prior_scale²) of every weight, is weight decay.  Adam takes
    the steps, and its learning rate falls to 0 along a cosine.

    Parameters
    ----------
    models : sequence of torch.nn.Module
        Networks, equal but for their starting points, with class logits as outputs.  They are left
        untouched.
    Xs : sequence of ndarray, each of shape (n, features) or (n, channels, height, width)
        Training inputs of each network; all of the same shape.
    ys : sequence of ndarray of int, each of shape (n,)
        Training labels of each network, in 0..outputs - 1.
    prior_scale : float
        Standard deviation of the prior of every weight.
    steps : int
        Number of steps of Adam.
    batch_size : int, optional
        Number of examples per step, from a new shuffle in each pass; all of them if None.
    learning_rate : float
        Learning rate at the start.
    seed : int
        Seed of the shuffles and of dropout.  The starting weights are the models'.

    Returns
    -------
    list of torch.nn.Module
        Trained copies, in evaluation mode.

    Raises
    ------
    ValueError
        If the models, data or settings cannot be fitted.
    FloatingPointError
        If a network diverges.
    """
    for model in models:
        if any(True for _ in model.buffers()):
            raise ValueError(
                "layers that keep statistics of the batch are not supported: the likelihood must "
                "be a product over the examples"
            )
    inputs, labels = stacked_data(models, Xs, ys)
    settings = {"prior_scale": prior_scale, "steps": steps, "learning_rate": learning_rate}
    for name, value in settings.items():
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value!r}")

    network = SideBySide(models[0])
    network.model.train()  # dropout drops, if there is any
    weights = stack(models)
    for value in weights.values():
        value.requires_grad_()
    n = labels.shape[1]
    optimiser = Adam(weights.values(), lr=learning_rate)
    order = batches(n, batch_size, torch.Generator().manual_seed(seed))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # dropout can draw from the global generator only
        for step in progress(range(steps), "training"):
            optimiser.lr = learning_rate * (1 + math.cos(math.pi * step / steps)) / 2
            batch = next(order)
            logits, targets = network(weights, inputs[:, batch]), labels[:, batch]
            # A mean over the batch for each network, summed over the networks: they share no
            # parameter, so the gradient of the sum is each network's own gradient.
            cross_entropy = nn.functional.cross_entropy(
                logits.flatten(0, 1), targets.flatten(), reduction="sum"
            ) / len(targets[0])
            decay = sum(value.square().sum() for value in weights.values())
            optimiser.zero_grad()
            (cross_entropy + decay / (2 * n * prior_scale**2)).backward()
            optimiser.step()

    trained = []
    for i, model in enumerate(models):
        own = {name: value[i].detach() for name, value in weights.items()}
        if not all(value.isfinite().all() for value in own.values()):
            raise FloatingPointError(
                f"network {i} diverged: its weights are not finite; lower "
                f"learning_rate={learning_rate!r} or rescale the inputs"
            )
        model = copy.deepcopy(model).eval()
        model.load_state_dict(own)
        trained.append(model)
    return trained


@torch.no_grad()
def outputs(models: Sequence[nn.Module], X: np.ndarray) -> Tensor:
    """Return what each network of one architecture gives for the same inputs.

    Parameters
    ----------
    models : sequence of torch.nn.Module
        Networks, equal but for their weights.
    X : ndarray, shape (n, …)
        Inputs.

    Returns
    -------
    Tensor, shape (models, n, outputs)
    """
    inputs, _ = stacked_data(models[:1], [X])
    network, weights = SideBySide(models[0]), stack(models)
    network.model.eval()
    # In chunks that bound the memory of the hidden layers.
    parts = [
        network(weights, part.expand(len(models), *part.shape)) for part in inputs[0].split(500)
    ]
    return torch.cat(parts, dim=1)


def features(model: nn.Module, X: np.ndarray) -> np.ndarray:
    """Return what the last layer of a network sees of its inputs.

    Parameters
    ----------
    model : torch.nn.Sequential
        A network whose last layer is an `nn.Linear`.
    X : ndarray, shape (n, …)
        Inputs.

    Returns
    -------
    ndarray, shape (n, features)

    Raises
    ------
    ValueError
        If the network is not a Sequential that ends in a linear layer with biases.
    """
    last = model[-1] if isinstance(model, nn.Sequential) else None
    if not (isinstance(last, nn.Linear) and last.bias is not None):
        raise ValueError("the network must be an nn.Sequential that ends in nn.Linear with biases")
    return outputs([model[:-1]], X)[0].numpy()
