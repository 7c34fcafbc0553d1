"""Facts that must hold together across the repository's files."""

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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


def pins(name: str) -> dict[str, str]:
    """Read a file of exact versions; those for other Pythons and systems are left out."""
    found = {}
    for line in read(name).splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            assert re.fullmatch(r"==[\w.]+", str(requirement.specifier)), line
            if requirement.marker is None or requirement.marker.evaluate():
                found[canonicalize_name(requirement.name)] = str(requirement.specifier)[2:]
    return found


REQUIREMENTS = ("requirements.txt", "tests/requirements.txt")


def test_required_packages_are_required() -> None:
    required = {"jupyter-book", "jupytext", "torch", "torchbnn", "tensorflow-probability"}
    assert required | {"matplotlib"} <= set(pins("requirements.txt"))


def test_constraints_pin_what_is_required() -> None:
    constraints = pins("constraints.txt")
    for name in REQUIREMENTS:
        for package, version in pins(name).items():
            assert constraints.get(package) == version, "mend: make constraints"


def test_environment_is_exactly_what_is_pinned() -> None:
    constraints = pins("constraints.txt")
    # Not those that setuptools carries within itself, which its import puts in front.
    packages = [sysconfig.get_path("purelib")]
    installed = {canonicalize_name(d.name): d for d in metadata.distributions(path=packages)}
    assert {
        name: (installed[name].version, constraints[name])
        for name in installed.keys() & constraints
        # Another build of PyTorch has the same number with an addition.
        if installed[name].version.split("+")[0] != constraints[name]
    } == {}
    todo = [(name, "") for listed in REQUIREMENTS for name in pins(listed)]
    needed = set()
    while todo:
        name, extra = todo.pop()
        if (name, extra) in needed:
            continue
        assert name in installed, f"{name} is missing; mend: make workshop"
        needed.add((name, extra))
        for line in installed[name].requires or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                required = canonicalize_name(requirement.name)
                todo += [(required, more) for more in ("", *requirement.extras)]
    # A reader may add packages; where the book is checked, there are no others.
    others = installed.keys() - {name for name, _ in needed} - {"pip", "setuptools"}
    if os.environ.get("CI"):
        assert others == set()


def test_only_binder_names_a_package_index() -> None:
    naming = [
        path.relative_to(ROOT).as_posix()
        for path in tracked()
        if path != Path(__file__)
        and re.search(rb"-index-url https|files\.pythonhosted|download\.pytorch", path.read_bytes())
    ]
    assert naming == [".binder/requirements.txt"]


def test_the_same_pythons_everywhere() -> None:
    script = read("tools/environment.sh")
    versions = re.search(r'^versions="([\d. ]+)"', script, re.M)[1].split()
    numbers = sorted(int(version.removeprefix("3.")) for version in versions)
    newest, oldest = f"3.{numbers[-1]}", f"3.{numbers[0]}"
    assert versions == [f"3.{number}" for number in range(numbers[-1], numbers[0] - 1, -1)]
    project = tomllib.loads(read("pyproject.toml"))["project"]
    assert project["requires-python"] == f">={oldest},<3.{numbers[-1] + 1}"
    assert f"Python {newest} to {oldest}" in read("README.md")
    assert f"--python-version {oldest}" in read("Makefile")
    assert read(".binder/runtime.txt").strip().removeprefix("python-") in versions
    test = yaml.safe_load(read(".github/workflows/test.yml"))
    tried = test["jobs"]["test"]["strategy"]["matrix"]["include"]
    assert sorted(row["python"] for row in tried if row["torch"] == "cpu") == sorted(versions)
    assert "cuda" in [row["torch"] for row in tried]
    for workflow in (ROOT / ".github" / "workflows").iterdir():
        for version in re.findall(r'python-version: "([\d.]+)"', workflow.read_text("utf-8")):
            assert version in versions


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
