"""Predictives against closed forms, a brute-force Monte Carlo, and identities that always hold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from bnnbook.predictive import ClassificationPredictive, RegressionPredictive, concatenate

SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 5))


@st.composite
def mixtures(draw):
    shape = draw(SHAPES)
    mean = draw(hnp.arrays(float, shape, elements=st.floats(-50, 50)))
    scale = draw(hnp.arrays(float, shape, elements=st.floats(0.05, 20)))
    return RegressionPredictive(mean, scale)


@st.composite
def class_probabilities(draw):
    shape = (*draw(SHAPES), draw(st.integers(2, 4)))
    weight = draw(hnp.arrays(float, shape, elements=st.floats(0, 1)))
    weight[..., 0] += 1e-3
    return ClassificationPredictive(weight / weight.sum(axis=-1, keepdims=True))


def normal(mean, scale):
    return RegressionPredictive(np.atleast_2d(mean), np.atleast_2d(scale))


def sample(predictive, size, seed=0):
    """Draw from the mixture by brute force: a component, then a Normal."""
    rng = np.random.default_rng(seed)
    s = rng.integers(predictive.draws, size=(size, predictive.mean.shape[1]))
    column = np.arange(predictive.mean.shape[1])
    return rng.normal(predictive.mean[s, column], predictive.scale[s, column])


def test_one_draw_is_the_normal():
    mean, scale, y = np.array([0.0, 3.0]), np.array([1.0, 0.2]), np.array([0.3, 2.0])
    predictive, truth = normal(mean, scale), stats.norm(mean, scale)
    np.testing.assert_allclose(predictive.log_prob(y), truth.logpdf(y))
    np.testing.assert_allclose(predictive.cdf(y), truth.cdf(y))
    np.testing.assert_allclose(predictive.quantile(0.9), truth.ppf(0.9), atol=1e-4)
    np.testing.assert_allclose(predictive.interval(0.5), truth.interval(0.5), atol=1e-4)
    assert (predictive.epistemic == 0).all()


def test_mixture_against_brute_force():
    predictive = RegressionPredictive([[0.0, 1.0], [4.0, 1.5]], [[1.0, 0.5], [0.5, 2.0]])
    samples = sample(predictive, 400_000)
    np.testing.assert_allclose(predictive.expectation, samples.mean(axis=0), atol=0.02)
    np.testing.assert_allclose(predictive.variance, samples.var(axis=0), rtol=0.02)
    y = np.array([2.0, 1.2])
    np.testing.assert_allclose(predictive.cdf(y), (samples <= y).mean(axis=0), atol=0.005)
    np.testing.assert_allclose(
        np.exp(predictive.log_mass(y)), (abs(samples - y) <= 0.5).mean(axis=0), atol=0.005
    )
    lower, upper = predictive.interval(0.9)
    np.testing.assert_allclose(lower, np.quantile(samples, 0.05, axis=0), atol=0.03)
    np.testing.assert_allclose(upper, np.quantile(samples, 0.95, axis=0), atol=0.03)


def test_interval_is_of_the_mixture_not_of_the_average_normal():
    """Two far components: a Normal with the same mean and variance has other quantiles."""
    predictive = RegressionPredictive([[-10.0], [10.0]], [[0.1], [0.1]])
    lower, upper = predictive.interval(0.9)
    assert -10.3 < lower[0] < -10 and 10 < upper[0] < 10.3
    assert stats.norm(0, np.sqrt(predictive.variance[0])).ppf(0.95) > 16


def test_log_mass_far_in_the_tail_does_not_underflow():
    predictive = normal([0.0], [1.0])
    exact = stats.norm.logsf(39.5)  # all but a negligible part of the mass of 40 ± 0.5
    np.testing.assert_allclose(predictive.log_mass(np.array([40.0])), exact, rtol=1e-6)
    np.testing.assert_allclose(predictive.log_mass(np.array([-40.0])), exact, rtol=1e-6)


@given(mixtures())
def test_total_variance_is_epistemic_plus_aleatoric(predictive):
    second_moment = (predictive.mean**2 + predictive.scale**2).mean(axis=0)
    np.testing.assert_allclose(
        predictive.epistemic + predictive.aleatoric,
        second_moment - predictive.expectation**2,
        rtol=1e-6,
        atol=1e-6,
    )


@given(mixtures(), st.floats(0.01, 0.99))
def test_quantile_inverts_the_cdf(predictive, probability):
    # Where components are far apart the CDF is flat, and any point of the plateau is a quantile.
    quantile, step = predictive.quantile(probability), 1e-4 * predictive.scale.max(axis=0)
    assert (predictive.cdf(quantile - step) <= probability + 1e-9).all()
    assert (predictive.cdf(quantile + step) >= probability - 1e-9).all()


@given(mixtures(), st.floats(0.05, 0.9))
def test_intervals_are_nested(predictive, level):
    inner, outer = predictive.interval(level), predictive.interval(level + 0.05)
    slack = 1e-4 * predictive.scale.max(axis=0)
    assert (outer[0] <= inner[0] + slack).all() and (inner[1] <= outer[1] + slack).all()


@given(mixtures())
def test_masses_of_unit_bins_sum_to_one(predictive):
    grid = np.arange(-251.0, 252.0)  # beyond 50 + 8 * 20 on both sides
    total = sum(np.exp(predictive.log_mass(np.full(predictive.mean.shape[1], y))) for y in grid)
    np.testing.assert_allclose(total, 1, atol=1e-9)


@given(class_probabilities())
def test_entropy_is_epistemic_plus_aleatoric(predictive):
    np.testing.assert_allclose(
        predictive.epistemic + predictive.aleatoric, predictive.entropy, atol=1e-9
    )
    assert (predictive.epistemic >= 0).all()
    assert (predictive.entropy <= np.log(predictive.probs.shape[-1]) + 1e-9).all()


def test_disagreeing_draws_are_epistemic_and_agreeing_draws_aleatoric():
    disagree = ClassificationPredictive([[[1.0, 0.0]], [[0.0, 1.0]]])
    np.testing.assert_allclose([disagree.epistemic[0], disagree.aleatoric[0]], [np.log(2), 0])
    agree = ClassificationPredictive([[[0.5, 0.5]], [[0.5, 0.5]]])
    np.testing.assert_allclose([agree.epistemic[0], agree.aleatoric[0]], [0, np.log(2)])


def test_class_log_prob_averages_probabilities_not_logarithms():
    predictive = ClassificationPredictive([[[0.9, 0.1]], [[0.5, 0.5]]])
    np.testing.assert_allclose(predictive.log_prob(np.array([0])), np.log(0.7))


def test_concatenate():
    a, b = normal([0.0, 1.0], [1.0, 1.0]), normal([2.0, 3.0], [1.0, 2.0])
    pooled = concatenate([a, b], axis="draws")
    assert pooled.mean.tolist() == [[0, 1], [2, 3]]
    behind = concatenate([a, b], axis="data")
    assert behind.scale.tolist() == [[1, 1, 1, 2]]
    c = ClassificationPredictive(np.full((2, 3, 2), 0.5))
    assert concatenate([c, c], axis="data").probs.shape == (2, 6, 2)
    with pytest.raises(ValueError, match="all of the same kind"):
        concatenate([a, c], axis="data")
    with pytest.raises(ValueError, match="axis must be 'draws' or 'data', got 'rows'"):
        concatenate([a], axis="rows")


@pytest.mark.parametrize(
    ("mean", "scale", "message"),
    [
        ([1.0, 2.0], [1.0, 1.0], r"shape \(draws, n\)"),
        ([[1.0, 2.0]], [[1.0]], r"got \(1, 2\) and \(1, 1\)"),
        ([[1.0]], [[0.0]], "scale finite and positive"),
        ([[np.nan]], [[1.0]], "1 means are NaN"),
    ],
)
def test_impossible_regression_predictive_is_refused(mean, scale, message):
    with pytest.raises(ValueError, match=message):
        RegressionPredictive(np.array(mean), np.array(scale))


@pytest.mark.parametrize(
    ("probs", "message"),
    [
        ([[0.5, 0.5]], "one single draw is"),
        ([[[2.0, -1.0]]], "apply a softmax"),
        ([[[0.5, 0.4]]], "sums from 0.9"),
    ],
)
def test_impossible_class_probabilities_are_refused(probs, message):
    with pytest.raises(ValueError, match=message):
        ClassificationPredictive(np.array(probs))


@pytest.mark.parametrize("y", [[0.0], [0, 1], [3], [-1]])
def test_impossible_labels_are_refused(y):
    with pytest.raises(ValueError, match="labels must"):
        ClassificationPredictive([[[0.5, 0.5]]]).log_prob(np.array(y))


@pytest.mark.parametrize("bad", [0, 1, -0.2])
def test_impossible_levels_are_refused(bad):
    with pytest.raises(ValueError, match="must be between 0 and 1"):
        normal([0.0], [1.0]).interval(bad)
    with pytest.raises(ValueError, match="must be between 0 and 1"):
        normal([0.0], [1.0]).quantile(bad)
