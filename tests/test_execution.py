"""What goes wrong in a chapter is named in one message, and never enters the cache."""

import time
from pathlib import Path

import psutil
import pytest
from jupyter_cache import get_cache

from bookext import execution
from bookext.execution import ChapterError, cached_record, execute, noise, run, settle
from bookext.pages import Page

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
    assert "still running at the chapter's limit of 4 s" in message
    assert time.monotonic() - started < 20


def test_dead_kernel(tmp_path: Path) -> None:
    message = failure(chapter(tmp_path, "import os\nos.kill(os.getpid(), 9)"))
    assert "code cell 1" in message
    assert "the kernel died" in message


def test_too_much_memory(tmp_path: Path) -> None:
    hungry = "import time\nx = bytearray(400_000_000)\ntime.sleep(30)"
    message = failure(chapter(tmp_path, hungry), memory_limit_mb=300)
    assert "code cell 1" in message
    assert "limit of 300 MB" in message


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
    names = set()
    for name, content in [*changes, ("code/a.py", "x = 2"), ("requirements.txt", "a==2")]:
        (tmp_path / "requirements.txt").touch()
        (tmp_path / name).write_text(content)
        names.add(execution.cache_folder())
    assert len(names) == 5
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
