"""The other end of `process.in_fresh_process`; imports nothing that a measurement could miss."""

from __future__ import annotations

import importlib
import json
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def clock(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Write the seconds that the block takes into `seconds[name]`."""
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start


def peak_mb() -> float:
    """Return the largest resident memory of this process so far, in MB of 2**20 bytes."""
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest / (2**20 if sys.platform == "darwin" else 2**10)  # bytes there, kilobytes here


def start_up(source: str) -> dict:
    """Run a chapter's imports, or any others, and say which framework came with them."""
    seconds: dict[str, float] = {}
    with clock(seconds, "imports"):
        exec(compile(source, "imports", "exec"), {"__name__": "__main__"})
    frameworks = [name for name in ("tensorflow", "torch") if name in sys.modules]
    return {"seconds": seconds["imports"], "frameworks": frameworks}


if __name__ == "__main__":
    module, _, name = sys.argv[1].partition(":")
    measured = getattr(importlib.import_module(f"benchmarks.{module}"), name)
    found = measured(**json.loads(sys.argv[2]))
    print(json.dumps({"result": found, "peak_mb": peak_mb()}))
