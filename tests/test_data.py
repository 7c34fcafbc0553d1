"""The data are the published ones, and the splits keep their promises."""

import numpy as np
import pytest

from bnnbook import data


def test_white_wine_is_the_published_set():
    wine = data.wine()
    assert wine.X.shape == (4898, 11) and len(wine) == 4898
    assert len(wine.first_of_group) == 3961
    assert wine.feature_names[10] == "alcohol" and wine.units[10] == "% by volume"
    # First row of the UCI file.
    assert wine.X[0].tolist() == [7, 0.27, 0.36, 20.7, 0.045, 45, 170, 1.001, 3, 0.45, 8.8]
    assert wine.y[0] == 6


def test_red_wine_is_the_published_set():
    wine = data.wine("red")
    assert wine.X.shape == (1599, 11)
    assert set(wine.y) == {3, 4, 5, 6, 7, 8}


def test_duplicated_wines_agree_on_the_quality():
    """So that grouping by inputs and target is grouping by inputs."""
    wine = data.wine()
    assert len(np.unique(wine.X, axis=0)) == len(wine.first_of_group)


def test_iris():
    iris = data.iris()
    assert iris.X.shape == (150, 4)
    assert np.bincount(iris.y).tolist() == [50, 50, 50]
    assert iris.class_names == ("setosa", "versicolor", "virginica")
    assert iris.label("petal width") == "petal width (cm)"


def test_digits():
    digits = data.digits()
    assert digits.X.shape == (1797, 64)
    assert (digits.X.min(), digits.X.max()) == (0, 16)
    # The class sizes of the published test set, as the source lists them.
    assert np.bincount(digits.y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    # Row by row: the mean zero is dark on its sides and light in the middle of the image.
    zero = digits.X[digits.y == 0].mean(0).reshape(8, 8)
    assert zero[3:5, 3:5].max() < 4 < 8 < zero[3:5, [2, 5]].min()
    assert digits.feature_names[9] == "pixel_1_1"


def test_unknown_feature_is_named():
    with pytest.raises(ValueError, match="no feature 'taste'; it has fixed acidity"):
        data.wine().label("taste")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_random_split_uses_every_row_once(seed):
    wine = data.wine()
    parts = data.split(wine, "random", seed=seed)
    assert len(parts.test) == round(0.15 * len(wine))
    assert sorted([*parts.train, *parts.test]) == list(range(len(wine)))
    assert np.array_equal(wine.X[parts.test], parts.X_test)
    assert np.array_equal(wine.y[parts.train], parts.y_train)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_deduplicated_split_has_no_twin_across(seed):
    wine = data.wine()
    parts = data.split(wine, "deduplicated", seed=seed)
    assert not set(map(tuple, parts.X_train)) & set(map(tuple, parts.X_test))
    assert len(parts.train) + len(parts.test) == len(wine.first_of_group)
    # The random split does leak: otherwise this test could not fail.
    leaky = data.split(wine, "random", seed=seed)
    train = set(map(tuple, leaky.X_train))
    assert 0.25 < np.mean([tuple(row) in train for row in leaky.X_test]) < 0.45


def test_splits_depend_on_the_seed_alone():
    wine = data.wine()
    first, again, other = (data.split(wine, "random", seed=s).test for s in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_standardising_is_fitted_on_the_training_part():
    parts = data.split(data.wine(), "random", seed=0)
    scaled = parts.standardised()
    np.testing.assert_allclose(scaled.X_train.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(scaled.X_train.std(axis=0), 1, atol=1e-9)
    mean, deviation = parts.X_train.mean(axis=0), parts.X_train.std(axis=0)
    np.testing.assert_allclose(scaled.X_test, (parts.X_test - mean) / deviation)


def test_cross_validation_tests_each_flower_once_a_repeat():
    iris = data.iris()
    splits = list(data.cross_validation(iris, folds=5, repeats=3, seed=0))
    assert len(splits) == 15
    for repeat in range(3):
        tested = np.concatenate([s.test for s in splits[5 * repeat : 5 * repeat + 5]])
        assert sorted(tested) == list(range(150))
    assert all(np.bincount(s.y_test).tolist() == [10, 10, 10] for s in splits)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
def test_fraction_outside_zero_one_is_refused(fraction):
    with pytest.raises(ValueError, match="test_fraction must be between 0 and 1, got"):
        data.split(data.iris(), "random", test_fraction=fraction, seed=0)


def test_empty_part_is_refused():
    with pytest.raises(ValueError, match="of 150 rows leaves one part empty"):
        data.split(data.iris(), "random", test_fraction=0.001, seed=0)


def test_unknown_split_and_colour_are_named():
    with pytest.raises(ValueError, match="unknown split 'honest'"):
        data.split(data.iris(), "honest", seed=0)
    with pytest.raises(ValueError, match="unknown wine colour 'rosé'"):
        data.wine("rosé")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:1000]), "damaged or was edited: 1,000"),
        (lambda path: path.write_bytes(path.read_bytes().replace(b"8.8", b"8.9", 1)), "damaged"),
        (lambda path: path.unlink(), "cannot read .*No such file.*git checkout"),
    ],
    ids=["truncated", "edited", "missing"],
)
def test_damaged_file_is_named_with_the_mend(tmp_path, monkeypatch, damage, message):
    path = tmp_path / "winequality-white.csv"
    path.write_bytes((data.DATASETS / path.name).read_bytes())
    monkeypatch.setattr(data, "DATASETS", tmp_path)
    data.wine()  # the copy is good before it is damaged
    damage(path)
    with pytest.raises(data.DataError, match=message):
        data.wine()


def _dataset(X, y):
    return data.Dataset("toy", X, y, ("a", "b"), ("", ""), "t", (), "", "", "")


def test_non_finite_value_is_named():
    X = np.zeros((3, 2))
    X[1, 1] = np.nan
    with pytest.raises(
        data.DataError, match=r"toy: 1 non-finite value\(s\), the first in row 1, b"
    ):
        _dataset(X, np.zeros(3))
    with pytest.raises(data.DataError, match="the target"):
        _dataset(np.zeros((3, 2)), np.array([0, 1, np.inf]))


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(data.DataError, match=r"have \(3, 2\) and \(4,\)"):
        _dataset(np.zeros((3, 2)), np.zeros(4))
    with pytest.raises(data.DataError, match="3 columns need as many names"):
        _dataset(np.zeros((3, 3)), np.zeros(3))
