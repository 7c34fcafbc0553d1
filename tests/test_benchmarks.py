"""The benchmarks measure what they say, and the page shows what they measured."""

import json
import math
import re

import numpy as np
import pytest
import torch

from benchmarks import __main__ as command
from benchmarks import floor, iris_recipe, naive, pairs, report, wine_network, wine_recipe
from benchmarks.builds import first_cell
from benchmarks.process import MeasurementError, in_fresh_process
from bnnbook import data
from bnnbook.methods import full_covariance, torch_variational
from bookext import speed
from bookext.pages import ROOT, chapters

RESULTS = json.loads(command.RESULTS.read_text(encoding="utf-8"))


def runs(seconds: list[float], **scores: float) -> list[dict]:
    return [{"seconds": {"fit": s}, "fit": scores} for s in seconds]


def test_ratios_are_taken_within_a_repeat() -> None:
    # A slow second repeat slows both sides: the ratio does not move.
    row = report.ratio_row(
        "x", runs([8.0, 80.0, 8.0], NLL=1.0), runs([2.0, 20.0, 2.0], NLL=0.9), ("fit", "fit")
    )
    assert (row["ratio"], row["lowest"], row["highest"]) == (4, 4, 4)
    assert (row["source_s"], row["book_s"]) == (8, 2)
    assert row["scores"]["NLL"] == {"source": (1.0, 0.0), "book": (pytest.approx(0.9), 0.0)}


@pytest.mark.parametrize("power", [0.0, 1.0, 4.0])
def test_exponent_is_that_of_the_large_sizes(power: float) -> None:
    sizes = np.array([1.0, 2, 4, 8, 16, 32, 64, 128])
    costs = np.where(sizes < 16, 7.0, sizes**power)
    assert report.exponent(sizes, costs) == pytest.approx(power)


@pytest.mark.slow
def test_a_process_that_needs_too_much_memory_is_stopped() -> None:
    source = "import time\nheld = bytearray(300 * 2**20)\ntime.sleep(60)"
    assert in_fresh_process("child:start_up", memory_limit_mb=200, source=source) is None


@pytest.mark.slow
def test_a_measurement_that_fails_says_why() -> None:
    with pytest.raises(MeasurementError, match=r"child:start_up[\s\S]*no_such_module"):
        in_fresh_process("child:start_up", source="import no_such_module")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "frameworks"),
    [
        ("from bnnbook import " + ", ".join(command.WITHOUT_FRAMEWORK), []),
        ("from bnnbook.methods import torch_variational", ["torch"]),
    ],
)
def test_only_the_methods_load_a_framework(source: str, frameworks: list[str]) -> None:
    assert in_fresh_process("child:start_up", source=source)["result"]["frameworks"] == frameworks


def test_first_cells_are_imports() -> None:
    for page in chapters():
        assert re.search(r"^(import|from) ", first_cell(page), re.MULTILINE), page.name


def test_the_wine_recipe_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wine_recipe, "EPOCHS", 1)
    monkeypatch.setattr(wine_recipe, "PROBABILISTIC_EPOCHS", 1)
    s = data.split(data.wine("white"), "random", seed=0)
    for probabilistic in (False, True):
        model = wine_recipe.fit(
            s.X_train, s.y_train, s.X_test, s.y_test, probabilistic=probabilistic
        )
        mean, scale = wine_recipe.draws(model, s.X_test[:5], 3)
        assert mean.shape == scale.shape == (3, 5)
        assert len(np.unique(mean[:, 0])) == 3  # each call draws anew
        assert (scale == np.sqrt(1 / 2)).all() != probabilistic


def test_naive_chapters_fit_the_same_thing(monkeypatch: pytest.MonkeyPatch) -> None:
    iris = data.iris()
    fit = dict(steps=40, draws=16, learning_rate=0.05, seed=0)
    torch.manual_seed(0)
    network = iris_recipe.network()
    quick = torch_variational.fit(network, iris.X, iris.y, **fit)
    # So that what `install` replaces comes back after the test.
    monkeypatch.setattr(torch_variational, "fit_many", torch_variational.fit_many)
    posterior = torch_variational.MeanFieldPosterior
    monkeypatch.setattr(posterior, "_logits", posterior._logits)
    naive.install("torch_variational")
    slow = torch_variational.fit(network, iris.X, iris.y, **fit)
    assert slow.kl == pytest.approx(quick.kl, rel=0.1)
    probs = slow.predictive(iris.X[:4], draws=50, seed=0).probs
    assert probs.shape == (50, 4, 3)
    assert len(np.unique(probs[:, 0, 0])) == 50


