"""Networks trained side by side, and the three posteriors that start from them."""

import copy
import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import nn
from torch.func import hessian

from bnnbook.methods import deep_ensemble, last_layer_laplace, monte_carlo_dropout, networks


def toy(n=40, seed=0):
    """Three kinds of tiny images, told apart by the row that is dark."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    X = 0.1 * rng.random((n, 1, 4, 4))
    X[np.arange(n), 0, y] += 0.8
    return X, y


def network(seed=0, *, dropout=0.0, hidden=4) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, hidden, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout2d(dropout),
        nn.Flatten(),
        nn.Linear(4 * hidden, 3),
    )


def flat(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


SHORT = {"steps": 20, "batch_size": 8, "learning_rate": 0.02}


def test_networks_in_company_equal_networks_alone() -> None:
    models = [network(seed) for seed in range(3)]
    Xs, ys = zip(*[toy(seed=s) for s in range(3)], strict=True)
    together = networks.train(models, Xs, ys, seed=1, **SHORT)
    for model, X, y, trained in zip(models, Xs, ys, together, strict=True):
        (alone,) = networks.train([model], [X], [y], seed=1, **SHORT)
        torch.testing.assert_close(flat(trained), flat(alone), rtol=1e-3, atol=1e-4)
        assert not torch.allclose(flat(trained), flat(model))


def test_dropout_drops_while_it_trains() -> None:
    X, y = toy()
    (plain,) = networks.train([network(dropout=0.0)], [X], [y], seed=1, **SHORT)
    (dropped,) = networks.train([network(dropout=0.5)], [X], [y], seed=1, **SHORT)
    assert not torch.allclose(flat(plain), flat(dropped), atol=1e-2)
    # It comes back ready to predict with all of its units.
    assert not dropped.training


def test_training_reaches_the_maximum_a_posteriori() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 2)), rng.integers(0, 3, 30)
    scale = 0.7

    def negative_log_joint(w: np.ndarray) -> float:
        logits = X @ w[:6].reshape(3, 2).T + w[6:]
        log_probs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
        return -log_probs[np.arange(30), y].sum() + w @ w / (2 * scale**2)

    best = minimize(negative_log_joint, np.zeros(9)).x
    options = {"steps": 600, "learning_rate": 0.05, "prior_scale": scale, "seed": 0}
    for batch_size, tolerance in ((None, 0.002), (10, 0.1)):
        (model,) = networks.train(
            [nn.Sequential(nn.Linear(2, 3))], [X], [y], batch_size=batch_size, **options
        )
        assert flat(model).numpy() == pytest.approx(best, abs=tolerance)


def test_outputs_and_features_are_the_networks_own() -> None:
    models, (X, _) = [network(seed, dropout=0.5).train() for seed in range(2)], toy(n=600)
    inputs = torch.tensor(X, dtype=torch.float32)
    outputs = networks.outputs(models, X)
    assert outputs.shape == (2, 600, 3)
    for model, output in zip(models, outputs, strict=True):
        quiet = copy.deepcopy(model).eval()  # dropout must be off
        torch.testing.assert_close(output, quiet(inputs))
        features = networks.features(model, X)
        torch.testing.assert_close(torch.from_numpy(features), quiet[:-1](inputs).detach())


def test_ensembles_keep_their_members_and_data_apart() -> None:
    ensembles = [[network(0), network(1)], [network(2)]]
    data = [toy(seed=0), toy(seed=1)]
    Xs, ys = zip(*data, strict=True)
    first, second = deep_ensemble.fit_many(ensembles, Xs, ys, seed=3, **SHORT)
    assert (len(first.models), len(second.models)) == (2, 1)
    alone = deep_ensemble.fit(ensembles[0], *data[0], seed=3, **SHORT)
    new = toy(n=9, seed=5)[0]
    assert first.predictive(new).probs == pytest.approx(alone.predictive(new).probs, abs=1e-3)
    assert first.predictive(new).probs.shape == (2, 9, 3)
    assert not np.allclose(*first.predictive(new).probs)
    assert first.features(new).shape == (2, 9, 16)
    single = networks.outputs(second.models, new).softmax(-1).numpy()
    assert second.predictive(new).probs == pytest.approx(single, abs=1e-6)


def test_a_mask_is_one_function_and_masks_differ() -> None:
    X, y = toy()
    posterior = monte_carlo_dropout.fit(network(dropout=0.5), X, y, seed=0, **SHORT)
    twins = np.concatenate([X[:3], X[:3]])
    probs = posterior.predictive(twins, draws=40, seed=1).probs
    assert probs[:, :3] == pytest.approx(probs[:, 3:], abs=1e-6)
    assert len(np.unique(probs[:, 0, 0].round(6))) > 5
    assert np.array_equal(probs, posterior.predictive(twins, draws=40, seed=1).probs)
    assert not np.array_equal(probs, posterior.predictive(twins, draws=40, seed=2).probs)


def test_every_mask_of_a_small_network_is_drawn_at_its_rate() -> None:
    # Two channels of which each is dropped with probability 1/2: four networks, equally probable.
    model = network(3, dropout=0.5, hidden=2).eval()  # with this seed both channels are alive
    X = toy(n=1)[0]
    probs = monte_carlo_dropout.DropoutPosterior(model).predictive(X, draws=4000, seed=0).probs
    pooled = model[:3](torch.tensor(X, dtype=torch.float32))
    masks = torch.tensor([[a, b] for a in (0.0, 2.0) for b in (0.0, 2.0)])
    expected = model[4:](pooled * masks[:, :, None, None]).softmax(-1).detach().numpy()
    nearest = np.abs(probs - expected).sum(-1).argmin(1)  # probs (4000, 1, 3) - (4, 3)
    assert np.abs(probs[:, 0] - expected[nearest]).max() < 1e-5
    assert np.bincount(nearest, minlength=4) / 4000 == pytest.approx(np.full(4, 0.25), abs=0.04)


def test_dropout_leaves_the_global_seed_alone_and_trains_reproducibly() -> None:
    X, y = toy()
    fits = []
    for seed in (5, 6):
        model = network(dropout=0.5)
        torch.manual_seed(seed)
        fits.append(monte_carlo_dropout.fit(model, X, y, seed=0, **SHORT))
    assert torch.equal(flat(fits[0].model), flat(fits[1].model))
    state = torch.get_rng_state()
    fits[0].predictive(X, draws=3, seed=0)
    assert torch.equal(state, torch.get_rng_state())


def test_chunks_of_masks_all_differ() -> None:
    model = network(dropout=0.5, hidden=16)
    X = toy(n=11_000)[0]  # one draw per chunk
    probs = monte_carlo_dropout.DropoutPosterior(model).predictive(X, draws=3, seed=0).probs
    assert len(np.unique(probs[:, 0, 0])) == 3


@pytest.fixture
def fitted():
    X, y = toy()
    (model,) = networks.train([network(hidden=2)], [X], [y], seed=0, **SHORT)
    return model, X, y


def test_the_curvature_is_the_numerical_hessian(fitted) -> None:
    model, X, y = fitted
    phi, labels = torch.from_numpy(networks.features(model, X)).double(), torch.tensor(y)
    last = model[-1]

    def negative_log_likelihood(w: torch.Tensor) -> torch.Tensor:
        logits = phi @ w[:, :-1].T + w[:, -1]
        return nn.functional.cross_entropy(logits, labels, reduction="sum")

    w = torch.column_stack([last.weight, last.bias]).detach().double()
    expected = hessian(negative_log_likelihood)(w).reshape(27, 27)
    posterior = last_layer_laplace.fit(model, X, y, prior_scale=0.5)
    torch.testing.assert_close(posterior.curvature, expected, rtol=1e-5, atol=1e-5)


def test_draws_of_the_last_layer_have_laplaces_moments(fitted) -> None:
    model, X, y = fitted
    posterior = last_layer_laplace.fit(model, X, y, prior_scale=0.5)
    covariance = np.linalg.inv(posterior.curvature.numpy() + np.eye(27) / 0.5**2)
    phi = np.append(networks.features(model, X[:1])[0], 1)
    # The log odds of class 1 against class 0 are linear in the weights.
    direction = np.concatenate([-phi, phi, 0 * phi])
    probs = posterior.predictive(X[:1], draws=40_000, seed=0).probs[:, 0]
    odds = np.log(probs[:, 1] / probs[:, 0])
    spread = math.sqrt(direction @ covariance @ direction)
    assert odds.mean() == pytest.approx(direction @ posterior.mean.flatten().numpy(), abs=0.03)
    assert odds.std() == pytest.approx(spread, rel=0.02)


def test_a_narrow_prior_gives_the_network_itself(fitted) -> None:
    model, X, y = fitted
    posterior = last_layer_laplace.fit(model, X, y, prior_scale=1e-6)
    own = networks.outputs([model], X).softmax(-1).numpy()
    assert posterior.predictive(X, draws=2, seed=0).probs[:1] == pytest.approx(own, abs=1e-4)


def test_the_evidence_is_laplaces_formula_and_its_prior_the_best(fitted) -> None:
    model, X, y = fitted
    posterior = last_layer_laplace.fit(model, X, y)

    def log_evidence(scale: float) -> float:
        probs = networks.outputs([model], X)[0].double().log_softmax(-1).numpy()
        fit = probs[np.arange(len(y)), y].sum()
        precision = posterior.curvature.numpy() + np.eye(27) / scale**2
        w = posterior.mean.flatten().numpy()
        log_prior = -w @ w / (2 * scale**2) - 27 * np.log(scale)  # 2π cancels
        return fit + log_prior - 0.5 * np.linalg.slogdet(precision)[1]

    best = posterior.prior_scale
    assert posterior.log_evidence == pytest.approx(log_evidence(best), rel=1e-4)
    assert log_evidence(best) > max(log_evidence(best * f) for f in (0.9, 1.1))
    assert 0.01 < best < 100


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": np.full(40, 3)}, r"labels must lie in 0\.\.2"),
        ({"X": np.zeros((40, 2, 4, 4))}, "does not take inputs of shape"),
        ({"X": np.full((40, 1, 4, 4), np.nan)}, "non-finite"),
        ({"models": [nn.Sequential(network(), nn.BatchNorm1d(3))]}, "statistics of the batch"),
        ({"models": []}, "each fit needs a model"),
        ({"steps": 0}, "steps must be positive, got 0"),
        ({"prior_scale": -1.0}, "prior_scale must be positive, got -1.0"),
        ({"batch_size": 41}, "batch_size must be between 1 and n = 40, got 41"),
        ({"batch_size": 0}, "batch_size must be between 1 and n = 40, got 0"),
    ],
)
def test_bad_input_of_training_is_named(changes: dict, message: str) -> None:
    X, y = toy()
    options = {"models": [network()], "X": X, "y": y, "seed": 0} | SHORT | changes
    models = options.pop("models")
    Xs, ys = [[options.pop(k)] * len(models) for k in ("X", "y")]
    with pytest.raises(ValueError, match=message):
        networks.train(models, Xs, ys, **options)


def test_bad_input_of_the_posteriors_is_named(fitted) -> None:
    model, X, y = fitted
    with pytest.raises(ValueError, match="never drops a unit"):
        monte_carlo_dropout.fit(network(dropout=0.0), X, y, seed=0)
    with pytest.raises(ValueError, match="at least one member"):
        deep_ensemble.fit([], X, y, seed=0)
    with pytest.raises(ValueError, match="each fit needs members"):
        deep_ensemble.fit_many([[model]], [X, X], [y], seed=0)
    with pytest.raises(ValueError, match=r"ends in nn\.Linear with biases"):
        last_layer_laplace.fit(model[:-1], X, y)
    with pytest.raises(ValueError, match="prior_scale must be positive, got 0"):
        last_layer_laplace.fit(model, X, y, prior_scale=0)
    dropping = monte_carlo_dropout.DropoutPosterior(network(dropout=0.5))
    for posterior in (dropping, last_layer_laplace.fit(model, X, y)):
        with pytest.raises(ValueError, match="draws must be at least 1, got 0"):
            posterior.predictive(X, draws=0, seed=0)


def test_divergence_is_told() -> None:
    X, y = toy()
    with pytest.raises(FloatingPointError, match=r"network 0 diverged.*learning_rate"):
        networks.train([network()], [X], [y], seed=0, steps=5, learning_rate=1e30)
