"""Scores against closed forms, a library, and a brute-force Monte Carlo."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import log_loss

from bnnbook import scores
from bnnbook.predictive import ClassificationPredictive, RegressionPredictive
from bnnbook.tables import score_table


def normal(mean, scale):
    return RegressionPredictive(np.atleast_2d(mean), np.atleast_2d(scale))


@given(st.floats(-5, 5), st.floats(0.1, 5), st.floats(-8, 8))
def test_crps_of_one_normal(mean, scale, y):
    z = (y - mean) / scale
    closed_form = scale * (
        z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi)
    )
    assert scores.crps(normal([mean], [scale]), np.array([y])) == pytest.approx(closed_form)


def test_crps_of_a_mixture_against_its_definition():
    """CRPS = E|Y - y| - E|Y - Y'| / 2, by brute force."""
    predictive = RegressionPredictive([[0.0], [3.0], [3.5]], [[1.0], [0.5], [2.0]])
    rng = np.random.default_rng(0)
    s = rng.integers(3, size=(2, 400_000))
    Y, other = rng.normal(predictive.mean[s, 0], predictive.scale[s, 0])
    brute = np.abs(Y - 1.2).mean() - np.abs(Y - other).mean() / 2
    assert scores.crps(predictive, np.array([1.2])) == pytest.approx(brute, abs=0.005)


def test_crps_in_chunks_is_the_same():
    rng = np.random.default_rng(0)
    mean, scale, y = rng.normal(size=(900, 7)), rng.uniform(1, 2, (900, 7)), rng.normal(size=7)
    one_by_one = [scores.crps(normal_column(mean, scale, i), y[i : i + 1]) for i in range(7)]
    whole = scores.crps(RegressionPredictive(mean, scale), y)
    each = scores.crps_of_each(RegressionPredictive(mean, scale), y)
    np.testing.assert_allclose(each, one_by_one)
    assert whole == pytest.approx(np.mean(one_by_one))


def normal_column(mean, scale, i):
    return RegressionPredictive(mean[:, i : i + 1], scale[:, i : i + 1])


def test_nll_and_rmse_of_one_normal():
    y = np.array([0.5, -1.0, 2.0])
    predictive = normal(np.zeros(3), np.full(3, 2.0))
    assert scores.nll(predictive, y) == pytest.approx(-stats.norm(0, 2).logpdf(y).mean())
    assert scores.rmse(predictive, y) == pytest.approx(np.sqrt((y**2).mean()))
    mass = stats.norm(0, 2).cdf(y + 0.5) - stats.norm(0, 2).cdf(y - 0.5)
    assert scores.discretised_nll(predictive, y) == pytest.approx(-np.log(mass).mean())


def test_spikes_on_the_integers_game_the_density_but_not_the_discretised_score():
    y = np.tile([5.0, 6.0, 7.0], 20)
    honest = normal(np.full(60, 6.0), np.full(60, 0.8))
    spikes = RegressionPredictive(
        np.repeat([[5.0], [6.0], [7.0]], 60, axis=1), np.full((3, 60), 1e-4)
    )
    assert scores.nll(spikes, y) < -5 < 1 < scores.nll(honest, y)
    assert scores.discretised_nll(spikes, y) > 0


def test_perfect_predictive_covers_and_has_uniform_pit():
    rng = np.random.default_rng(1)
    mean, scale = rng.normal(size=20_000), rng.uniform(0.5, 2, 20_000)
    predictive, y = normal(mean, scale), rng.normal(mean, scale)
    for level in (0.5, 0.9):
        error = np.sqrt(level * (1 - level) / len(y))
        assert abs(scores.coverage(predictive, y, level) - level) < 4 * error
    assert stats.kstest(scores.pit(predictive, y), "uniform").pvalue > 1e-3
    assert stats.kstest(scores.pit(normal(mean, scale / 2), y), "uniform").pvalue < 1e-6
    expected_width = 2 * stats.norm.ppf(0.95) * scale.mean()
    assert scores.interval_width(predictive, 0.9) == pytest.approx(expected_width, rel=1e-4)


