"""Executes all chapters in this environment and compares their claims with another's.

`python -m bookext.survey NAME` notes in `benchmarks/environments.json`, under that name, what came
out with another Python, another build of PyTorch, other vector units; the page of status shows it.
A claim that leaves its range, or a cell that fails, does not stop a chapter here: all are wanted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version

from .execution import RUNAWAY, Run, describe, execute, noise, side_by_side, summary
from .pages import LIMITS, ROOT, Page, chapters

STORED = ROOT / "benchmarks" / "environments.json"
# What switches vector units, or other ways to compute the same, off.
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
    """Execute the chapters, as many side by side as there are cores, at most four.

    Returns
    -------
    dict
        The environment, and for each chapter what it took, its claims and its failures.
    """
    found = {}

    def one(page: Page) -> str:
        limits = {name: RUNAWAY * page.options[name] for name in LIMITS}
        run = execute(page.notebook(), page.name, page.path.parent, **limits, strict=False)
        record = run.record
        found[page.path.stem] = {
            "seconds": round(record["seconds"] / record["slowness"], 1),
            "peak_memory_mb": record["peak_memory_mb"],
            "added_memory_mb": record["added_memory_mb"],
            "claims": {claim["name"]: claim["text"] for claim in record["claims"]},
            "out_of_range": [claim["name"] for claim in record["claims"] if not holds(claim)],
            "failure": failure(run, page),
        }
        return summary(record)

    failed = side_by_side(one, pages)
    if failed:
        sys.exit("\n".join(["", *failed]))
    ordered = {page.path.stem: found[page.path.stem] for page in pages}
    return {"environment": environment(), "chapters": ordered}


def environment() -> dict:
    """Describe what the claims may depend on."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "python": platform.python_version(),
        "torch": version("torch"),
        "build": "CPU" if "+cpu" in version("torch") else "default",
        "machine": f"{platform.system()} {platform.machine()}",
        "switches": {name: os.environ[name] for name in SWITCHES if name in os.environ},
    }


def holds(claim: dict) -> bool:
    """Whether a claim is within its range; what is no number is not."""
    return claim["value"] is not None and claim["low"] <= claim["value"] <= claim["high"]


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


def moved(found: dict, base: dict) -> dict[str, tuple[str, str]]:
    """Find the claims whose quoted text is another one, or missing on one side: was and is."""
    was, now = all_claims(base), all_claims(found)
    return {
        name: (was.get(name, "missing"), now.get(name, "missing"))
        for name in {**was, **now}
        if was.get(name) != now.get(name)
    }


def all_claims(found: dict) -> dict[str, str]:
    """Collect the quoted texts of all chapters."""
    return {
        name: text
        for chapter in found["chapters"].values()
        for name, text in chapter["claims"].items()
    }


def main() -> None:
    """Read the command line, execute, print, store."""
    parser = argparse.ArgumentParser(prog="python -m bookext.survey", description=__doc__)
    parser.add_argument("name", help="what this environment is called")
    parser.add_argument("--chapters", nargs="*", help="only these, e.g. crosswalk truck")
    parser.add_argument("--without-storing", action="store_true", help="only print")
    given = parser.parse_args()
    pages = [page for page in chapters() if not given.chapters or page.path.stem in given.chapters]
    found = survey(pages)
    stored = json.loads(STORED.read_text(encoding="utf-8")) if STORED.exists() else {}
    print(json.dumps(found["environment"]))
    failed = False
    for name, chapter in found["chapters"].items():
        if chapter["failure"]:
            print(chapter["failure"])
        if chapter["out_of_range"]:
            print(f"{name}: out of range: {', '.join(chapter['out_of_range'])}")
        failed |= bool(chapter["failure"] or chapter["out_of_range"])
    if not given.without_storing:
        stored[given.name] = found
        STORED.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    sys.exit(failed)


if __name__ == "__main__":
    main()
