"""The PyTorch tutorials' iris network, with its published settings and loop.

Nothing here is made faster: one weight draw for each step and for each call.
"""

from __future__ import annotations

import numpy as np
import torch
import torchbnn as bnn
from torch import nn

UNITS = 100
STEPS = 3000
LEARNING_RATE = 0.01
PRIOR_SCALE = 0.1
KL_WEIGHT = 0.01


def network(inputs: int = 4, classes: int = 3) -> nn.Sequential:
    """Return the published iris network, untrained."""
    prior = dict(prior_mu=0, prior_sigma=PRIOR_SCALE)
    return nn.Sequential(
        bnn.BayesLinear(**prior, in_features=inputs, out_features=UNITS),
        nn.ReLU(),
        bnn.BayesLinear(**prior, in_features=UNITS, out_features=classes),
    )


def fit(X: np.ndarray, y: np.ndarray, steps: int = STEPS) -> nn.Sequential:
    """Train the published iris network: one weight draw per step, all flowers in each step."""
    x, y = torch.from_numpy(X).float(), torch.from_numpy(y).long()
    model = network()
    cross_entropy_loss = nn.CrossEntropyLoss()
    kl_loss = bnn.BKLLoss(reduction="mean", last_layer_only=False)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    for _ in range(steps):
        cost = cross_entropy_loss(model(x), y) + KL_WEIGHT * kl_loss(model)
        optimizer.zero_grad()
        cost.backward()
        optimizer.step()
    return model


def draws(model: nn.Module, X: np.ndarray, number: int) -> np.ndarray:
    """Call the network once for each weight draw: probabilities of shape (number, n, classes)."""
    x = torch.from_numpy(X).float()
    with torch.no_grad():
        return np.stack([model(x).softmax(-1).numpy() for _ in range(number)])
