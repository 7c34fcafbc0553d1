"""Facts that must hold together across the repository's files."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from bookext.pages import ROOT, chapters


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def tracked() -> list[Path]:
    """List the files of the repository; a copy without its history has nothing to list."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return [ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.parametrize(
    "name",
    ["LICENSE", "CITATION.cff", "README.md", "CONTRIBUTING.md", "book/references.bib"],
)
def test_entry_exists(name: str) -> None:
    assert (ROOT / name).is_file()


@pytest.mark.parametrize("name", [".binder/postBuild", ".ci/run", "tools/environment.sh"])
def test_script_is_executable_and_parses(name: str) -> None:
    assert (ROOT / name).stat().st_mode & 0o100
    shell = read(name).splitlines()[0].removeprefix("#!")
    subprocess.run([shell, "-n", str(ROOT / name)], check=True)


def test_code_is_no_package() -> None:
    # A package named `code` would shadow the standard library's module: pdb, pytest, IPython break.
    assert not (ROOT / "code" / "__init__.py").exists()


def test_requirements_are_exact() -> None:
    lines = [line for line in read("requirements.txt").splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    assert "torch==2.13.0" in lines
    assert "jupyter-book==1.0.4.post1" in lines


def test_only_binder_names_a_package_index() -> None:
    naming = [
        path.relative_to(ROOT).as_posix()
        for path in tracked()
        if path != Path(__file__)
        and re.search(rb"-index-url|files\.pythonhosted|download\.pytorch", path.read_bytes())
    ]
    assert naming == [".binder/requirements.txt"]


def test_one_python_version() -> None:
    version = read(".binder/runtime.txt").strip().removeprefix("python-")
    project = tomllib.loads(read("pyproject.toml"))["project"]
    assert project["requires-python"] == f">={version}"
    assert f"PYTHON ?= python{version}\n" in read("Makefile")
    assert f"python{version} python{version}-venv" in read(".ci/run")
    assert f"Python {version}" in read("README.md")
    for workflow in (ROOT / ".github" / "workflows").iterdir():
        assert f'python-version: "{version}"' in workflow.read_text(encoding="utf-8")


def test_repository_address_stands_in_one_place() -> None:
    address = yaml.safe_load(read("_config.yml"))["repository"]["url"].split("://")[1]
    counts = {path: path.read_bytes().count(address.encode()) for path in tracked()}
    # `make sync` writes it into the first cell of each chapter, and tests/test_launch.py compares.
    for page in chapters():
        for path in (page.path, page.path.with_suffix(".ipynb")):
            assert counts.pop(path) == 1, path.name
    assert [path for path, count in counts.items() if count] == [ROOT / "_config.yml"]


def test_one_version_of_the_book() -> None:
    project = tomllib.loads(read("pyproject.toml"))["project"]
    assert yaml.safe_load(read("CITATION.cff"))["version"] == project["version"]


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_links_to_files(name: str) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)[^)]*\)", read(name))
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_every_make_target_in_the_readme_exists() -> None:
    targets = set(re.findall(r"^(\w+):", read("Makefile"), re.MULTILINE))
    for name in ("README.md", "CONTRIBUTING.md"):
        assert set(re.findall(r"`make ([a-z]+)", read(name))) <= targets


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]])
def test_ruff(command: list[str]) -> None:
    ruff = Path(sys.executable).with_name("ruff")
    done = subprocess.run([ruff, *command, "."], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.fail(f"{done.stdout}\nmend: make lint", pytrace=False)


@pytest.mark.parametrize(
    ("python", "expected"),
    [
        ("python3.11-not-here", "not found; install Python 3.11"),
        ("fake-old", "fake-old is Python 3.9, the book needs 3.11"),
        ("fake-broken", "does not run"),
        ("fake-without-venv", "install its venv module: apt install python3.11-venv"),
    ],
)
def test_unusable_python_is_named(tmp_path: Path, python: str, expected: str) -> None:
    for name, body in {
        "fake-old": "echo 3.9",
        "fake-broken": "exit 1",
        "fake-without-venv": 'case "$2" in *ensurepip*) exit 1;; *) echo 3.11;; esac',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    assert expected in complaint(tmp_path, python)


def test_full_disk_is_named(tmp_path: Path) -> None:
    (tmp_path / "df").write_text("#!/bin/sh\necho head\necho /dev/x 9 9 3000000 9 /\n")
    (tmp_path / "df").chmod(0o755)
    message = complaint(tmp_path, sys.executable)
    assert "only 2 GB free" in message
    assert "make REQUIREMENTS=.binder/requirements.txt" in message


def complaint(tmp_path: Path, python: str) -> str:
    """Run the set-up in an empty copy, with `tmp_path` first in the path; return its last line."""
    copy = tmp_path / "copy"
    needed = ["tools/environment.sh", "pyproject.toml", "requirements.txt", ".binder/runtime.txt"]
    for name in needed:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text(read(name))
    done = subprocess.run(
        ["sh", "tools/environment.sh", python, "requirements.txt"],
        cwd=copy,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert done.returncode
    assert not (copy / ".venv").exists()
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    return line
