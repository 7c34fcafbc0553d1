"""Mean-field variational inference of torchbnn networks, many draws and many fits at once.

torchbnn stores, for every weight, the mean μ and the log standard deviation log σ of its own
Normal: q(w) = Π_i N(w_i; μ_i, σ_i²).  A call of the network draws its weights as w = μ + σ ε and
runs them once.  This module draws the weights of many draws of many fits in the same way, and runs
the network that the chapter wrote with all of them in one batched computation.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..predictive import ClassificationPredictive
from ..progress import progress
from ._chunks import chunks
from .side_by_side import SideBySide, Weights, probabilities, stack


@dataclass(frozen=True)
class MeanFieldPosterior:
    """A torchbnn network, read as an approximate posterior q(w) over its weights.

    Attributes
    ----------
    model : torch.nn.Module
        The network, trained by `fit` or by any other loop.
    """

    model: nn.Module

    def predictive(
        self, X: np.ndarray, *, draws: int = 1000, seed: int
    ) -> ClassificationPredictive:
        """Return the predictive of new inputs from draws of the weights.

        Parameters
        ----------
        X : ndarray, shape (n, features)
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
        logits = self._logits(X, draws, seed)
        return ClassificationPredictive(probabilities(logits))

    @property
    def kl(self) -> float:
        """KL(q || prior), summed over all weights, in nats."""
        posterior = _Posteriors([self.model])
        return kl_divergence(posterior.mean, posterior.log_scale, *_priors([self.model])).item()

    def bound(self, X: np.ndarray, y: np.ndarray, *, draws: int = 200, seed: int) -> float:
        """Return the evidence lower bound E_q[log p(y | X, w)] - KL(q || prior), in nats.

        Parameters
        ----------
        X : ndarray, shape (n, features)
            Training inputs.
        y : ndarray of int, shape (n,)
            Training labels.
        draws : int
            Number of weight draws that estimate the expectation.
        seed : int
            Seed of the draws.

        Returns
        -------
        float
            A lower bound, up to the noise of the draws, of log p(y | X).
        """
        _, (labels,) = _checked([self.model], [X], [y])
        log_probs = self._logits(X, draws, seed).log_softmax(-1)
        per_draw = log_probs[:, torch.arange(len(labels)), labels].sum(1)
        return per_draw.mean().item() - self.kl

    @torch.no_grad()
    def _logits(self, X: np.ndarray, draws: int, seed: int) -> Tensor:
        """Run the network for many draws at once, in chunks that bound the memory."""
        (inputs,), _ = _checked([self.model], [X])
        generator = torch.Generator().manual_seed(seed)
        posterior, network = _Posteriors([self.model]), SideBySide(self.model)
        parts = []
        for chunk in chunks(draws, posterior.weights):
            weights = posterior.drawn(chunk.stop - chunk.start, generator)
            # A few draws at a time, so that the layers' values stay near the processor.
            few = max(1, 2_000 // len(inputs))
            for values in zip(*(stacked.split(few) for stacked in weights.values()), strict=True):
                few_weights = dict(zip(weights, values, strict=True))
                parts.append(network(few_weights, inputs.expand(len(values[0]), *inputs.shape)))
        return torch.cat(parts)


def fit(
    model: nn.Module,
    X: np.ndarray,
    y: np.ndarray,
    *,
    kl_weight: float | None = None,
    steps: int = 600,
    batch_size: int | None = None,
    draws: int = 8,
    learning_rate: float = 0.01,
    cosine: bool = True,
    initial_scale: float | None = None,
    seed: int,
) -> MeanFieldPosterior:
    """Fit the posterior of one network: see `fit_many`, of which this is the case of one fit."""
    (posterior,) = fit_many(
        [model],
        [X],
        [y],
        kl_weight=kl_weight,
        steps=steps,
        batch_size=batch_size,
        draws=draws,
        learning_rate=learning_rate,
        cosine=cosine,
        initial_scale=initial_scale,
        seed=seed,
    )
    return posterior


def fit_many(
    models: Sequence[nn.Module],
    Xs: Sequence[np.ndarray],
    ys: Sequence[np.ndarray],
    *,
    kl_weight: float | Sequence[float] | None = None,
    steps: int = 600,
    batch_size: int | None = None,
    draws: int = 8,
    learning_rate: float = 0.01,
    cosine: bool = True,
    initial_scale: float | None = None,
    seed: int,
) -> list[MeanFieldPosterior]:
    """Fit the posteriors of several networks of one architecture, in one batched computation.

    Minimises, for each fit,

        E_q[ -1/n Σ_i log p(y_i | x_i, w) ]  +  kl_weight · KL(q || prior).

    With ``kl_weight = 1 / n`` this is the negative evidence lower bound divided by n.  A mean over
    a random batch estimates the mean over all n without bias, so the weight of the KL does not
    depend on the size of the batches.  All fits share the noise of the draws and the order of the
    batches: a fit gives the same result alone and in company, and two fits differ by their data,
    prior, starting point or weight of the KL and not by their luck.

    Parameters
    ----------
    models : sequence of torch.nn.Module
        Networks of torchbnn layers, equal but for their priors and starting points, with class
        logits as outputs.  They are left untouched.
    Xs : sequence of ndarray, each of shape (n, features) or (n, channels, height, width)
        Training inputs of each fit; all of the same shape.
    ys : sequence of ndarray of int, each of shape (n,)
        Training labels of each fit.
    kl_weight : float or sequence of float, optional
        Weight of the KL, summed over all weights, of all fits or of each; 1 / n, which the bound
        asks for, if not given.
    steps : int
        Number of steps of Adam.
    batch_size : int, optional
        Number of examples per step, from a new shuffle in each pass; all of them if not given.
    draws : int
        Weight draws per step, each used for all examples of the batch.
    learning_rate : float
        Learning rate of Adam.
    cosine : bool
        Whether the learning rate falls to 0 along a cosine, so that the gradient's noise dies out.
    initial_scale : float, optional
        Standard deviation at which every weight's posterior starts; the model's own, which is
        torchbnn's prior, if not given.
    seed : int
        Seed of the draws.  The starting means are the models'.

    Returns
    -------
    list of MeanFieldPosterior
        One per model.

    Raises
    ------
    ValueError
        If the models, data or settings cannot be fitted.
    FloatingPointError
        If a fit diverges.

    References
    ----------
    A. Graves: Practical variational inference for neural networks. NeurIPS 2011.
    C. Blundell, J. Cornebise, K. Kavukcuoglu, D. Wierstra: Weight uncertainty in neural networks.
    ICML 2015.
    """
    inputs, labels = _checked(models, Xs, ys)
    n = labels.shape[1]
    if kl_weight is None:
        kl_weight = 1 / n
    for name, value in {"steps": steps, "draws": draws, "learning_rate": learning_rate}.items():
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value!r}")
    kl_weights = torch.as_tensor(kl_weight, dtype=torch.float32)
    if kl_weights.shape not in ((), (len(models),)):
        raise ValueError(
            f"kl_weight must be one number or one for each of the {len(models)} fits, got "
            f"{kl_weight!r}"
        )
    if not (kl_weights.isfinite().all() and (kl_weights >= 0).all()):
        raise ValueError(f"kl_weight must be finite and not negative, got {kl_weight!r}")

    posteriors = _Posteriors(models)
    if initial_scale is not None:
        if not initial_scale > 0:
            raise ValueError(f"initial_scale must be positive, got {initial_scale!r}")
        posteriors.log_scale.fill_(math.log(initial_scale))
    parameters = posteriors.parameters.requires_grad_()
    priors = _priors(models)
    network = SideBySide(models[0])
    generator = torch.Generator().manual_seed(seed)
    optimiser = Adam([parameters], lr=learning_rate)
    # The batches have a generator of their own: they leave the noise of the draws as it is.
    order = batches(n, batch_size, torch.Generator().manual_seed(seed))
    for step in progress(range(steps), "fitting"):
        if cosine:
            optimiser.lr = learning_rate * (1 + math.cos(math.pi * step / steps)) / 2
        batch = next(order)
        # Each draw of each fit is a network of its own; a fit's see the same examples.
        examples = inputs[:, batch].repeat_interleave(draws, dim=0)
        targets = labels[:, batch].repeat_interleave(draws, dim=0)
        logits = network(posteriors.drawn(draws, generator), examples)
        cross_entropy = nn.functional.cross_entropy(
            logits.movedim(-1, 1), targets, reduction="none"
        )
        loss = cross_entropy.reshape(len(models), -1).mean(1) + kl_weights * kl_divergence(
            posteriors.mean, posteriors.log_scale, *priors
        )
        optimiser.zero_grad()
        # The fits share no parameter: the gradient of the sum is each fit's own gradient.
        loss.sum().backward()
        optimiser.step()

    diverged = ~parameters.isfinite().all(1)
    if diverged.any():
        raise FloatingPointError(
            f"fits {diverged.nonzero().flatten().tolist()} diverged: their parameters are not "
            f"finite; lower learning_rate={learning_rate!r} or rescale the inputs"
        )
    return [posteriors.of(fit, model) for fit, model in enumerate(models)]


