"""Executes chapters under limits and keeps the results in the cache that the build reads.

The tests execute (in parallel, which Sphinx cannot do for notebooks); the build only reads.
What is in the cache has passed every check of its chapter.
"""

import functools
import hashlib
import os
import platform
import shutil
import threading
import time
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from logging import CRITICAL, getLogger
from pathlib import Path

import psutil
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn, JupyterCacheAbstract
from jupyter_cache.cache.db import NbCacheRecord
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode

from .pages import LIMITS, ROOT, Page

CACHES = ROOT / "_build" / ".jupyter_cache"
CLAIM_TYPE = "application/vnd.bnnbook.claim+json"
PACKAGES = ("numpy", "scikit-learn", "tensorflow", "tensorflow-probability", "torch", "torchbnn")

# Chapters run side by side: one thread each, or they fight for the cores and timings mean nothing.
# One arena of memory, too: with one for each of TensorFlow's idle threads the peak is luck.
ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "TF_NUM_INTRAOP_THREADS",
        "TF_NUM_INTEROP_THREADS",
        "MALLOC_ARENA_MAX",
    ),
    "1",
)


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

    jupyter-cache compares the code cells only: without this, a change of the package, the data or
    the requirements would leave stale outputs.
    """
    digest = hashlib.sha256()
    sources = sorted(
        path
        for path in (ROOT / "code").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and ".egg-info" not in str(path)
    )
    for path in [*sources, ROOT / "requirements.txt"]:
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
    limits = {name: page.options[name] for name in LIMITS}
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


def execute(
    notebook: NotebookNode, name: str, cwd: Path, time_limit_s: float, memory_limit_mb: float
) -> Run:
    """Execute a notebook in a fresh kernel, within limits for the whole of it."""
    notebook = deepcopy(notebook)
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
    )
    watch = Watch(time_limit_s, memory_limit_mb)
    client.on_notebook_start = lambda notebook: watch.start(client.km.provisioner.pid)
    started = time.monotonic()
    try:
        client.execute(env=os.environ | ONE_THREAD)
    except CellExecutionError as error:
        reason = f"{error.ename}: {error.evalue}"
        raise ChapterError(describe(notebook, name, position, reason)) from None
    except DeadKernelError:
        reason = watch.verdict or "the kernel died (killed from outside, or out of memory?)"
        raise ChapterError(describe(notebook, name, position, reason)) from None
    finally:
        watch.stop()
    record = {
        "seconds": round(time.monotonic() - started, 1),
        "peak_memory_mb": round(watch.peak_mb),
        "claims": take_claims(notebook),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {package: version(package) for package in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    return Run(notebook, record, cached=False)


class Watch:
    """A thread that measures a process tree and kills it when it exceeds its limits."""

    def __init__(self, time_limit_s: float, memory_limit_mb: float) -> None:
        self.time_limit_s = time_limit_s
        self.memory_limit_mb = memory_limit_mb
        self.peak_mb = 0.0
        self.verdict = ""
        self._members: set[psutil.Process] = set()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self, pid: int) -> None:
        """Begin to watch the process `pid` and all its descendants."""
        self._root = psutil.Process(pid)
        self._thread.start()

    def stop(self) -> None:
        """End the watch and whatever is left of the process tree."""
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()
        self._kill()

    def _watch(self) -> None:
        deadline = time.monotonic() + self.time_limit_s
        while not self._done.wait(0.1):
            with suppress(psutil.NoSuchProcess):
                self._members |= {self._root, *self._root.children(recursive=True)}
            self.peak_mb = max(self.peak_mb, self._memory_mb())
            if self.peak_mb > self.memory_limit_mb:
                self.verdict = (
                    f"peak memory of {self.peak_mb:.0f} MB above the chapter's limit of "
                    f"{self.memory_limit_mb} MB"
                )
            elif time.monotonic() > deadline:
                self.verdict = f"still running at the chapter's limit of {self.time_limit_s} s"
            if self.verdict:
                self._kill()
                return

    def _memory_mb(self) -> float:
        total = 0
        for process in self._members:
            with suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
        return total / 2**20  # as the limits of containers, and so Binder's, count

    def _kill(self) -> None:
        for process in self._members:
            with suppress(psutil.NoSuchProcess):
                process.kill()


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
