"""Executes chapters and keeps the results in the cache that the build of the pages reads.

Several side by side, which Sphinx cannot do for notebooks.  What is in the cache has passed every
check of its chapter.
"""

import functools
import hashlib
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from logging import CRITICAL, getLogger
from pathlib import Path

from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn, JupyterCacheAbstract
from jupyter_cache.cache.db import NbCacheRecord
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from .pages import LIMITS, ROOT, Page
from .watch import FRAMEWORKS, Watch, clean_environment, frameworks_mb, slowness

CACHES = ROOT / "_build" / ".jupyter_cache"
CLAIM_TYPE = "application/vnd.bnnbook.claim+json"
PACKAGES = ("numpy", "scikit-learn", "tensorflow", "tensorflow-probability", "torch", "torchbnn")

# A chapter that takes so many times what it may, libraries included, has gone wrong on any machine.
RUNAWAY = 6

# Run as the chapter's last cell, and taken away again.
REPORT = f"""
import json, sys
print(json.dumps({{
    "package": getattr(sys.modules.get("bnnbook"), "__file__", None),
    "frameworks": [name for name in {FRAMEWORKS!r} if name in sys.modules],
}}))
"""


class ChapterError(Exception):
    """A chapter failed; the message names the chapter, the cell and the reason."""


@dataclass(frozen=True)
class Run:
    """One successful execution of a chapter: the notebook with its outputs, and what it took."""

    notebook: NotebookNode
    record: dict
    cached: bool


def cache_folder() -> Path:
    """Name the cache after everything but the chapter itself that its outputs depend on.

    jupyter-cache compares the code cells only: without this, a change of the package, the data, the
    packages or Python would leave stale outputs.
    """
    sources = sorted(
        path
        for path in (ROOT / "code").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and ".egg-info" not in str(path)
    )
    digest = hashlib.sha256(f"{platform.python_version()} {version('torch')}".encode())
    for path in [*sources, ROOT / "requirements.txt", ROOT / "constraints.txt"]:
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return CACHES / digest.hexdigest()[:16]


def open_cache() -> JupyterCacheAbstract:
    """Open the cache for the present state of the package, its data and the requirements."""
    return get_cache(str(cache_folder()))


def prepare_cache(keep: int = 3) -> None:
    """Create the cache's database and drop all but the `keep` caches used last.

    Call it in one process before others open the cache: creating the database is a race.
    """
    open_cache().list_cache_records()
    os.utime(cache_folder())
    by_age = sorted(CACHES.iterdir(), key=lambda folder: folder.stat().st_mtime)
    for folder in by_age[:-keep]:
        shutil.rmtree(folder)


def cache_key(page: Page, cache: JupyterCacheAbstract) -> str:
    """Return the name of the chapter's outputs in the cache: a digest of its code cells.

    A chapter is looked up three times in each build, and must be parsed for its name, which takes
    longer than a page: names are kept, under a digest of all that they depend on.
    """
    digest = hashlib.sha256("\0".join([page.text, *reader_versions()]).encode())
    file = Path(cache.path, "keys", digest.hexdigest())
    key = file.read_text(encoding="ascii") if file.is_file() else ""
    if not key:  # or its writing was interrupted
        key = cache.create_hashed_notebook(page.notebook())[1]
        file.parent.mkdir(exist_ok=True)
        file.write_text(key, encoding="ascii")
    return key


@functools.cache
def reader_versions() -> list[str]:
    """List the versions of the packages that make a notebook of a text, and a digest of that."""
    packages = ("jupyter-cache", "markdown-it-py", "myst-nb", "myst-parser", "nbformat")
    return [f"{package} {version(package)}" for package in packages]


def cached_record(page: Page, cache: JupyterCacheAbstract) -> dict | None:
    """Find what the chapter's execution took, without reading its outputs: they are long."""
    with suppress(KeyError):
        found = NbCacheRecord.record_from_hashkey(cache_key(page, cache), cache.db)
        # An interrupted write leaves a row without a file; a bare `jupyter-book build` caches
        # outputs without measuring.
        written = Path(cache.path, "executed", found.hashkey, "base.ipynb").is_file()
        if written and "peak_memory_mb" in found.data:
            return found.data
    return None


