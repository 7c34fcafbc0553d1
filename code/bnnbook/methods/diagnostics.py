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
