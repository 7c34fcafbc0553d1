"""Measures what runs: the memory of a process tree, and how fast the machine is at the moment.

Seconds and megabytes of one machine say little on another: processors differ, the same one has slow
minutes, and another build of a library takes other memory to import.  So a chapter's time is judged
beside a small computation of the same minute, and its memory beside what its frameworks take by
themselves in the same environment.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

from .pages import ROOT

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
# Where chapters find and keep settings: a reader's own must not change a result.
HOME = ROOT / "_build" / "home"
# The same for what a reader may have set for other programs.
FOREIGN = {
    "IPYTHONDIR",
    "KERAS_BACKEND",
    "KERAS_HOME",
    "MATPLOTLIBRC",
    "MPLBACKEND",
    "MPLCONFIGDIR",
    "PYTHONHOME",
    "PYTHONOPTIMIZE",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "PYTHONWARNINGS",
    "TF_USE_LEGACY_KERAS",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
}

# What small_computation.py takes on the machine on which the limits were chosen.
SMALL_COMPUTATION_S = 0.0102
# What a chapter may import that takes memory before it computes anything.
FRAMEWORKS = (
    "matplotlib.pyplot",
    "pandas",
    "scipy.stats",
    "sklearn",
    "tensorflow",
    "tensorflow_probability",
    "tf_keras",
    "torch",
    "torchbnn",
)


def slowness() -> float:
    """How many times as long things take here and now as on the machine of the limits, alone."""
    program = Path(__file__).with_name("small_computation.py")
    done = subprocess.run(
        [sys.executable, program], env=clean_environment(), capture_output=True, check=True
    )
    return float(done.stdout) / SMALL_COMPUTATION_S


def clean_environment() -> dict[str, str]:
    """Return the variables of a chapter's process: nothing that is set for other programs."""
    HOME.mkdir(parents=True, exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    # No graphics card, if there is one: another processor computes other digits.
    return kept | ONE_THREAD | {"HOME": str(HOME), "CUDA_VISIBLE_DEVICES": "-1"}


@functools.cache
def frameworks_mb(names: tuple[str, ...]) -> float:
    """Memory of its own of a kernel that has imported these modules and done nothing, in MB.

    Parameters
    ----------
    names : tuple of str
        Names of modules that can be imported.
    """
    imports = ", ".join(("os", "sys", "time", "ipykernel.kernelapp", *names))
    program = f"import {imports}; print(flush=True); time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        done = process.stdout.readline()
        found = memory_mb([psutil.Process(process.pid)])[1]
        process.kill()
    if not done:
        raise RuntimeError(f"cannot import {imports}")
    return found


def memory_mb(processes: Iterable[psutil.Process]) -> tuple[float, float]:
    """Add up what the processes hold now: in all, and without what the system could drop.

    In all, as the limits of containers count, and so Binder's.  Pages of libraries, which are read
    from files, can be dropped and read again: how many of them are there says more of the build of
    a library than of what a chapter does.
    """
    total = own = 0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            info = process.memory_info()
            total += info.rss
            own += info.rss - getattr(info, "shared", 0)  # only Linux tells
    return total / 2**20, own / 2**20


class Watch:
    """A thread that measures a process tree and kills it when it exceeds its limits.

    Attributes
    ----------
    peak_mb, peak_own_mb : float
        The largest memory so far; see `memory_mb`.
    verdict : str
        Why the tree was killed, or empty.
    """

    def __init__(self, time_limit_s: float, memory_limit_mb: float) -> None:
        self.time_limit_s = time_limit_s
        self.memory_limit_mb = memory_limit_mb
        self.peak_mb = self.peak_own_mb = 0.0
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
            total, own = memory_mb(self._members)
            self.peak_mb = max(self.peak_mb, total)
            self.peak_own_mb = max(self.peak_own_mb, own)
            if self.peak_mb > self.memory_limit_mb:
                self.verdict = (
                    f"stopped at {self.peak_mb:.0f} MB of memory, where it may take "
                    f"{self.memory_limit_mb:.0f} MB at the very most"
                )
            elif time.monotonic() > deadline:
                self.verdict = f"stopped: still running after {self.time_limit_s:.0f} s"
            if self.verdict:
                self._kill()
                return

    def _kill(self) -> None:
        for process in self._members:
            with suppress(psutil.NoSuchProcess):
                process.kill()