def cached_run(page: Page, cache: JupyterCacheAbstract) -> Run | None:
    """Find the chapter's execution in the cache."""
    record = cached_record(page, cache)
    if record is None:
        return None
    return Run(cache.merge_match_into_notebook(page.notebook())[1], record, cached=True)


def run(page: Page, cache: JupyterCacheAbstract) -> Run:
    """Reuse the chapter's cached execution or execute it; only a success enters the cache."""
    found = cached_run(page, cache)
    if found:
        return found
    limits = {name: RUNAWAY * page.options[name] for name in LIMITS}
    result = execute(page.notebook(), page.name, page.path.parent, **limits)
    problems = noise(result.notebook, page.name)
    if not result.record["claims"]:
        problems.append(f"{page.name}: makes no claim, so nothing checks what it computes")
    if problems:
        raise ChapterError("\n".join(problems))
    cache.cache_notebook_bundle(
        CacheBundleIn(result.notebook, str(page.path), data=result.record),
        check_validity=False,  # it only asks whether execution counts rise by one
        overwrite=True,
    )
    return result


def side_by_side(work: Callable[[Page], str], pages: list[Page]) -> list[str]:
    """Do something with each chapter, as many at a time as there are cores, and say how it goes.

    Parameters
    ----------
    work : callable
        Takes a page, returns what is to be said of it, and raises `ChapterError` if it fails.
    pages : list of Page
        The chapters.

    Returns
    -------
    list of str
        What failed.
    """

    def one(page: Page) -> str:
        say(f"{page.path.stem}: starts")
        try:
            said, failure = work(page), ""
        except ChapterError as error:
            said, failure = "failed", str(error)
        say(f"{page.path.stem}: {said}")
        return failure

    # A chapter may take 1 GB: no more than four at a time, however many cores there are.
    pool = ThreadPoolExecutor(min(len(pages), os.cpu_count() or 1, 4))
    try:
        return [failure for failure in pool.map(one, pages) if failure]
    except KeyboardInterrupt:
        print("\nInterrupted; the chapters that were executed are kept.", file=sys.stderr)
        # Kernels end when the process that started them is gone; threads would be waited for.
        os._exit(130)


def say(line: str) -> None:
    """Print a line in one piece: several threads do."""
    print(f"{line}\n", end="", flush=True)


def summary(record: dict) -> str:
    """Say in a few words what an execution took."""
    claims = len(record["claims"])
    return f"{record['seconds']} s, {record['peak_memory_mb']} MB, {claims} claims kept"


