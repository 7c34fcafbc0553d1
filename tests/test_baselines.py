"""Baselines against closed forms and against what the data were made from."""

import numpy as np
import pytest

from bnnbook import data, scores
from bnnbook.methods import baselines


@pytest.fixture(scope="module")
def line():
    rng = np.random.default_rng(0)
    X = rng.normal(5, 3, size=(400, 2))
    return X, 1 + X @ [2, -1] + rng.normal(0, 0.5, 400)


def test_linear_regression_recovers_the_weights_and_the_noise(line):
    X, y = line
    posterior = baselines.linear_regression(X, y)
    assert posterior.mean[1:] / X.std(axis=0) == pytest.approx([2, -1], abs=0.03)
    assert posterior.noise_scale == pytest.approx(0.5, rel=0.1)


def test_linear_regression_draws_have_the_closed_form_variance(line):
    X, y = line
    posterior = baselines.linear_regression(X, y)
    new = np.array([[5.0, 5.0], [40.0, -20.0]])
    predictive = posterior.predictive(new, draws=20_000, seed=1)
    # With so many data the prior is forgotten: least squares' variance σ² x*ᵀ (XᵀX)⁻¹ x*.
    design, at = (np.column_stack([np.ones(len(a)), a]) for a in (X, new))
    variance = posterior.noise_scale**2 * np.diag(at @ np.linalg.inv(design.T @ design) @ at.T)
    assert predictive.epistemic == pytest.approx(variance, rel=0.05)
    assert predictive.expectation == pytest.approx(at @ np.linalg.lstsq(design, y)[0], abs=0.05)


def test_linear_regression_is_reproducible(line):
    posterior = baselines.linear_regression(*line)
    a, b = (posterior.predictive(line[0][:5], draws=3, seed=7) for _ in range(2))
    assert np.array_equal(a.mean, b.mean)


def test_random_forest_noise_is_the_error_on_new_data(line):
    X, y = line
    posterior = baselines.random_forest(X[:300], y[:300], seed=0)
    predictive = posterior.predictive(X[300:])
    assert predictive.draws == 1
    # The training error would be less than half of it.
    assert posterior.noise_scale == pytest.approx(scores.rmse(predictive, y[300:]), rel=0.25)


@pytest.mark.parametrize(
    ("fit", "nll"),
    [(baselines.logistic_regression, 0.08), (baselines.discriminant_analysis, 0.06)],
)
def test_classifiers_on_iris(fit, nll):
    rows = data.iris()
    runs = [
        scores.summary(fit(part.X_train, part.y_train).predictive(part.X_test), part.y_test)
        for part in data.cross_validation(rows, folds=5, repeats=1, seed=0)
    ]
    assert np.mean([run["accuracy"] for run in runs]) >= 0.96
    assert np.mean([run["NLL"] for run in runs]) == pytest.approx(nll, abs=0.02)


def test_logistic_regression_with_a_narrow_prior_knows_nothing():
    rows = data.iris()
    predictive = baselines.logistic_regression(rows.X, rows.y, prior_scale=1e-3).predictive(rows.X)
    assert predictive.expectation == pytest.approx(1 / 3, abs=0.01)