class Adam:
    """The updates of `torch.optim.Adam`, at its default settings.

    Every optimiser of `torch.optim` loads PyTorch's compiler, which nothing here uses: 75 MB and
    more than a second, in each chapter and on each reader's machine.

    Parameters
    ----------
    parameters : iterable of Tensor
        What to optimise; each needs a gradient at each step.
    lr : float
        Learning rate; may be changed between steps.

    References
    ----------
    D. P. Kingma, J. Ba: Adam: a method for stochastic optimization. ICLR 2015.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float) -> None:
        self.parameters = list(parameters)
        self.lr = lr
        self.steps = 0
        self.moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in self.parameters]

    def zero_grad(self) -> None:
        """Forget the gradients, before the next backward pass adds its own."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move each parameter against its averaged gradient, in units of its root mean square."""
        self.steps += 1
        correction, squared_correction = 1 - 0.9**self.steps, 1 - 0.999**self.steps
        for parameter, (mean, square) in zip(self.parameters, self.moments, strict=True):
            mean.lerp_(parameter.grad, 1 - 0.9)
            square.mul_(0.999).addcmul_(parameter.grad, parameter.grad, value=1 - 0.999)
            scale = (square / squared_correction).sqrt_().add_(1e-8)
            parameter.addcdiv_(mean, scale, value=-self.lr / correction)


