"""What goes wrong on a page fails the build, and the message names the page and the mistake."""

import os
import shutil
import subprocess
import sys

import pytest

from bookext.pages import ROOT

pytestmark = pytest.mark.slow

MISTAKES = """\
# A page on a bad day

(shared)=
## One

(the-label)=
## Two

[](no_such_page.md), {ref}`no-such-label`, {cite:t}`no_such_source`, {term}`no such term`.

![A picture that is not there](no_such_picture.png)

$\\nosuchcommand$

(the-label)=
## Three
"""
EXPECTED = [
    "no_such_page.md",
    "no-such-label",
    "no_such_source",
    "no such term",
    "no_such_picture.png",
    "nosuchcommand",
    'target name: "the-label"',
    "duplicate label shared",
    "book/orphan.md is not in _toc.yml",
]


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Build a small book with every mistake; return what the build says."""
    copy = tmp_path_factory.mktemp("bad")
    for name in ("_config.yml", "requirements.txt", "constraints.txt"):
        shutil.copy(ROOT / name, copy)
    for name in ("_ext", "_static", "_templates"):
        shutil.copytree(ROOT / "book" / name, copy / "book" / name)
    shutil.copy(ROOT / "book" / "references.bib", copy / "book")
    (copy / "code").mkdir()
    (copy / "_toc.yml").write_text(
        "format: jb-book\nroot: book/welcome\nchapters:\n- file: book/bad\n"
    )
    (copy / "book" / "welcome.md").write_text("(shared)=\n# Welcome\n\nA book.\n")
    (copy / "book" / "bad.md").write_text(MISTAKES)
    (copy / "book" / "orphan.md").write_text("# Nobody finds this\n")
    done = subprocess.run(
        [sys.executable, "-m", "bookext", "--all"],
        cwd=copy,
        env=os.environ | {"PYTHONPATH": str(copy / "book" / "_ext")},
        capture_output=True,
        text=True,
    )
    assert done.returncode
    return done.stderr


@pytest.mark.parametrize("expected", EXPECTED)
def test_mistake_is_named(complaints: str, expected: str) -> None:
    named = [line for line in complaints.splitlines() if expected in line]
    assert named, complaints
    assert any("book/bad.md" in line or "orphan" in line for line in named), named
