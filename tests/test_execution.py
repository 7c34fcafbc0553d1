"""What goes wrong in a chapter is named in one message, and never enters the cache."""

import time
from pathlib import Path

import psutil
import pytest
from jupyter_cache import get_cache

from bookext import execution
from bookext.execution import (
    ChapterError,
    cached_record,
    exceeded,
    execute,
    noise,
    run,
    settle,
    side_by_side,
)
from bookext.pages import ROOT, Page
from bookext.watch import frameworks_mb, slowness

pytestmark = pytest.mark.slow

FRONT = """---
jupytext:
  text_representation: {extension: .md, format_name: myst}
kernelspec: {name: python3, display_name: Python 3}
---

# Trial
"""
CLAIM = "from bnnbook.claims import claim\nclaim('trial', 0.5, within=({low}, 1.0))"


def chapter(folder: Path, *cells: str) -> Page:
    path = folder / "trial.md"
    path.write_text(FRONT + "".join(f"\n```{{code-cell}}\n{cell}\n```\n" for cell in cells))
    return Page(path)


def failure(page: Page, **limits: float) -> str:
    limits = {"time_limit_s": 60, "memory_limit_mb": 1000} | limits
    with pytest.raises(ChapterError) as caught:
        execute(page.notebook(), "trial.md", page.path.parent, **limits)
    return str(caught.value)


def test_failing_cell(tmp_path: Path) -> None:
    message = failure(chapter(tmp_path, "x = 1", "y = 2\nx / 0"))
    assert message == (
        "trial.md, code cell 2 (line 14: 'y = 2'): ZeroDivisionError: division by zero"
    )


def test_claim_out_of_range(tmp_path: Path) -> None:
    message = failure(chapter(tmp_path, CLAIM.format(low=0.6)))
    assert "code cell 1" in message
    assert "'trial': 0.5 is not within 0.6 to 1.0" in message


def test_hanging_cell(tmp_path: Path) -> None:
    started = time.monotonic()
    message = failure(chapter(tmp_path, "x = 1", "while True:\n    pass"), time_limit_s=4)
    assert "code cell 2" in message
    assert "stopped: still running after " in message
    assert time.monotonic() - started < 60


def test_dead_kernel(tmp_path: Path) -> None:
    message = failure(chapter(tmp_path, "import os\nos.kill(os.getpid(), 9)"))
    assert "code cell 1" in message
    assert "the kernel died" in message


def test_too_much_memory(tmp_path: Path) -> None:
    hungry = "import time\nx = bytearray(400_000_000)\ntime.sleep(30)"
    message = failure(chapter(tmp_path, hungry), memory_limit_mb=300)
    assert "code cell 1" in message
    assert "300 MB at the very most" in message


def test_limits_are_no_failure_but_are_noticed(tmp_path: Path) -> None:
    """They are the project's own checks: where `CI` is set, the chapters' test fails by them."""
    page = chapter(tmp_path, CLAIM.format(low=0.4))
    record = execute(page.notebook(), page.name, tmp_path, 60, 1000).record
    assert exceeded(page, record) == []
    limits = page.options
    # The same seconds on a machine that is twice as slow are half of the work.
    slow = {"seconds": 1.5 * limits["time_limit_s"], "slowness": 2.0, "added_memory_mb": 1}
    assert exceeded(page, slow) == []
    (late,) = exceeded(page, slow | {"slowness": 1.0})
    assert f"of {limits['time_limit_s']} s" in late
    (large,) = exceeded(page, slow | {"added_memory_mb": limits["memory_limit_mb"] + 1})
    assert f"of {limits['memory_limit_mb']} MB" in large


def test_memory_is_counted_from_the_frameworks(tmp_path: Path) -> None:
    """What a library takes by itself is not the chapter's; what the chapter fills is."""
    cells = (
        "import pandas\nimport scipy.stats",
        "import time\nx = bytearray(150_000_000)\ntime.sleep(0.5)",
    )
    few, more = (
        execute(chapter(tmp_path, *cells[:count]).notebook(), "trial", tmp_path, 60, 1000).record
        for count in (1, 2)
    )
    assert few["peak_memory_mb"] > 80
    assert few["added_memory_mb"] < 40
    assert 130 < more["added_memory_mb"] - few["added_memory_mb"] < 160


