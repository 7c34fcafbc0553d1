"""What Lighthouse says of every page; nothing else runs beside it.

Without Chromium, or without what `npm ci --prefix tests/browser` installs, it is left out.
"""

import json
import subprocess
from pathlib import Path

import pytest
from conftest import leave_out
from test_browser import NAMES, TOOLS

from bookext.pages import ROOT

pytestmark = pytest.mark.slow

FAST = 1500  # Lighthouse's index of a processor, as its phone assumes; a desktop's is up to 2,000
TARGETS = {"performance": 95, "accessibility": 100, "best-practices": 100, "seo": 100}


def test_lighthouse(address: str, chromium: str, record_property) -> None:
    """Every page, as on a phone; the table of scores is left in `_build/lighthouse.md`."""
    if not (TOOLS / "lighthouse").is_dir():
        leave_out("no Lighthouse", "npm ci --prefix tests/browser")
    # Playwright brings a Node that is new enough.
    import playwright

    node = Path(playwright.__file__).parent / "driver" / "node"
    names = [name.split("?")[0] for name in NAMES]
    done = subprocess.run(
        [node, "lighthouse.mjs", chromium, str(FAST), *(address + name for name in names)],
        cwd=TOOLS.parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    lines = [f"| page | {' | '.join(TARGETS)} | kB |", "|:--|" + "--:|" * (len(TARGETS) + 1)]
    below = []
    for name, result in zip(names, results, strict=True):
        scores = result["scores"]
        lines.append(f"| {name} | {' | '.join(map(str, scores.values()))} | {result['kB']} |")
        # No clock decides: on a machine that is slow at the moment, performance is only told.
        judged = [key for key in TARGETS if key != "performance" or result["speed"] >= FAST]
        if any(scores[key] < TARGETS[key] for key in judged):
            below.append(f"{name}: {scores}; {result['failed']}")
    report = "\n".join(lines)
    (ROOT / "_build" / "lighthouse.md").write_text(f"{report}\n", encoding="utf-8")
    record_property("Lighthouse:", report)
    assert below == []