def kl_divergence(
    mean: Tensor, log_scale: Tensor, prior_mean: Tensor, prior_log_scale: Tensor
) -> Tensor:
    """Return KL(q || prior) of each fit, shape (fits,), summed over its weights, in nats.

    For one weight, with q = N(μ, σ²) and prior N(m, s²), it is

        log(s / σ) + (σ² + (μ - m)²) / (2 s²) - 1/2.

    Parameters
    ----------
    mean, log_scale : Tensor, shape (fits, weights)
        μ and log σ.
    prior_mean, prior_log_scale : Tensor, shape (fits, weights)
        m and log s.
    """
    log_ratio = log_scale - prior_log_scale
    squared_shift = ((mean - prior_mean) / prior_log_scale.exp()) ** 2
    return (((2 * log_ratio).exp() + squared_shift - 1) / 2 - log_ratio).sum(1)


def batches(n: int, batch_size: int | None, generator: torch.Generator) -> Iterator[slice | Tensor]:
    """Yield the positions of the examples of one step after another, without an end.

    Each pass shuffles the n examples anew; what does not fill a batch at its end is left out.

    Parameters
    ----------
    n : int
        Number of examples.
    batch_size : int or None
        Examples per step; all of them, unshuffled, if None.
    generator : torch.Generator
        Source of the shuffles.

    Yields
    ------
    slice or Tensor
        What to index the examples with.

    Raises
    ------
    ValueError
        If a batch would be empty or larger than the data.
    """
    if batch_size is not None and not 1 <= batch_size <= n:
        raise ValueError(f"batch_size must be between 1 and n = {n}, got {batch_size!r}")
    while batch_size is None:
        yield slice(None)
    while True:
        yield from torch.randperm(n, generator=generator).split(batch_size)[: n // batch_size]


def stacked_data(
    models: Sequence[nn.Module],
    Xs: Sequence[np.ndarray],
    ys: Sequence[np.ndarray] | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Return the data of several fits as two tensors, or say what is wrong with them.

    Parameters
    ----------
    models : sequence of torch.nn.Module
        The network of each fit, with class logits as outputs.
    Xs : sequence of ndarray, each of shape (n, …)
        Inputs of each fit; all of the same shape.
    ys : sequence of ndarray of int, each of shape (n,), optional
        Labels of each fit.

    Returns
    -------
    inputs : Tensor, shape (fits, n, …)
    labels : Tensor of int, shape (fits, n), or None

    Raises
    ------
    ValueError
        If the numbers, shapes or values do not fit together.
    """
    if not models or len(models) != len(Xs) or (ys is not None and len(ys) != len(Xs)):
        raise ValueError(
            "each fit needs a model, inputs and labels, got "
            f"{len(models)}, {len(Xs)} and {len(Xs) if ys is None else len(ys)}"
        )
    Xs = [np.asarray(X, dtype=np.float32) for X in Xs]
    if len({X.shape for X in Xs}) != 1:
        raise ValueError(
            "the inputs of fits that run together must have one shape, got "
            f"{sorted({X.shape for X in Xs})}; fit other sizes in another call"
        )
    if Xs[0].ndim < 2 or Xs[0].size == 0:
        raise ValueError(f"X must have shape (n, features) with n at least 1, got {Xs[0].shape}")
    inputs = torch.from_numpy(np.stack(Xs))
    if not inputs.isfinite().all():
        bad = (~inputs.isfinite()).nonzero()[0].tolist()
        raise ValueError(f"X holds a non-finite value, the first at (fit, row, column) {bad}")
    try:
        with torch.no_grad():
            classes = models[0](inputs[0, :1]).shape[-1]
    except RuntimeError as error:
        raise ValueError(
            f"the network does not take inputs of shape {Xs[0].shape}: {error}"
        ) from error
    if ys is None:
        return inputs, None
    ys = [np.asarray(y) for y in ys]
    for y in ys:
        if y.shape != Xs[0].shape[:1] or not np.issubdtype(y.dtype, np.integer):
            raise ValueError(
                f"y must hold {len(Xs[0])} integer labels, got shape {y.shape} of {y.dtype}"
            )
        if y.min() < 0 or y.max() >= classes:
            raise ValueError(
                f"labels must lie in 0..{classes - 1} for a network of {classes} outputs, got "
                f"{y.min()}..{y.max()}"
            )
    return inputs, torch.from_numpy(np.stack(ys).astype(np.int64))


class _Posteriors:
    """The posteriors of several fits as one matrix of parameters.

    A row for each fit: all μ, all log σ, and what has no posterior.  So drawing the weights, the
    KL and Adam are a few operations each, whatever the number of layers.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        stacked = stack(models)
        means = [name for name in stacked if name.endswith("_mu")]
        log_scales = [f"{name.removesuffix('_mu')}_log_sigma" for name in means]
        rest = [name for name in stacked if name not in means + log_scales]
        names = means + log_scales + rest
        self.parameters = torch.cat([stacked[name].flatten(1) for name in names], dim=1)
        self.shapes = {name: stacked[name].shape[1:] for name in names}
        self.drawn_shapes = {name.removesuffix("_mu"): self.shapes[name] for name in means}
        self.fixed_shapes = {name: self.shapes[name] for name in rest}
        self.weights = sum(shape.numel() for shape in self.drawn_shapes.values())

    @property
    def mean(self) -> Tensor:
        """All μ, shape (fits, weights)."""
        return self.parameters[:, : self.weights]

    @property
    def log_scale(self) -> Tensor:
        """All log σ, shape (fits, weights)."""
        return self.parameters[:, self.weights : 2 * self.weights]

    def drawn(self, draws: int, generator: torch.Generator) -> Weights:
        """Draw w = μ + σ ε, shapes (fits · draws, …); the fits share the noise ε."""
        noise = torch.randn((draws, self.weights), generator=generator)
        drawn = torch.addcmul(self.mean[:, None], self.log_scale.exp()[:, None], noise)
        fixed = self.parameters[:, 2 * self.weights :].repeat_interleave(draws, dim=0)
        return _split(drawn.flatten(0, 1), self.drawn_shapes) | _split(fixed, self.fixed_shapes)

    def of(self, fit: int, model: nn.Module) -> MeanFieldPosterior:
        """Return a copy of the model with the parameters of one fit."""
        model = copy.deepcopy(model)
        row = _split(self.parameters[[fit]].detach(), self.shapes)
        model.load_state_dict({name: value[0] for name, value in row.items()})
        return MeanFieldPosterior(model)


def _split(rows: Tensor, shapes: dict[str, torch.Size]) -> Weights:
    """Cut rows of numbers, shape (networks, numbers), into what stands behind one another there."""
    parts = rows.split([shape.numel() for shape in shapes.values()], dim=1)
    return {
        name: part.unflatten(1, shape)
        for (name, shape), part in zip(shapes.items(), parts, strict=True)
    }


def _priors(models: Sequence[nn.Module]) -> tuple[Tensor, Tensor]:
    """Return the priors' means and log standard deviations, shapes (fits, weights)."""
    means, log_scales = [], []
    for model in models:
        of_weights = [
            (model.get_submodule(name.rpartition(".")[0]), parameter.numel())
            for name, parameter in model.named_parameters()
            if name.endswith("_mu")
        ]
        sizes = torch.tensor([size for _, size in of_weights])
        for values, attribute in ((means, "prior_mu"), (log_scales, "prior_log_sigma")):
            of_layers = [float(getattr(layer, attribute)) for layer, _ in of_weights]
            values.append(torch.tensor(of_layers).repeat_interleave(sizes))
    return torch.stack(means), torch.stack(log_scales)


def _checked(
    models: Sequence[nn.Module],
    Xs: Sequence[np.ndarray],
    ys: Sequence[np.ndarray] | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Return the data of fits of Bayesian networks as tensors, or say what is wrong."""
    for model in models:
        _check_model(model)
    return stacked_data(models, Xs, ys)


def _check_model(model: nn.Module) -> None:
    """Refuse networks without a posterior, without a prior, or that couple the examples."""
    bayesian = [layer for layer in model.modules() if hasattr(layer, "prior_log_sigma")]
    if not bayesian:
        raise ValueError(
            "the network has no Bayesian layer; build it of torchbnn layers such as BayesLinear"
        )
    for layer in bayesian:
        if not (math.isfinite(layer.prior_mu) and math.isfinite(layer.prior_log_sigma)):
            raise ValueError(
                f"{layer}: the prior's mean must be finite and its sigma finite and positive"
            )
    others = [name for name, _ in model.named_buffers() if not name.endswith("_eps")]
    if others or any(isinstance(layer, nn.Dropout) for layer in model.modules()):
        raise ValueError(
            "layers that drop units or keep statistics of the batch are not supported "
            f"(buffers {others}): the likelihood must be a product over the examples"
        )