def test_frameworks_that_cannot_be_imported_are_named() -> None:
    with pytest.raises(RuntimeError, match="no_such_module"):
        frameworks_mb(("no_such_module",))


def test_slowness_is_of_the_order_of_one() -> None:
    # A machine a hundred times as fast, or as slow, as the one of the limits is a mistake.
    assert 0.05 < slowness() < 50


@pytest.mark.parametrize("cell", ["1 / 0", CLAIM.format(low=0.6)])
def test_a_survey_goes_on(tmp_path: Path, cell: str) -> None:
    page = chapter(tmp_path, cell, "print('reached')")
    result = execute(page.notebook(), page.name, tmp_path, 60, 1000, strict=False)
    assert result.notebook.cells[2].outputs[0].text == "reached\n"


def test_what_a_reader_has_set_does_not_reach_a_chapter(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "startup.py").write_text("print('from the reader')")
    (tmp_path / "bnnbook.py").write_text("raise RuntimeError('another one')")
    style = tmp_path / "matplotlibrc"
    style.write_text("lines.linewidth: 17")
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "startup.py"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("MATPLOTLIBRC", str(style))
    monkeypatch.setenv("MPLBACKEND", "no_such_backend")
    cells = (
        "from bnnbook.claims import claim",
        "import matplotlib\nprint(matplotlib.rcParams['lines.linewidth'])",
        "import matplotlib.pyplot as plt\nplt.plot([1, 2]);",
    )
    (tmp_path / "elsewhere").mkdir()
    page = chapter(tmp_path / "elsewhere", *cells)
    result = execute(page.notebook(), page.name, page.path.parent, 60, 1000)
    assert result.notebook.cells[2].outputs[0].text == "1.5\n"
    assert "image/png" in result.notebook.cells[3].outputs[0].data


def test_another_copy_of_the_package_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bnnbook").mkdir()
    (tmp_path / "bnnbook" / "__init__.py").touch()
    cell = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\nimport bnnbook"
    page = chapter(tmp_path, cell)
    with pytest.raises(ChapterError) as caught:
        execute(page.notebook(), page.name, tmp_path, 60, 1000)
    message = str(caught.value)
    assert f"imported bnnbook from {tmp_path / 'bnnbook'}, not from {ROOT / 'code'}" in message


def test_several_chapters_say_how_they_go(tmp_path: Path, capsys) -> None:
    def work(page: Page) -> str:
        if page.path.stem == "bad":
            raise ChapterError("bad.md: it failed")
        return "3 s"

    pages = [Page(tmp_path / f"{name}.md") for name in ("good", "bad")]
    assert side_by_side(work, pages) == ["bad.md: it failed"]
    said = capsys.readouterr().out.splitlines()
    assert sorted(said) == ["bad: failed", "bad: starts", "good: 3 s", "good: starts"]


def test_children_are_measured_and_do_not_survive(tmp_path: Path) -> None:
    cell = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c',\n"
        "    'import time; x = bytearray(200_000_000); time.sleep(60)'])\n"
        "time.sleep(2)\nprint(child.pid)"
    )
    result = execute(chapter(tmp_path, cell).notebook(), "trial.md", tmp_path, 60, 1000)
    assert 200 < result.record["peak_memory_mb"] < 500
    child = int(result.notebook.cells[1].outputs[0].text)
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == "zombie"


def test_success_is_cached_and_recorded(tmp_path: Path) -> None:
    cache = get_cache(str(tmp_path / "cache"))
    page = chapter(tmp_path, "import os\nprint(os.getcwd())", CLAIM.format(low=0.4))
    first = run(page, cache)
    assert not first.cached
    assert first.record["claims"] == [
        {"name": "trial", "value": 0.5, "text": "0.500", "low": 0.4, "high": 1.0}
    ]
    assert first.record["seconds"] > 0
    second = run(page, cache)
    assert second.cached
    assert second.record == first.record
    # A chapter runs in its own folder, as in JupyterLab.
    assert second.notebook.cells[1].outputs[0].text.strip() == str(tmp_path)


