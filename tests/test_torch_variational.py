"""Mean-field inference of torchbnn networks against torchbnn itself, closed forms, brute force."""

import copy
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torchbnn as bnn
from scipy.optimize import minimize
from torch import nn

from bnnbook.methods import torch_variational as tv

ROOT = str(Path(tv.__file__).parents[2])


def network(prior_sigma=1.0, *, inputs=2, hidden=5, seed=0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        bnn.BayesLinear(0, prior_sigma, inputs, hidden),
        nn.ReLU(),
        bnn.BayesLinear(0.5, 2 * prior_sigma, hidden, 3),
    )


def toy(n=30, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    return X, (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)


def drawn_logits(models, inputs, draws=3):
    """Draw weights of each model, by name with shapes (models, draws, …), and run them."""
    weights = tv._Posteriors(models).drawn(draws, torch.Generator().manual_seed(0))
    logits = tv.SideBySide(models[0])(weights, inputs.repeat_interleave(draws, dim=0))
    split = {name: value.unflatten(0, (len(models), draws)) for name, value in weights.items()}
    return split, logits.unflatten(0, (len(models), draws))


def freeze_at(model, positions, weights, i, s) -> None:
    """Freeze torchbnn's layers at the weights of draw s of model i."""
    for position in positions:
        layer = model[position]
        for kind in ("weight", "bias"):
            mu, log_sigma = getattr(layer, f"{kind}_mu"), getattr(layer, f"{kind}_log_sigma")
            noise = (weights[f"{position}.{kind}"][i, s] - mu) / log_sigma.exp()
            setattr(layer, f"{kind}_eps", noise.detach())


def test_batched_network_is_torchbnns_frozen_network() -> None:
    models = [network(seed=0), network(seed=1)]
    inputs = torch.randn(2, 7, 2)
    weights, logits = drawn_logits(models, inputs)
    assert logits.shape == (2, 3, 7, 3)
    for i, model in enumerate(models):
        for s in range(3):
            freeze_at(model, (0, 2), weights, i, s)
            torch.testing.assert_close(logits[i, s], model(inputs[i]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("prior_sigma", [0.1, 1.0, 7.0])
def test_kl_is_torchbnns_sum(prior_sigma: float) -> None:
    model = network(prior_sigma)
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    expected = bnn.BKLLoss(reduction="sum", last_layer_only=False)(model).item()
    assert tv.MeanFieldPosterior(model).kl == pytest.approx(expected, rel=1e-5)


def test_kl_of_each_fit_uses_its_own_prior() -> None:
    models = [network(0.5), network(2.0)]
    posteriors = tv._Posteriors(models)
    together = tv.kl_divergence(posteriors.mean, posteriors.log_scale, *tv._priors(models))
    assert together.tolist() == pytest.approx([tv.MeanFieldPosterior(m).kl for m in models])


def test_fits_in_company_equal_fits_alone() -> None:
    models = [network(0.3, seed=0), network(1.0, seed=1), network(3.0, seed=2)]
    Xs, ys = zip(*[toy(seed=s) for s in range(3)], strict=True)
    options = {"steps": 40, "draws": 3, "learning_rate": 0.05, "seed": 4}
    together = tv.fit_many(models, Xs, ys, **options)
    for model, X, y, posterior in zip(models, Xs, ys, together, strict=True):
        alone = tv.fit(model, X, y, **options).model.state_dict()
        for name, value in posterior.model.state_dict().items():
            torch.testing.assert_close(value, alone[name], rtol=1e-3, atol=1e-4)


def test_each_fit_may_have_its_own_weight_of_the_kl() -> None:
    model, (X, y) = network(), toy()
    options = {"steps": 40, "draws": 3, "learning_rate": 0.05, "seed": 4}
    weights = [0.01, 0.3]
    together = tv.fit_many([model] * 2, [X] * 2, [y] * 2, kl_weight=weights, **options)
    alone = [tv.fit(model, X, y, kl_weight=weight, **options) for weight in weights]
    assert [q.kl for q in together] == pytest.approx([q.kl for q in alone], rel=1e-3)
    assert abs(alone[0].kl - alone[1].kl) > 0.1 * alone[1].kl
    with pytest.raises(ValueError, match="one for each of the 2 fits"):
        tv.fit_many([model] * 2, [X] * 2, [y] * 2, kl_weight=[0.1] * 3, **options)


def test_fit_leaves_the_model_and_the_global_seed_alone() -> None:
    model, (X, y) = network(), toy()
    before = copy.deepcopy(model.state_dict())
    posterior = tv.fit(model, X, y, steps=5, seed=0)
    torch.manual_seed(99)
    again = tv.fit(model, X, y, steps=5, seed=0)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
        assert not torch.equal(value, posterior.model.state_dict()[name])
        assert torch.equal(posterior.model.state_dict()[name], again.model.state_dict()[name])


def test_fit_finds_the_optimum_that_quadrature_finds() -> None:
    # One weight per class and no input but the constant 1: the logits' difference is Normal, and
    # the bound is a one-dimensional integral.
    y = np.array([1] * 8 + [0] * 2)
    X = np.ones((len(y), 1))
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()
    prior_sigma = 1.5

    def negative_bound(theta: np.ndarray) -> float:
        mu, log_sigma = theta[:2], theta[2:]
        gap = mu[1] - mu[0] + np.sqrt(np.exp(2 * log_sigma).sum()) * nodes
        nll = weights @ (8 * np.logaddexp(0, -gap) + 2 * np.logaddexp(0, gap))
        ratio = np.exp(log_sigma) / prior_sigma
        kl = np.sum(-np.log(ratio) + (ratio**2 + (mu / prior_sigma) ** 2 - 1) / 2)
        return float(nll + kl)

    best = minimize(negative_bound, np.zeros(4))
    model = nn.Sequential(bnn.BayesLinear(0, prior_sigma, 1, 2, bias=False))
    posterior = tv.fit(model, X, y, steps=500, draws=32, learning_rate=0.05, seed=0)
    layer = posterior.model[0]
    mu = layer.weight_mu.detach().flatten().numpy()
    log_sigma = layer.weight_log_sigma.detach().flatten().numpy()
    assert mu == pytest.approx(best.x[:2], abs=0.06)
    assert log_sigma == pytest.approx(best.x[2:], abs=0.06)
    assert negative_bound(np.concatenate([mu, log_sigma])) < best.fun + 0.01
    assert posterior.bound(X, y, draws=20_000, seed=1) == pytest.approx(-best.fun, abs=0.05)


def test_a_heavy_kl_gives_the_prior_and_no_kl_gives_a_point() -> None:
    X, y = toy()
    prior = tv.fit(network(), X, y, kl_weight=100.0, learning_rate=0.1, steps=300, seed=0)
    assert prior.kl < 0.05
    point = tv.fit(
        network(), X, y, kl_weight=0.0, learning_rate=0.1, steps=100, initial_scale=0.1, seed=0
    )
    assert point.kl > 20


def test_adam_is_torchs_adam() -> None:
    ours, theirs = network(), network()
    mine, reference = (
        tv.Adam(ours.parameters(), lr=0.05),
        torch.optim.Adam(theirs.parameters(), lr=0.05),
    )
    for step in range(30):
        for model, optimiser in ((ours, mine), (theirs, reference)):
            torch.manual_seed(step)
            optimiser.zero_grad()
            model(torch.ones(4, 2)).square().mean().backward()
            optimiser.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_the_compiler_is_not_loaded() -> None:
    code = (
        "import sys, numpy as np, torchbnn as bnn\n"
        "from bnnbook.methods import torch_variational as tv\n"
        "model = bnn.BayesLinear(0, 1, 1, 2)\n"
        "X, y = np.zeros((2, 1)), np.array([0, 1])\n"
        "tv.fit(model, X, y, steps=2, seed=0).predictive(X, draws=2, seed=0)\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": ROOT})


def test_initial_scale_is_where_the_posterior_starts() -> None:
    X, y = toy()
    options = {"steps": 1, "learning_rate": 1e-6, "seed": 0}
    posterior = tv.fit(network(), X, y, initial_scale=0.03, **options)
    scales = posterior.model[0].weight_log_sigma.exp()
    torch.testing.assert_close(scales, torch.full_like(scales, 0.03), rtol=1e-4, atol=0)


@pytest.mark.parametrize("cosine", [True, False])
def test_the_cosine_lets_the_noise_die_out(cosine: bool) -> None:
    X, y = toy()
    torch.manual_seed(0)
    model = nn.Sequential(bnn.BayesLinear(0, 1, 2, 3))
    options = {"steps": 200, "draws": 1, "learning_rate": 0.1, "cosine": cosine}
    means = [
        tv.fit(model, X, y, seed=seed, **options).model[0].bias_mu.detach()
        for seed in range(4)  # four noises, one starting point
    ]
    assert (torch.stack(means).std(0).mean() < 0.08) == cosine


def test_draws_have_the_posteriors_moments() -> None:
    model = nn.Sequential(bnn.BayesLinear(0, 1, 2, 2))
    layer = model[0]
    with torch.no_grad():
        layer.weight_log_sigma.fill_(math.log(0.3))
        layer.bias_log_sigma.fill_(math.log(0.2))
    X = np.array([[1.0, -2.0], [0.5, 0.0], [3.0, 1.0]])
    predictive = tv.MeanFieldPosterior(model).predictive(X, draws=20_000, seed=0)
    gap = np.log(predictive.probs[..., 1] / predictive.probs[..., 0])
    mu = layer.weight_mu.detach().numpy()
    mean = X @ (mu[1] - mu[0]) + (layer.bias_mu[1] - layer.bias_mu[0]).item()
    inputs = np.column_stack([0.3 * X, np.full(3, 0.2)])
    covariance = 2 * inputs @ inputs.T  # also between points: each draw is one function
    assert gap.mean(axis=0) == pytest.approx(mean, abs=0.05)
    assert np.cov(gap.T) == pytest.approx(covariance, abs=0.06)


def test_chunks_of_draws_all_differ_and_depend_on_the_seed_alone() -> None:
    posterior = tv.MeanFieldPosterior(network())
    X = np.random.default_rng(0).normal(size=(2_000, 2))  # two draws per chunk
    predictive = posterior.predictive(X, draws=5, seed=0)
    assert predictive.probs.shape == (5, 2_000, 3)
    assert len(np.unique(predictive.probs[:, 0, 0])) == 5
    assert np.array_equal(predictive.probs, posterior.predictive(X, draws=5, seed=0).probs)
    assert not np.array_equal(predictive.probs, posterior.predictive(X, draws=5, seed=1).probs)


def test_a_frozen_model_still_draws() -> None:
    model = network()
    bnn.utils.freeze(model)
    predictive = tv.MeanFieldPosterior(model).predictive(np.zeros((1, 2)), draws=4, seed=0)
    assert len(np.unique(predictive.probs[:, 0, 0])) == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": np.full(30, 3)}, r"labels must lie in 0\.\.2 .* got 3\.\.3"),
        ({"y": np.full(30, -1)}, r"got -1\.\.-1"),
        ({"y": np.zeros(30)}, "30 integer labels, got shape .* float64"),
        ({"y": np.zeros(29, dtype=int)}, "30 integer labels"),
        ({"X": np.full((30, 2), np.nan)}, "non-finite"),
        ({"X": np.zeros((30, 4))}, r"does not take inputs of shape \(30, 4\)"),
        ({"X": np.zeros(30)}, r"shape \(n, features\)"),
        ({"model": nn.Linear(2, 3)}, "no Bayesian layer"),
        ({"model": nn.Sequential(network(), nn.BatchNorm1d(3))}, "statistics of the batch"),
        ({"model": nn.Sequential(network(), nn.Dropout())}, "drop units"),
        ({"model": network(float("nan"))}, "finite and positive"),
        ({"steps": 0}, "steps must be positive, got 0"),
        ({"draws": -1}, "draws must be positive, got -1"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"initial_scale": 0.0}, "initial_scale must be positive"),
        ({"kl_weight": -0.1}, "kl_weight must be finite and not negative"),
    ],
)
def test_bad_input_is_named(changes: dict, message: str) -> None:
    X, y = toy()
    with pytest.raises(ValueError, match=message):
        tv.fit(**({"model": network(), "X": X, "y": y, "seed": 0} | changes))


