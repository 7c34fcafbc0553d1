"""Abstaining against brute force, the exact binomial bound, and a world whose risk is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from bnnbook.decisions import guaranteed_threshold, risk_coverage

EXAMPLES = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=30)


@given(EXAMPLES)
def test_risk_and_coverage_are_those_of_counting(examples: list[tuple[int, bool]]) -> None:
    uncertainty, wrong = (np.array(a) for a in zip(*examples, strict=True))
    curve = risk_coverage(uncertainty, wrong)
    assert curve.threshold.tolist() == sorted(set(uncertainty))
    for threshold, coverage, risk in zip(*curve, strict=True):
        kept = [is_wrong for u, is_wrong in examples if u <= threshold]
        assert coverage == pytest.approx(len(kept) / len(examples))
        assert risk == pytest.approx(sum(kept) / len(kept))


@given(EXAMPLES, st.floats(0.05, 0.6), st.floats(0.3, 0.9))
def test_threshold_is_where_the_clopper_pearson_bound_stops(examples, risk, confidence) -> None:
    uncertainty, wrong = (np.array(a) for a in zip(*examples, strict=True))
    expected = -np.inf
    for threshold in range(1, 6):
        kept = wrong[uncertainty <= threshold]
        if len(kept) == 0:
            break
        # The upper end of a one-sided exact interval, from the library.
        test = binomtest(int(kept.sum()), len(kept), alternative="less")
        if test.proportion_ci(confidence, method="exact").high > risk:
            break
        expected = threshold
    found = guaranteed_threshold(
        uncertainty, wrong, thresholds=np.arange(1, 6), risk=risk, confidence=confidence
    )
    assert found == expected


def test_stops_at_the_first_failure() -> None:
    uncertainty = np.repeat([0.1, 0.2, 0.3], 100)
    wrong = np.zeros(300, dtype=bool)
    wrong[100:115] = True  # 15 errors among the first 200; 15 among all 300
    options = {"risk": 0.08, "confidence": 0.9}
    assert guaranteed_threshold(uncertainty, wrong, thresholds=[0.3], **options) == 0.3
    assert guaranteed_threshold(uncertainty, wrong, thresholds=[0.1, 0.2, 0.3], **options) == 0.1


def test_promise_is_kept_with_its_confidence_where_the_risk_is_known() -> None:
    # Doubt is uniform, and an error has the probability u²: keeping u ≤ t has the risk t²/3.
    rng = np.random.default_rng(0)
    thresholds, promised, repeats = np.linspace(0.3, 1, 36), 0.05, 2000
    broken = 0
    for _ in range(repeats):
        u = rng.random(300)
        t = guaranteed_threshold(
            u, rng.random(300) < u**2, thresholds=thresholds, risk=promised, confidence=0.8
        )
        broken += np.isfinite(t) and t**2 / 3 > promised
    # At most 1 in 5, and three standard errors; a test that never dares would not help anybody.
    assert 0.05 * repeats < broken < 0.2 * repeats + 3 * np.sqrt(0.16 * repeats)


def test_keeps_nothing_if_nothing_is_proved() -> None:
    found = guaranteed_threshold([0.5], np.array([False]), thresholds=[0.9], risk=0.1)
    assert found == -np.inf


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"uncertainty": [0.1, 0.2]}, r"got \(2,\) and \(1,\)"),
        ({"uncertainty": []}, "at least one example"),
        ({"uncertainty": [np.nan]}, "1 uncertainties are not finite"),
        ({"wrong": np.array([1])}, "array of bool, got int64; compare"),
        ({"thresholds": [0.2, 0.1]}, "strictly rising"),
        ({"thresholds": []}, "strictly rising"),
        ({"risk": 1}, "risk must be between 0 and 1, got 1"),
        ({"confidence": 0.0}, "confidence must be between 0 and 1, got 0.0"),
    ],
)
def test_bad_input_is_named(change: dict, message: str) -> None:
    good = {"uncertainty": [0.1], "wrong": np.array([True]), "thresholds": [0.5], "risk": 0.1}
    with pytest.raises(ValueError, match=message):
        guaranteed_threshold(**good | change)


def test_bad_input_of_the_curve_is_named() -> None:
    with pytest.raises(ValueError, match="array of bool"):
        risk_coverage([0.1], [0])
