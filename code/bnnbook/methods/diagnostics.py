"""Do several chains tell the same story?  Diagnostics of draws from a sampler.

They can be computed of any quantity along the chains.  For a network look at *predictions*: hidden
units can be swapped and signs flipped without changing the function, so that chains which agree on
every prediction may sit in different, equivalent places of weight space.
"""

from __future__ import annotations

import numpy as np


def potential_scale_reduction(sequences: np.ndarray) -> np.ndarray:
    """Return split R-hat: near 1 if the halves of all chains have the same mean and spread.

    Parameters
    ----------
    sequences : ndarray, shape (chains, draws, …)
        Any quantity along the chains, for instance predicted means.

    Returns
    -------
    ndarray, shape (…)

    References
    ----------
    Gelman et al.: Bayesian Data Analysis, 3rd edition, 2013, section 11.4.
    """
    half = sequences.shape[1] // 2
    if half < 2:
        raise ValueError(f"R-hat needs at least 4 draws a chain, got {sequences.shape[1]}")
    halves = np.concatenate([sequences[:, :half], sequences[:, half : 2 * half]])
    between = halves.mean(axis=1).var(axis=0, ddof=1)
    within = halves.var(axis=1, ddof=1).mean(axis=0)
    return np.sqrt((half - 1) / half + between / within)


def effective_sample_size(sequences: np.ndarray) -> np.ndarray:
    """Return how many independent draws would give the mean as precisely as these do.

    Autocorrelations, averaged over the chains, are summed in pairs of lags for as long as the pairs
    are positive and falling; disagreement between chains counts as correlation.

    Parameters
    ----------
    sequences : ndarray, shape (chains, draws, …)
        Any quantity along the chains.

    Returns
    -------
    ndarray, shape (…)

    References
    ----------
    C. Geyer: Practical Markov chain Monte Carlo. Statistical Science 7(4), 1992.
    Gelman et al.: Bayesian Data Analysis, 3rd edition, 2013, section 11.5.
    """
    chains, draws = sequences.shape[:2]
    if draws < 4:
        raise ValueError(f"the effective sample size needs at least 4 draws a chain, got {draws}")
    centred = sequences - sequences.mean(axis=1, keepdims=True)
    spectrum = np.fft.rfft(centred, n=2 * draws, axis=1)
    covariance = np.fft.irfft(np.abs(spectrum) ** 2, axis=1)[:, :draws].mean(axis=0) / draws
    within = covariance[0] * draws / (draws - 1)
    between = sequences.mean(axis=1).var(axis=0, ddof=1) if chains > 1 else 0.0
    total = covariance[0] + between
    correlation = 1 - (within - covariance) / total
    correlation[0] = 1
    pairs = correlation[: draws // 2 * 2].reshape(draws // 2, 2, *correlation.shape[1:]).sum(axis=1)
    # At long lags only noise is left, which must not enter the sum.
    falling = np.minimum.accumulate(pairs, axis=0)
    correlation_time = 2 * np.where(falling > 0, falling, 0).sum(axis=0) - 1
    # Draws that repel one another are worth more than independent ones, within reason.
    return chains * draws / np.maximum(correlation_time, 1 / np.log10(chains * draws))


def energy_fraction(energy: np.ndarray) -> np.ndarray:
    """Return the Bayesian fraction of missing information of each chain, shape (chains,).

    Below about 0.3 the sampler changes its energy too slowly to reach the posterior's tails.

    Parameters
    ----------
    energy : ndarray, shape (chains, draws)
        Hamiltonian energy of each draw.

    References
    ----------
    M. Betancourt: A conceptual introduction to Hamiltonian Monte Carlo. arXiv:1701.02434, 2017.
    """
    return np.mean(np.diff(energy, axis=1) ** 2, axis=1) / energy.var(axis=1)
