"""Runs many networks of one architecture in one batched computation, each with its own weights.

Every network sees its own examples, or all see the same; the layers with weights multiply a stack
of matrices or filters, and all other layers see one large batch of examples.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
import torchbnn as bnn
from torch import Tensor, nn
from torch.func import stack_module_state

LINEAR = (nn.Linear, bnn.BayesLinear)
CONVOLUTIONAL = (nn.Conv2d, bnn.BayesConv2d)

Weights = dict[str, Tensor]


class SideBySide:
    """An architecture as a function of (weights, inputs), for a stack of weights.

    PyTorch's `vmap` does the same for any layer; this takes two thirds of its time for small dense
    networks, whose layers cost less than `vmap`'s bookkeeping.

    Parameters
    ----------
    model : torch.nn.Module
        The network; it is copied.  Its layers with weights are linear or convolutional, of PyTorch
        or of torchbnn, and it treats examples independently.

    Raises
    ------
    ValueError
        If another layer has weights, or a convolution pads with anything but zeros.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = copy.deepcopy(model)
        self._weights: Weights = {}
        for name, layer in self.model.named_modules():
            prefix = f"{name}." if name else ""
            if type(layer) in LINEAR:
                layer.forward = partial(self._linear, prefix)
            elif type(layer) in CONVOLUTIONAL and layer.padding_mode == "zeros":
                layer.forward = partial(self._convolve, prefix, layer)
            elif any(True for _ in layer.parameters(recurse=False)):
                raise ValueError(
                    f"{prefix}{layer} cannot run for many networks side by side: layers with "
                    "weights must be Linear, Conv2d, BayesLinear or BayesConv2d, padded with zeros"
                )
            # A model that uses a layer's weights without calling the layer fails, and not silently.
            for parameter, _ in list(layer.named_parameters(recurse=False)):
                delattr(layer, parameter)

    def __call__(self, weights: Weights, inputs: Tensor) -> Tensor:
        """Run all networks.

        Parameters
        ----------
        weights : dict of Tensor, each of shape (networks, …)
            The weights and biases of each network, by their names in an ordinary network:
            "0.weight", also where torchbnn's layer has a "0.weight_mu".
        inputs : Tensor, shape (networks, n, …)
            The examples of each network.

        Returns
        -------
        Tensor, shape (networks, n, outputs)
        """
        self._weights = weights
        self._networks = len(inputs)
        return self.model(inputs.flatten(0, 1)).unflatten(0, inputs.shape[:2])

    def _linear(self, prefix: str, x: Tensor) -> Tensor:
        weight, bias = self._weights[f"{prefix}weight"], self._weights.get(f"{prefix}bias")
        rows = x.reshape(self._networks, -1, x.shape[-1])
        if bias is None:
            y = rows @ weight.mT
        elif weight.shape[1] < weight.shape[2]:
            # To a few outputs, the transposed product takes a third of the time.
            y = torch.baddbmm(bias[..., None], weight, rows.mT).mT
        else:
            y = torch.baddbmm(bias[:, None], rows, weight.mT)
        return y.reshape(*x.shape[:-1], -1)

    def _convolve(self, prefix: str, layer: nn.Module, x: Tensor) -> Tensor:
        weight, bias = self._weights[f"{prefix}weight"], self._weights.get(f"{prefix}bias")
        # The networks' channels behind one another, in groups that do not mix.
        channels = x.unflatten(0, (self._networks, -1)).transpose(0, 1).flatten(1, 2)
        y = nn.functional.conv2d(
            channels,
            weight.flatten(0, 1),
            None if bias is None else bias.flatten(),
            layer.stride,
            layer.padding,
            layer.dilation,
            self._networks * layer.groups,
        )
        return y.unflatten(1, (self._networks, -1)).transpose(0, 1).flatten(0, 1)


def stack(models: Sequence[nn.Module]) -> Weights:
    """Return the parameters of several networks of one architecture, shapes (networks, …)."""
    parameters, _ = stack_module_state(list(models))
    return {name: value.detach() for name, value in parameters.items()}


def probabilities(logits: Tensor) -> np.ndarray:
    """Return the softmax over the last axis.

    Over the first axis PyTorch takes a tenth of the time that it takes over a last axis of a few
    classes.
    """
    return logits.movedim(-1, 0).contiguous().softmax(0).movedim(0, -1).numpy()
