"""The stills, and the data, of live figures that belong to no chapter."""

import numpy as np

from bnnbook import figures
from bnnbook.methods import conjugate
from bnnbook.predictive import RegressionPredictive


def last_layer(alt: str) -> str:
    """Draw the welcome page's figure: a Bayesian last layer on fixed random features.

    Ten points and sixty-four features; `book/live/last_layer.js` computes the same.
    """
    x = np.array([-2.6, -2.4, -2.2, -1.9, -1.7, -1.4, -1.2, -1.0, 1.2, 1.4, 1.7, 1.9, 2.1, 2.4])
    y = np.array([-1.0, -1.3, -1.1, -1.2, -0.6, -0.4, 0.2, 0.3, 0.5, 0.9, 0.8, 1.3, 1.0, 1.1])
    noise, prior, used = 0.2, 4.0, 24
    # Evenly scattered in any number of them (multiples of irrational numbers).
    order = np.arange(64)
    slopes = 0.5 * 8 ** (order * np.sqrt(2) % 1)
    kinks = -3.3 + 6.6 * (order * (np.sqrt(5) - 1) / 2 % 1)

    def features(x: np.ndarray) -> np.ndarray:
        hidden = np.tanh(slopes[:used] * (x[:, None] - kinks[:used]))
        return np.column_stack([np.ones_like(x), hidden])

    scale = np.r_[1.0, np.full(used, prior / np.sqrt(used))]
    posterior = conjugate.fit(features(x), y, prior_scale=scale, noise_scale=noise)
    grid = np.linspace(-3, 3, 121)
    phi = features(grid)
    doubt = np.sqrt(np.sum((phi @ posterior.covariance) * phi, axis=1))
    centre = phi @ posterior.mean
    figure, axes = figures.subplots(height=4.2)
    for scale, label in ((np.hypot(doubt, noise), None), (doubt, "the network's answer")):
        predictive = RegressionPredictive(centre[None], scale[None])
        figures.band(axes, grid, predictive, label=label)
    axes.plot(x, y, "o", color=figures.INK)
    axes.set(xlabel="input x", ylabel="output y", xlim=(-3, 3), ylim=(-3, 3))
    data = {
        "x": x,
        "y": y,
        "slopes": slopes,
        "kinks": kinks,
        "noise": noise,
        "prior": prior,
        "features": used,
    }
    return figures.frame("last_layer", data, still=figure, alt=alt)
