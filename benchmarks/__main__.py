"""`python -m benchmarks [PART …]`: measure, print, and keep the results for the book's page.

Without a part, all are measured, which takes most of an hour on two quiet cores.  What a run does
not measure is kept from the run before.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import psutil

from bnnbook.progress import progress
from bookext.execution import PACKAGES
from bookext.pages import chapters

from . import builds
from .pairs import WINE_STEPS
from .process import MeasurementError, in_fresh_process
from .report import exponent, ratio_row, score_text, table

RESULTS = Path(__file__).with_name("results.json")
REPEATS = 5
# Where single costs are listed and not compared, the quickest of so many counts: what else the
# machine did can only add.
TRIES = 2
# The chapter that is edited: the longest, so that no other takes more.
EDITED = "keras_wine_regression"
# Binder gives a reader this much.
MEMORY_LIMIT_MB = 2048

WITHOUT_FRAMEWORK = ("claims", "data", "figures", "predictive", "progress", "scores", "tables")
ROWS = [1, 10, 100]
WIDTHS = [1, 2, 4, 8, 16, 32, 64]
DRAWS = [1, 10, 100, 1000, 10_000]
WHITE_WINES = 4898
IRIS_UNITS = 100


def wine(repeats: int) -> dict:
    """Measure the Keras tutorial's wine networks and the book's in turn."""
    networks = {"wine network": False, "probabilistic wine network": True}
    functions = {}
    for name, probabilistic in networks.items():
        which = {"probabilistic": probabilistic}
        functions[f"{name}: source"] = "pairs:wine_source", which
        for who, steps in WINE_STEPS.items():
            functions[f"{name}: {who}"] = "pairs:wine_book", which | {"steps": steps}
    runs = in_turn(functions, repeats)
    rows = []
    for name, probabilistic in networks.items():
        source, book, proper = (runs[f"{name}: {who}"] for who in ("source", "book", "proper"))
        for what, ours, clock, target, scored in (
            ("to equal quality, tracing included", book, "fit", 25, True),
            ("to equal quality, traced before", book, "fit, traced before", 100, False),
            ("trained properly, tracing included", proper, "fit", 4, True),
        ):
            rows.append(
                ratio_row(
                    f"{name}, {what}",
                    source,
                    ours,
                    ("fit", clock),
                    target=None if probabilistic else target,
                    scored=scored,
                )
            )
    source, book = (runs[f"wine network: {who}"] for who in ("source", "book"))
    for call, clock, target in (("first call", "first", 30), ("later calls", "again", 1000)):
        clocks = (f"draws, {clock}",) * 2
        rows.append(
            ratio_row(
                f"100 weight draws, {call}", source, book, clocks, target=target, scored=False
            )
        )
    return {"rows": rows}


def iris(repeats: int) -> dict:
    """Measure the PyTorch tutorials' iris network and the book's in turn, and the progress bar."""
    runs = in_turn(
        {
            "source": ("pairs:iris_source", {}),
            "book": ("pairs:iris_book", {}),
            "bar": ("pairs:progress_bar", {}),
        },
        repeats,
    )
    pair, bar = (runs["source"], runs["book"]), (runs["bar"], runs["bar"])
    fit, test, every = (2 * (clock,) for clock in ("fit", "draws, test", "draws, all"))
    return {
        "rows": [
            ratio_row("iris network, to an equal objective", *pair, fit, target=8),
            ratio_row("1,000 weight draws, test irises", *pair, test, target=4.5, scored=False),
            ratio_row("1,000 weight draws, all irises", *pair, every, scored=False),
        ],
        "progress_bar": ratio_row("progress bar", *bar, ("with", "without"), scored=False),
    }


def samplers(repeats: int) -> dict:
    """Measure the book's sampler beside NumPyro's."""
    if not find_spec("numpyro"):
        sys.exit("error: NumPyro is not installed; pip install -r benchmarks/requirements.txt")
    runs = in_turn({"numpyro": ("samplers:numpyro", {}), "book": ("samplers:book", {})}, repeats)
    name = "no-U-turn sampling of the iris posterior, beside NumPyro's, compilation included"
    return {"rows": [ratio_row(name, runs["numpyro"], runs["book"], ("fit", "fit"))]}


def floor(_: int) -> dict:
    """Measure how far steps and draws are from their random numbers and matrix products."""
    functions = {
        "a step of the wine network": "floor:wine_step",
        "a step of the iris network": "floor:iris_step",
        "100 weight draws, test wines": "floor:wine_draws",
        "1,000 weight draws, all irises": "floor:iris_draws",
    }
    found = []
    for name, function in progress(functions.items(), "floor"):
        runs = [in_fresh_process(function)["result"] for _ in range(TRIES)]
        found.append({"name": name} | min(runs, key=lambda run: run["seconds"]))
    return {"floors": found}


def growth(_: int) -> dict:
    """Measure how cost grows with rows, width and draws."""
    rows = [WHITE_WINES * times for times in ROWS]
    plans = {
        "one pass of the deterministic wine network": ("growth:epochs", "rows", rows, {}),
        "500 steps of the bound": ("growth:variational_steps", "rows", rows, {}),
        "predictive, 100 draws": ("growth:wine_predictive", "rows", rows, {"draws": 100}),
        "full covariance, a step": ("growth:full_covariance", "width", [8 * w for w in WIDTHS], {}),
        "mean-field, a step": ("growth:mean_field", "width", [IRIS_UNITS * w for w in WIDTHS], {}),
        "predictive of the test wines": ("growth:wine_predictive", "draws", DRAWS, {"rows": 735}),
    }
    points = [(name, size) for name, (_, _, sizes, _) in plans.items() for size in sizes]
    found: dict[str, list[dict]] = {name: [] for name in plans}
    ended = {}
    for name, size in progress(points, "growth"):
        function, variable, _, others = plans[name]
        if name in ended:
            continue
        arguments = {variable: size} | others
        runs = [
            in_fresh_process(function, memory_limit_mb=MEMORY_LIMIT_MB, **arguments)
            for _ in range(TRIES)
        ]
        if None in runs:
            ended[name] = size
        else:
            found[name].append(
                {"size": size} | min((r["result"] for r in runs), key=lambda r: r["seconds"])
            )
    series = []
    for name, (_, variable, _, _) in plans.items():
        sizes = [point["size"] for point in found[name]]
        series.append(
            {
                "name": name,
                "variable": variable,
                "points": found[name],
                "exponent": exponent(sizes, [point["seconds"] for point in found[name]]),
                "out_of_memory_at": ended.get(name),
            }
        )
    return {"series": series, "memory_limit_mb": MEMORY_LIMIT_MB}


def book(_: int) -> dict:
    """Measure builds, the chapters as the tutorials would have written them, and start-up."""
    names = [page.path.stem for page in chapters()]
    built = builds.builds(EDITED)
    with ThreadPoolExecutor(2) as pool:  # two at a time, as the cold build executes them
        naive = list(progress(pool.map(builds.naive, names), "chapters, written naively"))
    starts = {}
    for page in progress(chapters(), "first cells"):
        source = builds.first_cell(page)
        runs = [in_fresh_process("child:start_up", source=source) for _ in range(TRIES)]
        fastest = min(runs, key=lambda run: run["result"]["seconds"])
        starts[page.path.stem] = {"seconds": fastest["result"]["seconds"], "mb": fastest["peak_mb"]}
    imports = {}
    for statement in (
        "import bnnbook",
        f"from bnnbook import {', '.join(WITHOUT_FRAMEWORK)}",
        "import torch, torchbnn",
        "from bnnbook.methods import torch_variational",
        "import tensorflow, tensorflow_probability, tf_keras",
        "from bnnbook.methods import full_covariance",
    ):
        runs = [in_fresh_process("child:start_up", source=statement) for _ in range(TRIES)]
        fastest = min((run["result"] for run in runs), key=lambda result: result["seconds"])
        imports[statement] = fastest
    return {
        "edited": EDITED,
        "seconds": built["seconds"],
        "chapters": {
            name: built["executed"][name] | {"naive": slow, "first_cell": starts[name]}
            for name, slow in zip(names, naive, strict=True)
        },
        "imports": imports,
    }


PARTS: dict[str, Callable[[int], dict]] = {
    "wine": wine,
    "iris": iris,
    "samplers": samplers,
    "floor": floor,
    "growth": growth,
    "book": book,
}


def in_turn(functions: dict[str, tuple[str, dict]], repeats: int) -> dict[str, list[dict]]:
    """Run all functions once with seed 0, then all with seed 1, and so on."""
    runs: dict[str, list[dict]] = {name: [] for name in functions}
    todo = [(seed, name) for seed in range(repeats) for name in functions]
    for seed, name in progress(todo, "in turn"):
        function, arguments = functions[name]
        runs[name].append(in_fresh_process(function, seed=seed, **arguments)["result"])
    return runs


def machine() -> dict:
    """Describe where and with what the measurements were made."""
    model = platform.processor()
    if (info := Path("/proc/cpuinfo")).exists():
        lines = [line.split(":", 1) for line in info.read_text().splitlines() if ":" in line]
        model = next((value.strip() for key, value in lines if key.strip() == "model name"), model)
    packages = {}
    for package in (*PACKAGES, "tf_keras", "numpyro", "jax"):
        try:
            packages[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "processor": model,
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": packages,
    }


def printed(part: str, results: dict) -> str:
    """Write the results of a part for a terminal."""
    if "rows" in results:
        lines = [["", "source", "book", "ratio (lowest to highest)", "wanted", "source → book"]]
        for row in results["rows"]:
            target = row["target"]
            lines.append(
                [
                    row["name"],
                    f"{row['source_s']:.3g} s",
                    f"{row['book_s']:.3g} s",
                    f"{row['ratio']:.3g} ({row['lowest']:.3g} to {row['highest']:.3g})",
                    ""
                    if target is None
                    else f"{target} {'✓' if row['ratio'] >= target else 'NOT MET'}",
                    score_text(row),
                ]
            )
        return table(lines)
    if part == "floor":
        lines = [["", "time", "random numbers", "matrix products", "times the floor"]]
        for f in results["floors"]:
            least = f["random_numbers"] + f["matrix_products"]
            lines.append(
                [
                    f["name"],
                    *(
                        f"{1e3 * f[k]:.3g} ms"
                        for k in ("seconds", "random_numbers", "matrix_products")
                    ),
                    f"{f['seconds'] / least:.1f}",
                ]
            )
        return table(lines)
    if part == "growth":
        lines = [["", "variable", "exponent of time", "memory ends at"]]
        for s in results["series"]:
            lines.append(
                [
                    s["name"],
                    s["variable"],
                    f"{s['exponent']:.2f}",
                    str(s["out_of_memory_at"] or "–"),
                ]
            )
        return table(lines)
    lines = [["chapter", "s", "MB", "naive s", "first cell s", "first cell MB"]]
    for name, c in results["chapters"].items():
        more = "> " if c["naive"]["stopped"] else ""
        lines.append(
            [
                name,
                f"{c['seconds']:.0f}",
                f"{c['peak_memory_mb']}",
                f"{more}{c['naive']['seconds']:.0f}",
                f"{c['first_cell']['seconds']:.1f}",
                f"{c['first_cell']['mb']:.0f}",
            ]
        )
    times = "\n".join(f"{name}: {s:.1f} s" for name, s in results["seconds"].items())
    imports = "\n".join(f"{s}: {r['seconds']:.2f} s" for s, r in results["imports"].items())
    return f"{table(lines)}\n\n`make book`\n{times}\n\n{imports}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the parts that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one of {', '.join(PARTS)}")
    parser.add_argument(
        "--repeats", type=int, default=REPEATS, help="of each comparison (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"unknown part {', '.join(sorted(unknown))}; choose from {', '.join(PARTS)}")
    if options.repeats < 1:
        parser.error(f"--repeats must be at least 1, got {options.repeats}")
    parts = options.parts or [p for p in PARTS if p != "samplers" or find_spec("numpyro")]
    stored = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    for part in parts:
        try:
            results = PARTS[part](options.repeats)
        except MeasurementError as error:
            sys.exit(f"error: {part}: {error}")
        print(f"\n{part}\n\n{printed(part, results)}", flush=True)
        stored[part] = {"machine": machine()} | results
        # Complete before it replaces the old one, after each part: an interrupted run loses one.
        new = RESULTS.with_suffix(".new")
        new.write_text(json.dumps(stored, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        new.replace(RESULTS)


if __name__ == "__main__":
    main()