def test_fits_of_different_sizes_are_refused() -> None:
    (X, y), model = toy(), network()
    with pytest.raises(ValueError, match="must have one shape"):
        tv.fit_many([model, model], [X, X[:-1]], [y, y[:-1]], seed=0)
    with pytest.raises(ValueError, match="each fit needs a model"):
        tv.fit_many([model], [X, X], [y, y], seed=0)


def test_divergence_is_told() -> None:
    X, y = toy()
    with pytest.raises(FloatingPointError, match=r"fits \[0\] diverged.*learning_rate"):
        tv.fit(network(), X, y, learning_rate=1e6, steps=5, seed=0)


def test_no_draws_no_predictive() -> None:
    with pytest.raises(ValueError, match="draws must be at least 1"):
        tv.MeanFieldPosterior(network()).predictive(np.zeros((1, 2)), draws=0, seed=0)


def convolutional(seed=0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        bnn.BayesConv2d(0, 0.5, 1, 4, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        bnn.BayesLinear(0, 1.0, 16, 3),
    )


def images(n=30, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random((n, 1, 4, 4)), rng.integers(0, 3, n)


def test_a_batched_convolution_is_torchbnns_frozen_one() -> None:
    models = [convolutional(0), convolutional(1)]
    inputs = torch.rand(2, 7, 1, 4, 4)
    weights, logits = drawn_logits(models, inputs)
    assert logits.shape == (2, 3, 7, 3)
    for i, model in enumerate(models):
        for s in range(3):
            freeze_at(model, (0, 4), weights, i, s)
            torch.testing.assert_close(logits[i, s], model(inputs[i]), rtol=1e-4, atol=1e-5)
    expected = bnn.BKLLoss(reduction="sum", last_layer_only=False)(models[0]).item()
    assert tv.MeanFieldPosterior(models[0]).kl == pytest.approx(expected, rel=1e-5)


def test_images_train_in_batches() -> None:
    X, y = images()
    posterior = tv.fit(convolutional(), X, y, steps=4, batch_size=8, draws=2, seed=0)
    predictive = posterior.predictive(X, draws=5, seed=1)
    assert predictive.probs.shape == (5, 30, 3)


def test_batches_aim_at_the_optimum_of_the_full_bound() -> None:
    # The same one-input model as above, in batches of five: the KL's weight must not change.
    y = np.array([1] * 8 + [0] * 2)
    X = np.ones((len(y), 1))
    model = nn.Sequential(bnn.BayesLinear(0, 1.5, 1, 2, bias=False))
    options = {"steps": 1500, "draws": 32, "learning_rate": 0.03, "seed": 0}
    full = tv.fit(model, X, y, **options).model[0]
    batched = tv.fit(model, X, y, batch_size=5, **options).model[0]
    torch.testing.assert_close(batched.weight_mu, full.weight_mu, rtol=0, atol=0.06)
    torch.testing.assert_close(batched.weight_log_sigma, full.weight_log_sigma, rtol=0, atol=0.06)


def test_the_weight_of_the_kl_does_not_depend_on_the_batches() -> None:
    X, y = toy()
    options = {"steps": 5, "batch_size": 5, "draws": 2, "seed": 0}
    by_default = tv.fit(network(), X, y, **options).model
    by_the_bound = tv.fit(network(), X, y, kl_weight=1 / len(y), **options).model
    assert by_default.state_dict().keys() == by_the_bound.state_dict().keys()
    for name, value in by_default.named_parameters():
        assert torch.equal(value, by_the_bound.get_parameter(name)), name


def test_a_pass_shows_every_example_once() -> None:
    order = tv.batches(10, 5, torch.Generator().manual_seed(0))
    passes = [torch.cat([next(order), next(order)]) for _ in range(3)]
    for positions in passes:
        assert sorted(positions.tolist()) == list(range(10))
    assert not torch.equal(passes[0], passes[1])
    short = tv.batches(10, 4, torch.Generator().manual_seed(0))  # two are left over
    assert [len(next(short)) for _ in range(5)] == [4] * 5
    assert next(tv.batches(10, None, torch.Generator())) == slice(None)


def test_a_batch_larger_than_the_data_is_refused() -> None:
    X, y = toy()
    with pytest.raises(ValueError, match="batch_size must be between 1 and n = 30, got 31"):
        tv.fit(network(), X, y, batch_size=31, seed=0)


def test_a_layer_without_a_posterior_is_trained_and_the_same_in_every_draw() -> None:
    X, y = toy()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), bnn.BayesLinear(0, 1, 4, 3))
    posterior = tv.fit(model, X, y, steps=50, seed=0)
    assert not torch.equal(posterior.model[0].weight, model[0].weight)
    assert posterior.bound(X, y, seed=0) > tv.MeanFieldPosterior(model).bound(X, y, seed=0)
    weights = tv._Posteriors([posterior.model]).drawn(3, torch.Generator().manual_seed(0))
    torch.testing.assert_close(weights["0.weight"], posterior.model[0].weight.expand(3, -1, -1))
    assert len(weights["2.weight"].unique()) == 3 * 4 * 3
