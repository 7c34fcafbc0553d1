"""Executes all chapters in this environment and notes which claims come out otherwise.

`python -m bookext.survey NAME` keeps the result in `benchmarks/environments.json` under that name:
another Python, another build of PyTorch, other vector units.  The first one is what all others are
compared with, and the page of status shows them.  A claim that leaves its range, or a cell that
fails, does not stop a chapter here: all are wanted.  What `make book` has executed in this
environment is not executed again.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import distributions, version

from .environments import out_of_range, read_stored, report, store
from .execution import (
    RUNAWAY,
    Run,
    cached_run,
    describe,
    execute,
    noise,
    open_cache,
    prepare_cache,
    side_by_side,
    summary,
)
from .pages import LIMITS, Page, chapters

# What switches wider vector units off, or other ways to compute the same.
SWITCHES = (
    "ATEN_CPU_CAPABILITY",
    "MKL_ENABLE_INSTRUCTIONS",
    "NPY_DISABLE_CPU_FEATURES",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
    "TF_ENABLE_ONEDNN_OPTS",
    "XLA_FLAGS",
)


def survey(pages: list[Page]) -> dict:
    """Execute the chapters, and describe what came out and where.

    Returns
    -------
    dict
        "environment"; for each of the "chapters" what it took and its first "failure", if any; the
        "claims": text, value, low and high of each.
    """
    found, claims = {}, {}

    def one(page: Page) -> str:
        # The name of a cached execution does not tell the switches.
        run = None if switches() else cached_run(page, open_cache())
        if run is None:
            limits = {name: RUNAWAY * page.options[name] for name in LIMITS}
            run = execute(page.notebook(), page.name, page.path.parent, **limits, strict=False)
        found[page.path.stem] = {
            # As on the machine of the limits.
            "seconds": round(run.record["seconds"] / run.record["slowness"], 1),
            "peak_memory_mb": run.record["peak_memory_mb"],
            "added_memory_mb": run.record["added_memory_mb"],
            "failure": failure(run, page),
        }
        for claim in run.record["claims"]:
            value = claim["value"] and float(f"{claim['value']:.6g}")
            claims[claim["name"]] = [claim["text"], value, claim["low"], claim["high"]]
        return summary(run.record)

    if failed := side_by_side(one, pages):
        sys.exit("\n".join(["", *failed]))
    return {
        "environment": environment(),
        "chapters": {page.path.stem: found[page.path.stem] for page in pages},
        "claims": claims,
    }


def environment() -> dict:
    """Describe what the claims may depend on, and how large it is."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "python": platform.python_version(),
        "torch": version("torch"),
        "machine": f"{platform.system()} {platform.machine()}",
        "switches": switches(),
        "installed_mb": installed_mb(),
    }


def switches() -> dict[str, str]:
    """Return the switches that are set."""
    return {name: os.environ[name] for name in SWITCHES if name in os.environ}


def installed_mb() -> dict[str, int]:
    """Size of each installed package's files, in MB, the largest first, without Python's caches."""
    sizes = {
        package.name: sum(file.size or 0 for file in package.files or ()) >> 20
        for package in distributions()
    }
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))


def failure(run: Run, page: Page) -> str:
    """Describe the first cell that raised an error, or else the first that leaves noise.

    Later cells miss what the failing one would have made.
    """
    found = [
        describe(run.notebook, page.name, index, f"{output.ename}: {output.evalue}")
        for index, cell in enumerate(run.notebook.cells)
        for output in cell.get("outputs", [])
        if output.output_type == "error"
    ]
    return next(iter([*found, *noise(run.notebook, page.name)]), "")


def main() -> None:
    """Read the command line, execute, print, and keep."""
    parser = argparse.ArgumentParser(prog="python -m bookext.survey", description=__doc__)
    parser.add_argument("name", help="what this environment is called")
    parser.add_argument("--chapters", nargs="*", help="only these; of the others, what is kept")
    given = parser.parse_args()
    if not given.name.strip():
        parser.error("the environment needs a name: make survey NAME='Python 3.13'")
    pages = [page for page in chapters() if not given.chapters or page.path.stem in given.chapters]
    prepare_cache()
    found = survey(pages)
    stored = read_stored()
    first = next(iter(stored), given.name)
    base = found["claims"] if given.name == first else stored[first]["claims"]
    print("\n".join(report(given.name, found, base)))
    failed = [
        *out_of_range(found["claims"], base),
        *(c["failure"] for c in found["chapters"].values() if c["failure"]),
    ]
    if given.name != first:  # the ranges stand with the first
        found["claims"] = {name: claim[:2] for name, claim in found["claims"].items()}
    if given.chapters and given.name in stored:
        for part in ("chapters", "claims"):
            found[part] = stored[given.name][part] | found[part]
    store(stored | {given.name: found})
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