def random_probs(rng, draws=3, n=4_000, classes=3):
    return rng.dirichlet(np.ones(classes), size=(draws, n))


def test_classification_scores_against_scikit_learn():
    rng = np.random.default_rng(2)
    predictive = ClassificationPredictive(random_probs(rng))
    y = rng.integers(3, size=4_000)
    assert scores.nll(predictive, y) == pytest.approx(log_loss(y, predictive.expectation))
    assert scores.accuracy(predictive, y) == np.mean(predictive.expectation.argmax(-1) == y)


def test_brier_of_known_probabilities():
    predictive = ClassificationPredictive([[[0.7, 0.2, 0.1], [0.0, 1.0, 0.0]]])
    assert scores.brier(predictive, np.array([0, 2])) == pytest.approx((0.09 + 0.04 + 0.01 + 2) / 2)


def test_ece_of_known_bins():
    """Ten points at confidence 0.75, seven right: a gap of 0.05."""
    predictive = ClassificationPredictive(np.tile([0.75, 0.25], (1, 10, 1)))
    y = np.array([0] * 7 + [1] * 3)
    assert scores.ece(predictive, y) == pytest.approx(0.05)
    assert scores.ece(ClassificationPredictive(np.tile([1.0, 0.0], (1, 10, 1))), y) == 0.3


def test_ece_of_a_perfect_predictive_is_small_but_not_zero():
    rng = np.random.default_rng(3)
    predictive = ClassificationPredictive(random_probs(rng, draws=1, n=20_000))
    y = (rng.random(20_000)[:, None] > predictive.expectation.cumsum(axis=-1)).sum(axis=-1)
    assert 0 < scores.ece(predictive, y) < 0.02


def test_distance_to_a_reference():
    a = ClassificationPredictive([[[0.9, 0.1], [0.4, 0.6]]])
    b = ClassificationPredictive([[[0.6, 0.4], [0.6, 0.4]]])
    assert scores.agreement(a, b) == 0.5
    assert scores.total_variation(a, b) == pytest.approx((0.3 + 0.2) / 2)
    assert scores.total_variation(a, a) == 0
    with pytest.raises(ValueError, match="same points and classes"):
        scores.agreement(a, ClassificationPredictive([[[1.0, 0.0]]]))


@pytest.mark.parametrize("y", [[1.0], [1.0, np.nan], [[1.0, 2.0]]])
def test_targets_that_do_not_fit_are_refused(y):
    predictive = normal([0.0, 0.0], [1.0, 1.0])
    for score in (scores.nll, scores.rmse, scores.crps, scores.coverage, scores.pit):
        with pytest.raises(ValueError, match="2 finite numbers"):
            score(predictive, np.array(y))


def test_score_table_shows_mean_and_standard_error():
    table = score_table({"a": [{"RMSE": 1.0}, {"RMSE": 3.0}], "b": [{"RMSE": 0.5}]}, fmt=".2f")
    assert table.loc["a", "RMSE"] == "2.00 ± 1.00"
    assert table.loc["b", "RMSE"] == "0.50"


def test_standard_error():
    assert scores.standard_error([1.0, 2.0, 3.0]) == pytest.approx(1 / np.sqrt(3))
    with pytest.raises(ValueError, match="at least two repeats"):
        scores.standard_error([1.0])


def test_summary_names():
    assert set(scores.summary(normal([0.0], [1.0]), np.array([0.0]))) == {
        "RMSE", "NLL", "discretised NLL", "CRPS", "coverage of 90 %", "width of 90 %",
    }  # fmt: skip
    classes = ClassificationPredictive([[[0.5, 0.5]]])
    assert set(scores.summary(classes, np.array([0]))) == {"accuracy", "NLL", "Brier", "ECE"}
