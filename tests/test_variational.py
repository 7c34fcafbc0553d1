"""Variational fits against a posterior that is known exactly, and against closed forms."""

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal, kl_divergence

from bnnbook.methods import conjugate, variational
from bnnbook.predictive import RegressionPredictive

NOISE = 0.8
PRIOR_SCALE = np.array([1.0, 0.5, 2.0])


def problem():
    """Three weights, two of whose inputs are correlated."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3))
    X[:, 2] = 0.8 * X[:, 1] + 0.4 * X[:, 2]
    return X, X @ np.array([0.3, -0.6, 0.9]) + rng.normal(scale=NOISE, size=40)


def log_likelihood(w, X=None, y=None):
    if X is None:
        X, y = problem()
    residual = (torch.from_numpy(y) - w @ torch.from_numpy(X).mT) / NOISE
    return -0.5 * (residual**2).sum(-1) - len(X) * np.log(NOISE * np.sqrt(2 * np.pi))


def predict(w, X):
    mean = w @ X.T
    return RegressionPredictive(mean, np.full_like(mean, NOISE))


def fit(family, **options):
    settings = {"steps": 800, "draws": 16, "learning_rate": 0.05, "seed": 0} | options
    return variational.fit(
        log_likelihood, predict, prior_scale=PRIOR_SCALE, family=family, **settings
    )


def exact(temperature=1.0):
    return conjugate.fit(
        *problem(), prior_scale=PRIOR_SCALE, noise_scale=NOISE * np.sqrt(temperature)
    )


@pytest.fixture(scope="module")
def fits():
    return {family: fit(family) for family in variational.FAMILIES}


def test_full_covariance_finds_the_exact_posterior_and_its_bound_is_the_evidence(fits):
    q, p = fits["full covariance"], exact()
    sd = np.sqrt(np.diag(p.covariance))
    np.testing.assert_allclose(q.mean, p.mean, atol=0.08 * sd.min())
    np.testing.assert_allclose(
        q.covariance / np.outer(sd, sd), p.covariance / np.outer(sd, sd), atol=0.08
    )
    assert q.elbo == pytest.approx(p.log_evidence, abs=4 * q.elbo_error + 0.02)
    assert 0 < q.elbo_error < 0.1


def test_mean_field_finds_the_closed_form_optimum(fits):
    q, p = fits["mean-field"], exact()
    precision = np.linalg.inv(p.covariance)
    optimum = 1 / np.sqrt(np.diag(precision))
    gap = 0.5 * (np.log(np.diag(precision)).sum() - np.linalg.slogdet(precision)[1])
    assert gap > 0.5  # or the test could not tell the families apart
    np.testing.assert_allclose(q.mean, p.mean, atol=0.1 * optimum.min())
    np.testing.assert_allclose(q.root, optimum, rtol=0.08)
    np.testing.assert_array_equal(q.covariance, np.diag(q.root**2))
    assert p.log_evidence - q.elbo == pytest.approx(gap, abs=4 * q.elbo_error + 0.02)


def test_temperature_is_a_power_of_the_likelihood():
    q, p = fit("full covariance", temperature=0.2), exact(temperature=0.2)
    sd = np.sqrt(np.diag(p.covariance))
    np.testing.assert_allclose(np.sqrt(np.diag(q.covariance)), sd, rtol=0.1)
    assert (sd < 0.7 * np.sqrt(np.diag(exact().covariance))).all()
    # The bound keeps the true weight of the KL, so that a cold posterior's is lower.
    assert q.elbo < exact().log_evidence - 0.5


def test_kl_is_that_of_pytorch():
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(2, 3, generator=generator, dtype=torch.float64)
    root = torch.randn(2, 3, 3, generator=generator, dtype=torch.float64).tril(-1)
    scale = torch.rand(2, 3, generator=generator, dtype=torch.float64) + 0.1
    prior_scale = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    prior = MultivariateNormal(torch.zeros(3, dtype=torch.float64), torch.diag(prior_scale**2))
    for full, given in (
        (root + torch.diag_embed(scale), root + torch.diag_embed(scale)),
        (torch.diag_embed(scale), scale),
    ):
        expected = kl_divergence(MultivariateNormal(mean, scale_tril=full), prior)
        found = variational.kl_to_prior(mean, given, prior_scale)
        torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        variational.kl_to_prior(torch.zeros_like(prior_scale), prior_scale, prior_scale),
        torch.tensor(0.0, dtype=torch.float64),
    )


def test_draws_have_the_moments_of_q(fits):
    for q in fits.values():
        draws = q.sample(200_000, seed=0)
        np.testing.assert_allclose(draws.mean(axis=0), q.mean, atol=2e-3)
        np.testing.assert_allclose(np.cov(draws.T), q.covariance, atol=5e-4)
        new = np.array([[1.0, -2.0, 0.5], [0.0, 1.0, 1.0]])
        variance = NOISE**2 + np.sum((new @ q.covariance) * new, axis=1)
        predictive = q.predictive(new, draws=50_000, seed=1)
        np.testing.assert_allclose(predictive.expectation, new @ q.mean, atol=0.01)
        np.testing.assert_allclose(predictive.variance, variance, rtol=0.02)


def test_reparameterised_gradient_is_unbiased():
    X, y = problem()
    mean = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    root = torch.full((1, 3), 0.3, dtype=torch.float64)
    noise = torch.randn(
        (100_000, 3), generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    log_likelihood(variational.reparameterised(mean, root, noise)).mean().backward()
    np.testing.assert_allclose(mean.grad[0], X.T @ y / NOISE**2, atol=0.3)


@pytest.mark.parametrize("family", variational.FAMILIES)
def test_a_fit_is_the_same_alone_and_in_company(family):
    X, y = problem()
    Xs, ys = np.stack([X, X]), np.stack([y, 2 * y])[:, None]
    settings = {"family": family, "steps": 50, "seed": 3}
    first, second = variational.fit_many(
        lambda w: log_likelihood(w, Xs, ys), predict,
        prior_scale=np.stack([PRIOR_SCALE, 2 * PRIOR_SCALE]),
        temperature=np.array([1.0, 0.5]), **settings,
    )  # fmt: skip
    alone = variational.fit(
        lambda w: log_likelihood(w, Xs[:1], ys[:1]), predict, prior_scale=PRIOR_SCALE, **settings
    )
    np.testing.assert_allclose(first.mean, alone.mean)
    np.testing.assert_allclose(first.root, alone.root)
    assert not np.allclose(second.mean, first.mean)


def test_the_seed_decides():
    a, b, c = (fit("mean-field", steps=5, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(a.mean, b.mean) and a.elbo == b.elbo
    assert not np.allclose(a.mean, c.mean)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"family": "diagonal"}, "unknown family 'diagonal'; expected 'mean-field' or 'full"),
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"temperature": [1.0, 1.0]}, "one number or 1 of them"),
        ({"steps": 0}, "steps must be positive, got 0"),
        ({"learning_rate": -1.0}, "learning_rate must be positive, got -1.0"),
        ({"prior_scale": np.array([1.0, 0.0, 1.0])}, "prior_scale must hold positive numbers"),
        ({"prior_scale": np.ones((2, 3))}, "one for each weight"),
    ],
)
def test_bad_settings_are_named(change, message):
    settings = {"prior_scale": PRIOR_SCALE, "seed": 0, "steps": 2} | change
    with pytest.raises(ValueError, match=message):
        variational.fit(log_likelihood, predict, **settings)


def test_bad_likelihoods_are_named():
    settings = {"prior_scale": PRIOR_SCALE, "seed": 0, "steps": 2}
    with pytest.raises(ValueError, match=r"shape \(1, 8\), got \(1, 8, 3\)"):
        variational.fit(lambda w: w, predict, **settings)
    with pytest.raises(FloatingPointError, match=r"fits \[0\] is not finite at step 0"):
        variational.fit(lambda w: torch.nan * w.sum(-1), predict, **settings)