def test_lookup_needs_the_same_cells_and_their_outputs(tmp_path: Path, monkeypatch) -> None:
    cache = get_cache(str(tmp_path / "cache"))
    run(chapter(tmp_path, CLAIM.format(low=0.4)), cache)
    assert cached_record(chapter(tmp_path, CLAIM.format(low=0.3)), cache) is None
    page = chapter(tmp_path, CLAIM.format(low=0.4))
    assert cached_record(page, cache)
    # The name under which the outputs are kept is found without parsing the chapter,
    monkeypatch.setattr(Page, "notebook", lambda self: pytest.fail("parsed again"))
    assert cached_record(page, cache)
    # but not by another version of what parses it.
    monkeypatch.setattr(execution, "reader_versions", lambda: ["myst-nb 0"])
    with pytest.raises(pytest.fail.Exception, match="parsed again"):
        cached_record(page, cache)
    monkeypatch.undo()
    for outputs in (tmp_path / "cache").rglob("base.ipynb"):
        outputs.unlink()
    assert cached_record(page, cache) is None


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("import sys\nprint('oops', file=sys.stderr)", "leaves on stderr: 'oops'"),
        ("print('50 %', end='\\r')", "writes progress to stdout"),
        ("x = 1", "makes no claim"),
    ],
)
def test_failure_is_not_cached(tmp_path: Path, cell: str, expected: str) -> None:
    cache = get_cache(str(tmp_path / "cache"))
    page = chapter(tmp_path, cell)
    with pytest.raises(ChapterError, match=expected):
        run(page, cache)
    assert not cache.list_cache_records()


def test_progress_bar_that_disappears_is_no_noise(tmp_path: Path) -> None:
    nested = (
        "import time\nfrom tqdm import tqdm\n"
        "for _ in tqdm(range(3), leave=False):\n"
        "    for _ in tqdm(range(30), leave=False):\n"
        "        time.sleep(0.02)"
    )
    result = execute(chapter(tmp_path, nested).notebook(), "trial.md", tmp_path, 60, 1000)
    assert result.notebook.cells[1].outputs, "the bar was never shown"
    assert noise(result.notebook, "trial.md") == []


def test_settle_plays_a_terminal() -> None:
    assert settle("abc\rx") == "xbc"
    assert settle("one\ntwo\x1b[A\r   ") == "\ntwo"
    assert settle("bar\r   \r").strip() == ""


def test_cache_folder_depends_on_package_data_and_requirements(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(execution, "ROOT", tmp_path)
    (tmp_path / "code").mkdir()
    changes = [("requirements.txt", "a==1"), ("code/a.py", "x = 1"), ("code/b.csv", "1;2")]
    changes += [("code/a.py", "x = 2"), ("requirements.txt", "a==2"), ("constraints.txt", "b==1")]
    names = set()
    for name, content in changes:
        (tmp_path / "requirements.txt").touch()
        (tmp_path / "constraints.txt").touch()
        (tmp_path / name).write_text(content)
        names.add(execution.cache_folder())
    for python, torch in [("3.99.1", "1.0"), ("3.99.1", "1.0+cpu")]:
        monkeypatch.setattr(execution.platform, "python_version", lambda python=python: python)
        monkeypatch.setattr(execution, "version", lambda name, torch=torch: torch)
        names.add(execution.cache_folder())
    assert len(names) == 8
    (tmp_path / "code" / "__pycache__").mkdir()
    (tmp_path / "code" / "__pycache__" / "a.pyc").touch()
    assert execution.cache_folder() in names


def test_old_caches_are_dropped(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(execution, "CACHES", tmp_path)
    for age in range(5):
        folder = tmp_path / f"old{age}"
        folder.mkdir()
        execution.os.utime(folder, (1000 - age, 1000 - age))
    execution.prepare_cache(keep=3)
    assert {path.name for path in tmp_path.iterdir()} == {
        "old0",
        "old1",
        execution.cache_folder().name,
    }
