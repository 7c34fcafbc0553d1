"""Training with weight decay and early stopping against what is known in closed form."""

import numpy as np
import pytest
import torch

from bnnbook.methods import conjugate, point

PRIOR = np.array([1.0, 0.5, 2.0])
FITS = 3


def data_sets() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((FITS, 20, 3))
    return X, X @ [0.5, -1.0, 2.0] + 0.7 * rng.standard_normal((FITS, 20))


def squares(X: np.ndarray, y: np.ndarray):
    X, y = (torch.tensor(a, dtype=torch.float32) for a in (X, y))
    return lambda w: ((y - (X @ w[..., None])[..., 0]) ** 2).sum(1)


def test_reaches_the_most_probable_weights_of_each_data_set() -> None:
    X, y = data_sets()
    error = squares(X, y)
    steps = iter(range(10_000))
    w = point.fit_many(
        lambda w: -0.5 * error(w) / 0.7**2,
        lambda w: torch.full((FITS,), -float(next(steps))),  # the last step is always the best
        prior_scale=PRIOR,
        fits=FITS,
        learning_rate=0.05,
        seed=0,
    )
    for i in range(FITS):
        exact = conjugate.fit(X[i], y[i], prior_scale=PRIOR, noise_scale=0.7)
        np.testing.assert_allclose(w[i], exact.mean, atol=1e-3)


def test_keeps_the_weights_that_were_best_on_held_out_data() -> None:
    X, y = data_sets()
    target = torch.tensor([0.2, -0.4, 0.8])  # passed on the way, and not where the climb ends
    lowest = []

    def distance(w: torch.Tensor) -> torch.Tensor:
        lowest.append(((w - target) ** 2).sum(1))
        return lowest[-1]

    error = squares(X, y)
    w = point.fit_many(lambda w: -error(w), distance, prior_scale=PRIOR, fits=FITS, seed=0)
    kept = ((w - target.numpy()) ** 2).sum(axis=1)
    np.testing.assert_allclose(kept, torch.stack(lowest).min(dim=0).values.numpy(), rtol=1e-3)
    assert (kept < 0.9 * lowest[-1].numpy()).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [({"prior_scale": [0.0]}, "positive numbers"), ({"steps": 0}, "steps must be positive")],
)
def test_bad_settings_are_named(change: dict, message: str) -> None:
    options = {"prior_scale": PRIOR, "fits": FITS, "seed": 0} | change
    with pytest.raises(ValueError, match=message):
        point.fit_many(lambda w: w.sum(1), lambda w: w.sum(1), **options)


def test_wrong_shapes_and_divergence_are_named() -> None:
    options = {"prior_scale": PRIOR, "fits": FITS, "steps": 2, "seed": 0}
    with pytest.raises(ValueError, match=r"shape \(3,\), got \(3, 3\)"):
        point.fit_many(lambda w: w, lambda w: w.sum(1), **options)
    with pytest.raises(FloatingPointError, match="never had a finite"):
        point.fit_many(lambda w: w.sum(1), lambda w: w.sum(1) / 0 * 0, **options)