def execute(
    notebook: NotebookNode,
    name: str,
    cwd: Path,
    time_limit_s: float,
    memory_limit_mb: float,
    strict: bool = True,
) -> Run:
    """Execute a notebook in a fresh kernel, and stop it when it exceeds what is given here.

    Parameters
    ----------
    notebook : NotebookNode
        Left as it is.
    name : str
        How messages call it.
    cwd : Path
        Where it runs.
    time_limit_s : float
        Seconds of the machine of the limits: a slow one gets more.
    memory_limit_mb : float
        MB of 2**20 bytes, kernel and child processes together.
    strict : bool
        Whether a claim out of its range, or an error, ends the execution; if not, the next cells
        run, as for a reader.

    Raises
    ------
    ChapterError
        If it fails, or computes with another copy of the package.
    """
    notebook = deepcopy(notebook)
    notebook.cells.append(new_code_cell(REPORT))
    log = getLogger(__name__)
    log.setLevel(CRITICAL)  # nbclient logs what ChapterError says anyway
    position = 0

    def remember(cell: NotebookNode, cell_index: int) -> None:
        nonlocal position
        position = cell_index

    client = NotebookClient(
        notebook,
        log=log,
        timeout=None,  # nbclient's limit is per cell; the watch's limits are per chapter
        record_timing=False,  # it would change the cell metadata, and with them the cache key
        resources={"metadata": {"path": str(cwd)}},
        shutdown_kernel="immediate",
        extra_arguments=["--log-level=ERROR"],  # the kernel's own remarks on its connection
        on_cell_start=remember,
        allow_errors=not strict,
    )
    slow = slowness()
    watch = Watch(time_limit_s * slow, memory_limit_mb)
    client.on_notebook_start = lambda notebook: watch.start(client.km.provisioner.pid)
    started = time.monotonic()
    try:
        claims = {"BNNBOOK_CLAIMS": "stop"} if strict else {}
        client.execute(env=clean_environment() | claims)
    except CellExecutionError as error:
        reason = f"{error.ename}: {error.evalue}"
        raise ChapterError(describe(notebook, name, position, reason)) from None
    except DeadKernelError:
        reason = watch.verdict or "the kernel died (killed from outside, or out of memory?)"
        raise ChapterError(describe(notebook, name, position, reason)) from None
    finally:
        watch.stop()
    seconds = time.monotonic() - started
    report = json.loads(notebook.cells.pop().outputs[0].text)
    check_origin(report["package"], name)
    record = {
        "seconds": round(seconds, 1),
        "slowness": round(slow, 2),
        "peak_memory_mb": round(watch.peak_mb),
        "added_memory_mb": round(watch.peak_own_mb - frameworks_mb(tuple(report["frameworks"]))),
        "claims": take_claims(notebook),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {package: version(package) for package in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    return Run(notebook, record, cached=False)


def check_origin(package: str | None, name: str) -> None:
    """Refuse what was computed with another copy of the package than this repository's."""
    if package and not Path(package).resolve().is_relative_to((ROOT / "code").resolve()):
        raise ChapterError(
            f"{name}: imported bnnbook from {Path(package).parent}, not from {ROOT / 'code'}, so "
            "nothing was kept; delete .venv and call `make` again"
        )


def exceeded(page: Page, record: dict) -> list[str]:
    """Say which of its limits the chapter's execution exceeded: the project's own checks.

    They fail the tests where `CI` is set; a reader finds them on the page of status.
    """
    found = []
    seconds = record["seconds"] / record["slowness"]
    if seconds > page.options["time_limit_s"]:
        found.append(
            f"{record['seconds']} s on a machine {record['slowness']} times as slow as the one of "
            f"the limits: {seconds:.0f} s of {page.options['time_limit_s']} s"
        )
    if record["added_memory_mb"] > page.options["memory_limit_mb"]:
        found.append(
            f"{record['added_memory_mb']} MB beside its frameworks, of "
            f"{page.options['memory_limit_mb']} MB"
        )
    return found


def describe(notebook: NotebookNode, name: str, index: int, reason: str) -> str:
    """Say in a few lines where a chapter went wrong; cells are counted as a reader sees them."""
    cell = notebook.cells[index]
    number = sum(cell.cell_type == "code" for cell in notebook.cells[: index + 1])
    line = notebook.metadata["source_map"][index] + 1
    first = next(iter(cell.source.splitlines()), "")[:50]
    return f"{name}, code cell {number} (line {line}: {first!r}): {reason}"


def take_claims(notebook: NotebookNode) -> list[dict]:
    """Move what the chapter claimed out of its outputs: name, value, text, low and high of each.

    The record keeps them; in the outputs myst-nb would warn of a type that it cannot draw.
    """
    return [
        output.data.pop(CLAIM_TYPE)
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if CLAIM_TYPE in output.get("data", {})
    ]


def noise(notebook: NotebookNode, name: str) -> list[str]:
    """Describe each cell that leaves something on stderr, or progress on stdout."""
    found = []
    for index, cell in enumerate(notebook.cells):
        streams = {"stdout": "", "stderr": ""}
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                streams[output.name] += output.text
        left = settle(streams["stderr"]).strip()
        if left:
            found.append(describe(notebook, name, index, f"leaves on stderr: {left[:300]!r}"))
        if any(mark in streams["stdout"] for mark in "\r\b\x1b"):
            found.append(describe(notebook, name, index, "writes progress to stdout"))
    return found


def settle(text: str) -> str:
    """Show a stream as a terminal would after carriage returns and cursor movements.

    A progress bar with `leave=False` erases itself this way, and then leaves nothing.
    """
    lines, row, column = [""], 0, 0
    position = 0
    while position < len(text):
        character = text[position]
        position += 1
        if character == "\r":
            column = 0
        elif character == "\n":
            row, column = row + 1, 0
            lines.extend([""] * (row + 1 - len(lines)))
        elif text.startswith("\x1b[A", position - 1):
            row = max(row - 1, 0)
            position += 2
        else:
            lines[row] = lines[row][:column].ljust(column) + character + lines[row][column + 1 :]
            column += 1
    return "\n".join(line.rstrip() for line in lines)
