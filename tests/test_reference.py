"""Stored references are what their notes say, fail loudly when damaged, and can be made again."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from bnnbook import data, reference, scores
from bnnbook.methods import baselines
from bnnbook.predictive import ClassificationPredictive, RegressionPredictive, concatenate


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A copy of the data folder."""
    shutil.copytree(data.DATASETS, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(data, "DATASETS", tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", reference.NAMES)
def test_stored_reference_has_converged(name: str) -> None:
    predictive, notes = reference.load(name)
    assert predictive.draws == reference.STORED_DRAWS
    predictive.checked(reference.held_out(name))
    diagnostics = notes["diagnostics"]
    assert diagnostics["R-hat"] <= 1.02
    assert diagnostics["effective sample size"] >= 300
    assert diagnostics["divergences"] == 0
    assert diagnostics["energy fraction"] >= 0.3
    settings = notes["settings"]
    assert settings == reference._SETTINGS[name] | {
        "seed": reference.SEED,
        "stored_draws": reference.STORED_DRAWS,
    }


def test_wine_reference_belongs_to_its_split() -> None:
    # Scores of another split's wines would be no better than chance; a linear model is.
    split = reference.wine_split()
    predictive, _ = reference.load("wine")
    linear = baselines.linear_regression(split.X_train, split.y_train)
    by_linear = scores.nll(linear.predictive(split.X_test, seed=0), split.y_test)
    assert scores.nll(predictive, split.y_test) < by_linear - 0.03
    assert scores.nll(predictive, np.roll(split.y_test, 1)) > by_linear + 0.1


def test_iris_reference_belongs_to_its_folds() -> None:
    # Other folds hold out as many flowers of each species, so accuracy cannot tell; but two
    # classifiers hesitate over the same flowers only if they are the same flowers.
    predictive, _ = reference.load("iris")
    folds = reference.iris_folds()
    assert sorted(np.concatenate([fold.test for fold in folds])) == list(range(150))
    logistic = concatenate(
        [
            baselines.logistic_regression(fold.X_train, fold.y_train).predictive(fold.X_test)
            for fold in folds
        ],
        "data",
    )
    doubts = [1 - p.expectation.max(axis=-1) for p in (predictive, logistic)]
    assert spearmanr(*doubts).statistic > 0.6


def test_unknown_name() -> None:
    with pytest.raises(ValueError, match=r"'beer'.*wine, iris"):
        reference.load("beer")


def test_damaged_draws(folder) -> None:
    path = folder / "reference_iris.npz"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(
        data.DataError, match=r"reference_iris\.npz is not the file.*make reference"
    ):
        reference.load("iris")


def test_missing_draws(folder) -> None:
    (folder / "reference_wine.npz").unlink()
    with pytest.raises(data.DataError, match=r"cannot read .*reference_wine\.npz.*make reference"):
        reference.load("wine")


def test_damaged_notes(folder) -> None:
    (folder / "reference_wine.json").write_text("{")
    with pytest.raises(data.DataError, match=r"reference_wine\.json is not JSON.*make reference"):
        reference.load("wine")


def test_interrupted_store_leaves_the_old_pair(folder, monkeypatch) -> None:
    old, notes = reference.load("iris")
    write = Path.write_bytes

    def full_disk(path: Path, content: bytes) -> int:
        if path.suffix == ".json":  # the second of the two
            raise OSError("No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    changed = ClassificationPredictive(old.probs[..., ::-1])
    with pytest.raises(OSError, match="No space left"):
        reference.store("iris", changed, {})
    again, same_notes = reference.load("iris")
    np.testing.assert_array_equal(again.probs, old.probs)
    assert same_notes == notes


@pytest.mark.parametrize("name", reference.NAMES)
def test_small_reference_is_made_stored_and_loaded(name: str, folder, monkeypatch) -> None:
    small = {"hidden": 2, "chains": 2, "warmup": 20, "draws": 100, "max_depth": 3}
    monkeypatch.setitem(reference._SETTINGS, name, reference._SETTINGS[name] | small)
    with pytest.warns():  # so short a run has not converged, and says so
        predictive, diagnostics = reference.make(name)
    reference.store(name, predictive, diagnostics)
    loaded, notes = reference.load(name)
    assert notes["diagnostics"] == diagnostics and notes["settings"]["hidden"] == 2
    if isinstance(loaded, RegressionPredictive):
        np.testing.assert_allclose(loaded.mean, predictive.mean, atol=0.005)
        np.testing.assert_allclose(loaded.scale, predictive.scale, atol=0.001)
    else:
        np.testing.assert_allclose(loaded.probs, predictive.probs, atol=1e-6)
    assert not list(folder.glob("*.new*"))


@pytest.mark.remake
@pytest.mark.parametrize("name", reference.NAMES)
def test_remade_reference_agrees(name: str) -> None:
    """Another seed must give the same predictions, within the Monte Carlo error of both runs."""
    stored, notes = reference.load(name)
    remade, diagnostics = reference.make(name, seed=reference.SEED + 1)
    assert diagnostics["R-hat"] <= 1.02
    draws = [p.mean if name == "wine" else p.probs for p in (stored, remade)]
    sizes = (
        min(stored.draws, notes["diagnostics"]["effective sample size"]),
        diagnostics["effective sample size"],
    )
    error = sum(d.var(axis=0) / size for d, size in zip(draws, sizes, strict=True)) ** 0.5
    z = (draws[0].mean(axis=0) - draws[1].mean(axis=0)) / error
    # The worst effective size is taken for all points, so the errors are on the large side; a
    # ratio near zero would mean that the two runs are the same one.
    assert 0.2 < np.sqrt(np.mean(z**2)) < 1.3
