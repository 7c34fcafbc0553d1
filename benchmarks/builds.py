"""What the book takes: to build, to rebuild after an edit, and chapter by chapter."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nbclient import NotebookClient

from bookext.pages import ROOT, Page, chapters
from bookext.watch import Watch

from .process import MeasurementError, environment

# A chapter without the book's batching may take hours; how much longer than this does not matter.
NAIVE_LIMIT_S = 240


def builds(edited: str) -> dict[str, float]:
    """Build a copy of the book: cold, warm, after an edit of a sentence and of a cell.

    Parameters
    ----------
    edited : str
        Name of the chapter that is edited.

    Returns
    -------
    dict
        Seconds of `make book`, and for each chapter what its cold execution took.
    """
    with _copy() as copy:
        chapter = copy / "book" / f"{edited}.md"
        seconds = {"cold": _build(copy), "warm": _build(copy)}
        executed = _records(copy)
        text = chapter.read_text(encoding="utf-8")
        first, rest = text.split("\n## ", 1)
        chapter.write_text(
            f"{first}\n## {rest}".replace("\n## ", "\n\nOne more sentence.\n\n## ", 1)
        )
        seconds["a sentence"] = _build(copy)
        head, cell, tail = text.partition("```{code-cell} ipython3\nimport")
        if not cell:
            raise MeasurementError(f"{edited} has no cell that begins with an import")
        chapter.write_text(f"{head}```{{code-cell}} ipython3\n# An edit.\nimport{tail}")
        seconds["a cell"] = _build(copy)
    return {"seconds": seconds, "executed": executed}


def naive(chapter: str) -> dict:
    """Execute a chapter as the tutorials would have written it; see `naive.install`.

    Returns
    -------
    dict
        "seconds", whether it was "stopped" at the limit, and the errors of cells that "failed": a
        claim that is out of range may leave a name undefined, and what is left out takes no time.
    """
    page = next(page for page in chapters() if page.path.stem == chapter)
    notebook = page.notebook()
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    # The source text says which modules the chapter imports.
    first.source = f"from benchmarks import naive\nnaive.install({page.text!r})\n"
    client = NotebookClient(
        notebook,
        timeout=None,
        allow_errors=True,  # a claim may fall out of range: the randomness is another
        record_timing=False,
        resources={"metadata": {"path": str(page.path.parent)}},
        shutdown_kernel="immediate",
        extra_arguments=["--log-level=ERROR"],
    )
    watch = Watch(NAIVE_LIMIT_S, memory_limit_mb=1e9)
    client.on_notebook_start = lambda notebook: watch.start(client.km.provisioner.pid)
    start = time.monotonic()
    try:
        client.execute(env=environment())
    except Exception:
        if not watch.verdict:
            raise
    finally:
        watch.stop()
    failed = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.output_type == "error" and output.ename != "ClaimError"
    ]
    return {
        "seconds": time.monotonic() - start,
        "stopped": bool(watch.verdict),
        "failed": [f"{output.ename}: {output.evalue}" for output in failed],
    }


def first_cell(page: Page) -> str:
    """Return the chapter's imports: its first cell after the one that installs the package."""
    return [cell.source for cell in page.notebook().cells if cell.cell_type == "code"][1]


@contextmanager
def _copy() -> Iterator[Path]:
    """Copy the repository's files, as they are, without what was built and executed."""
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / ROOT.name
        for name in tracked:
            if name and (ROOT / name).is_file():
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, copy / name)
        (copy / ".venv").symlink_to(ROOT / ".venv")
        yield copy


def _build(copy: Path) -> float:
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    start = time.perf_counter()
    done = subprocess.run(["make", "book"], cwd=copy, env=env, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise MeasurementError(f"make book failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return seconds


def _records(copy: Path) -> dict[str, dict]:
    """Return what the execution of each chapter of the copy took."""
    script = (
        "import json; from bookext.execution import cached_run, open_cache; "
        "from bookext.pages import chapters; cache = open_cache(); "
        "print(json.dumps({page.path.stem: cached_run(page, cache).record for page in chapters()}))"
    )
    env = os.environ | {"PYTHONPATH": "book/_ext"}
    done = subprocess.run(
        [".venv/bin/python", "-c", script], cwd=copy, env=env, capture_output=True, text=True
    )
    if done.returncode:
        raise MeasurementError(f"the copy's records cannot be read:\n{done.stderr[-2000:]}")
    return {
        name: {key: record[key] for key in ("seconds", "peak_memory_mb")}
        for name, record in json.loads(done.stdout.splitlines()[-1]).items()
    }
