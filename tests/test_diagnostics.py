"""Diagnostics of chains whose quality is known."""

import numpy as np
import pytest

from bnnbook.methods import diagnostics


def independent(chains=4, draws=1000, seed=0):
    return np.random.default_rng(seed).normal(size=(chains, draws, 2))


def test_r_hat_sees_chains_that_disagree():
    agree = independent()
    assert (diagnostics.potential_scale_reduction(agree) < 1.02).all()
    apart = agree + np.array([0, 0, 0, 3.0])[:, None, None]
    assert (diagnostics.potential_scale_reduction(apart) > 1.3).all()
    drifting = agree + np.linspace(0, 3, 1000)[None, :, None]
    assert (diagnostics.potential_scale_reduction(drifting) > 1.2).all()


def autoregressive(rho):
    noise = np.random.default_rng(0).normal(size=(4, 4000))
    x = np.empty_like(noise)
    x[:, 0] = noise[:, 0]
    for t in range(1, 4000):
        x[:, t] = rho * x[:, t - 1] + np.sqrt(1 - rho**2) * noise[:, t]
    return x


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_effective_sample_size_of_an_autoregression(rho):
    """Its exact value is draws (1 - ρ) / (1 + ρ)."""
    exact = 16_000 * (1 - rho) / (1 + rho)
    found = diagnostics.effective_sample_size(autoregressive(rho))
    np.testing.assert_allclose(found, exact, rtol=0.2)


def test_disagreement_lowers_the_effective_sample_size():
    apart = independent() + np.array([0, 0, 0, 3.0])[:, None, None]
    assert (diagnostics.effective_sample_size(apart) < 20).all()


def test_energy_fraction():
    """Independent energies give 2, a slow walk gives nearly 0."""
    rng = np.random.default_rng(0)
    np.testing.assert_allclose(diagnostics.energy_fraction(rng.normal(size=(2, 5000))), 2, rtol=0.1)
    slow = np.cumsum(rng.normal(size=(2, 5000)), axis=1)
    assert (diagnostics.energy_fraction(slow) < 0.05).all()


def test_too_few_draws_are_refused():
    with pytest.raises(ValueError, match="at least 4 draws a chain, got 3"):
        diagnostics.potential_scale_reduction(independent(draws=3))
    with pytest.raises(ValueError, match="at least 4 draws a chain, got 3"):
        diagnostics.effective_sample_size(independent(draws=3))