def test_naive_steps_are_those_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    s = data.split(data.wine("red"), "random", seed=0)
    fit = dict(steps=40, draws=2, seed=0)
    quick = wine_network.fit(s.X_train, s.y_train, **fit)
    # So that what `install` replaces comes back after the test.
    monkeypatch.setattr(full_covariance, "_training_function", full_covariance._training_function)
    posterior = full_covariance.VariationalPosterior
    monkeypatch.setattr(posterior, "predictive", posterior.predictive)
    naive.install("full_covariance")
    slow = wine_network.fit(s.X_train, s.y_train, **fit)
    np.testing.assert_allclose(slow.loss_trace, quick.loss_trace, rtol=1e-5)
    for ours, theirs in zip(slow.layers, quick.layers, strict=True):
        np.testing.assert_allclose(ours.mean, theirs.mean, rtol=1e-4, atol=1e-6)
    mean = slow.predictive(s.X_test[:4], draws=5, seed=0).mean
    assert mean.shape == (5, 4)
    assert len(np.unique(mean[:, 0])) == 5


def test_the_floor_of_a_wine_step_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(pairs.WINE_STEPS, "proper", 5)
    found = floor.wine_step()
    assert found.keys() == {"seconds", "random_numbers", "matrix_products"}
    assert min(found.values()) > 0


def test_unknown_part_is_named(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        command.main(["wien"])
    assert "unknown part wien; choose from wine, iris" in capsys.readouterr().err


def test_results_are_complete() -> None:
    assert set(RESULTS) == set(command.PARTS)
    names = [row["name"] for row in speed.rows(RESULTS)]
    assert len(names) == len(set(names)) > 8
    for row in speed.rows(RESULTS):
        assert row["repeats"] >= 3
        assert 0 < row["lowest"] <= row["ratio"] <= row["highest"]
    assert set(RESULTS["book"]["chapters"]) == {page.path.stem for page in chapters()}


def test_results_are_of_the_required_versions() -> None:
    pins = dict(
        line.split("==")
        for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    )
    for part, found in RESULTS.items():
        for package, version in found["machine"]["packages"].items():
            if package in pins:
                assert version.split("+")[0] == pins[package], f"{part}: make bench PARTS={part}"


def test_what_the_page_says_holds() -> None:
    """The sentences of the page that no table spells out."""
    rows = {row["name"]: row for row in speed.rows(RESULTS)}
    for name, row in rows.items():
        for score, values in row["scores"].items():
            if score in ("RMSE", "NLL") and "no-U-turn" not in name:
                (source, source_error), (book, book_error) = values.values()
                assert book < source + 2 * math.hypot(source_error, book_error), (name, score)
            if score == "objective":  # "to an equal objective"
                (source, _), (book, _) = values.values()
                assert book <= source, name
    fit = rows["iris network, to an equal objective"]
    step = fit["book_s"] / pairs.IRIS_FIT["steps"]
    assert step < 1.25 * fit["source_s"] / iris_recipe.STEPS  # "takes little longer"
    assert pairs.IRIS_FIT["steps"] <= iris_recipe.STEPS / pairs.IRIS_FIT["draws"]
    series = {s["name"]: s for s in RESULTS["growth"]["series"]}
    assert 0.8 < series["one pass of the deterministic wine network"]["exponent"] < 1.3
    steps = [point["seconds"] for point in series["500 steps of the bound"]["points"]]
    assert steps[-1] < 3 * steps[0]  # for a hundred times the rows
    assert series["full covariance, a step"]["out_of_memory_at"]
    assert series["full covariance, a step"]["exponent"] > 2
    assert 0.75 < series["mean-field, a step"]["exponent"] < 1.3
    draws = series["predictive of the test wines"]
    assert 0.75 < draws["exponent"] < 1.15
    working = [point["mb"] - point["returned_mb"] for point in draws["points"]]
    assert working[-1] < working[-3] + 60  # a hundred times the draws
    assert RESULTS["iris"]["progress_bar"]["ratio"] < 1.05
    book = RESULTS["book"]
    naively = sum(c["naive"]["seconds"] for c in book["chapters"].values())
    assert book["seconds"]["cold"] < naively / 3
    assert book["imports"]["import bnnbook"]["seconds"] < 0.3


@pytest.mark.parametrize("name", list(speed.WRITERS))
def test_tables_have_as_many_cells_as_headings(name: str) -> None:
    lines = [line for line in speed.WRITERS[name](RESULTS) if line.startswith("|")]
    assert len(lines) > 2
    assert len({line.count("|") for line in lines}) == 1
