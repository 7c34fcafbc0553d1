"""Runs a function in a fresh Python process, as a reader's first run would, and measures it.

A second run in the same process would find compiled functions, warm caches and grown memory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

from bookext.pages import ROOT
from bookext.watch import ONE_THREAD, Watch


class MeasurementError(Exception):
    """A measurement failed; the message names it and ends with what it printed."""


def in_fresh_process(function: str, *, memory_limit_mb: float = 1e9, **arguments) -> dict | None:
    """Call a function of this package in a process of its own.

    Parameters
    ----------
    function : str
        Module and name, for instance "pairs:wine_source"; it returns what JSON can hold.
    memory_limit_mb : float
        The process is killed when it uses more, in MB of 2**20 bytes.
    **arguments
        Passed to the function.

    Returns
    -------
    dict or None
        "result" and "peak_mb", the largest resident memory; None if the limit was exceeded.

    Raises
    ------
    MeasurementError
        If the function fails.
    """
    command = [sys.executable, "-m", "benchmarks.child", function, json.dumps(arguments)]
    child = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    watch = Watch(time_limit_s=float("inf"), memory_limit_mb=memory_limit_mb)
    watch.start(child.pid)
    try:
        out, err = child.communicate()
    finally:
        watch.stop()
    if watch.verdict:
        return None
    if child.returncode:
        raise MeasurementError(f"{function} {arguments} failed:\n{err[-2000:]}")
    return json.loads(out.splitlines()[-1])


def environment() -> dict[str, str]:
    """Return the environment of a child: this checkout's package, one thread, as in chapters."""
    paths = [str(ROOT / "code"), str(ROOT / "book" / "_ext"), str(ROOT)]
    if given := os.environ.get("PYTHONPATH"):
        paths.append(given)
    return os.environ | ONE_THREAD | {"PYTHONPATH": os.pathsep.join(paths)}
