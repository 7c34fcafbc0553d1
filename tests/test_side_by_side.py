"""Networks side by side against the same networks one by one."""

import numpy as np
import pytest
import torch
import torchbnn as bnn
from scipy.special import softmax
from torch import nn

from bnnbook.methods.side_by_side import SideBySide, probabilities, stack


class Residual(nn.Module):
    """A network that is no Sequential, uses one layer twice, and leaves out a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.last = nn.Linear(4, 3, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(2):
            x = x + self.inner(x).tanh()
        return self.last(x)


def convolutional() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3, padding="same", dilation=2, groups=2, bias=False),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(24, 3),
    )


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: nn.Linear(4, 3), (4,)),
        (Residual, (4,)),
        (Residual, (5, 4)),  # sequences: a linear layer takes any number of axes before the last
        (convolutional, (2, 8, 8)),
    ],
)
def test_each_network_computes_what_it_computes_alone(make, shape) -> None:
    torch.manual_seed(0)
    models = [make() for _ in range(3)]
    inputs = torch.randn(3, 7, *shape)
    outputs = SideBySide(models[0])(stack(models), inputs)
    alone = torch.stack([model(x) for model, x in zip(models, inputs, strict=True)])
    torch.testing.assert_close(outputs, alone, rtol=1e-4, atol=1e-5)


def test_gradients_are_those_of_each_network_alone() -> None:
    models = [convolutional() for _ in range(2)]
    inputs = torch.randn(2, 5, 2, 8, 8)
    weights = {name: value.requires_grad_() for name, value in stack(models).items()}
    SideBySide(models[0])(weights, inputs).square().sum().backward()
    for i, model in enumerate(models):
        model(inputs[i]).square().sum().backward()
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(weights[name].grad[i], parameter.grad, rtol=1e-3, atol=1e-4)


def test_the_model_is_left_as_it_is() -> None:
    model = nn.Sequential(nn.Linear(2, 3))
    x = torch.randn(5, 2)
    before = model(x)
    SideBySide(model)(stack([nn.Sequential(nn.Linear(2, 3))]), x[None])
    assert torch.equal(model(x), before)


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (nn.LayerNorm(4), "0.LayerNorm"),
        (nn.Conv1d(1, 2, 3), "0.Conv1d"),
        (nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"), "0.Conv2d"),
        (bnn.BayesConv2d(0, 1, 1, 2, 3, padding_mode="circular"), "0.BayesConv2d"),
        (type("Own", (nn.Linear,), {})(4, 3), "0.Own"),  # its forward may be another
    ],
)
def test_other_layers_with_weights_are_refused(layer: nn.Module, name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name}\(.* must be Linear, Conv2d, BayesLinear or"):
        SideBySide(nn.Sequential(layer))


def test_a_model_that_goes_past_its_layers_fails() -> None:
    class Tied(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self[0](x) @ self[0].weight

    models = [Tied(nn.Linear(4, 3)) for _ in range(2)]
    with pytest.raises(AttributeError, match="'Linear' object has no attribute 'weight'"):
        SideBySide(models[0])(stack(models), torch.randn(2, 5, 4))


def test_probabilities_are_the_softmax() -> None:
    logits = 30 * torch.randn(4, 5, 3)
    expected = softmax(logits.numpy(), axis=-1)
    assert probabilities(logits) == pytest.approx(expected, rel=1e-5)
    assert probabilities(torch.full((1, 1, 2), 1e4)) == pytest.approx(np.full((1, 1, 2), 0.5))
