"""Every way to open a chapter ends in a notebook that runs: Binder, Colab, or the file alone.

Binder's machine is imitated: a copy of the repository, an environment in which the package is
missing, and `.binder/postBuild` in it.
"""

import ast
import json
import os
import re
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import jupytext
import nbformat
import pytest
from playwright.sync_api import Browser, expect
from playwright.sync_api import Page as Tab
from test_repository import tracked

from bookext import launch
from bookext.pages import ROOT, Page, chapters

LIBRARIES = Path(jupytext.__file__).parents[1]  # site-packages
DATA = Path(sys.prefix, "share/jupyter")
EACH = pytest.mark.parametrize("page", chapters(), ids=lambda page: page.path.stem)
# The chapter that runs fastest.
CHAPTER = "book/questions_and_answers.ipynb"


@EACH
def test_first_cell_installs_the_package(page: Page) -> None:
    for path in (page.path, page.path.with_suffix(".ipynb")):
        first = next(cell for cell in jupytext.read(path).cells if cell.cell_type == "code")
        if first.source != launch.source():
            pytest.fail(f"{path.name}: the first cell is another; run `make sync`", pytrace=False)
        assert first.metadata["jupyter"]["source_hidden"], "folded in JupyterLab"
        assert first.metadata["cellView"] == "form", "folded on Colab"
        assert first.metadata["tags"] == ["remove-cell"], "not shown on the page"


def test_writing_the_cell_again_changes_nothing() -> None:
    text = "---\na: 1\n---\n\n# Title\n\nText.\n\n```{code-cell} ipython3\nimport os\n```\n"
    once = launch.with_cell(text)
    assert once.replace(launch.CELL.format(source=launch.source()), "") == text
    assert once.index("find_spec") < once.index("import os")
    assert launch.with_cell(once) == once
    moved = once.replace("/archive/", "/elsewhere/")
    assert launch.with_cell(moved) == once


def test_the_package_requires_what_is_imported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    modules = {"bnnbook"}
    for path in (ROOT / "code").rglob("*.py"):
        modules |= imported(path.read_text(encoding="utf-8"))
    for page in chapters():
        for cell in jupytext.read(page.path).cells:
            if cell.cell_type == "code":
                modules |= imported(re.sub(r"^\s*%.*", "    pass", cell.source, flags=re.M))
    distributions = packages_distributions()
    needed = {
        distributions[module][0].lower().replace("_", "-")
        for module in modules - set(sys.stdlib_module_names) - {"bnnbook"}
    } - {"cycler"}  # a part of Matplotlib, which requires it
    assert needed == {name.replace("_", "-") for name in project["dependencies"]}


def imported(source: str) -> set[str]:
    """Name the top-level modules that the code imports, wherever it does."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.split(".")[0])
    return found


def test_dockerfile_of_binder() -> None:
    command = [sys.executable, "-m", "repo2docker", "--no-build", "--debug", "."]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    dockerfile = done.stdout
    version = (ROOT / ".binder/runtime.txt").read_text().strip().removeprefix("python-")
    assert f"environment-2epy-2d{version.replace('.', '-2e')}" in dockerfile
    assert re.search(r'bin/pip install .*-r "\.binder/requirements\.txt"', dockerfile)
    steps = [line for line in dockerfile.splitlines() if "postBuild" in line]
    assert steps[-1] == "RUN ./.binder/postBuild"
    # What pip does with that file: PyTorch without CUDA, and everything else that is pinned.
    index, *files = (ROOT / ".binder/requirements.txt").read_text().splitlines()[-3:]
    assert index.endswith("/whl/cpu")
    assert files == ["-r ../requirements.txt", "-c ../constraints.txt"]


@pytest.fixture(scope="session")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy what is in the repository, or what would be after `git add`."""
    folder = tmp_path_factory.mktemp("machine") / "repository"
    for path in tracked():
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
        target.chmod(path.stat().st_mode)
    return folder


def machine(folder: Path) -> dict[str, str]:
    """Make an environment that has every library but not the package; return its variables."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    (own,) = folder.glob("lib/*/site-packages")
    # A .pth file is not followed further: the package's own link stays behind.
    (own / "libraries.pth").write_text(str(LIBRARIES))
    (folder / "home").mkdir()
    inherited = {name: os.environ[name] for name in ("LANG", "LC_ALL") if name in os.environ}
    pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    return (
        inherited
        | pip
        | {
            "HOME": str(folder / "home"),
            "PATH": os.pathsep.join(
                [str(folder / "bin"), str(Path(sys.executable).parent), os.defpath]
            ),
            # JupyterLab looks for its own files below its environment, which is this one.
            "JUPYTER_PATH": str(DATA),
            "JUPYTER_CONFIG_PATH": str(Path(sys.prefix, "etc/jupyter")),
            "JUPYTERLAB_DIR": str(DATA / "lab"),
            "OMP_NUM_THREADS": "1",
        }
    )


@pytest.mark.slow
def test_a_chapter_alone_installs_the_package(copy: Path, tmp_path: Path) -> None:
    environment = machine(tmp_path / "venv")
    python = tmp_path / "venv/bin/python"
    archive = tmp_path / "main.zip"
    subprocess.run([sys.executable, "-m", "zipfile", "-c", archive, copy], check=True)
    notebook = nbformat.read(copy / CHAPTER, as_version=4)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    # The repository of this very state instead of the published one.
    first.source = re.sub(r"https://\S+", archive.as_uri(), first.source)
    alone = tmp_path / "alone"
    alone.mkdir()
    nbformat.write(notebook, alone / "chapter.ipynb")

    def run(*command: str) -> str:
        done = subprocess.run(
            [python, *command], cwd=alone, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    find = ("-c", "import importlib.util as u; s = u.find_spec('bnnbook'); print(s and s.origin)")
    assert run(*find) == "None\n"
    run("-m", "jupytext", "--execute", "--quiet", "chapter.ipynb")
    executed = nbformat.read(alone / "chapter.ipynb", as_version=4)
    assert "Successfully installed bnnbook" in json.dumps(executed)
    assert Path(run(*find).strip()).is_relative_to(tmp_path / "venv")


@pytest.fixture(scope="session")
def lab(copy: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run JupyterLab as Binder does, after its last step of installation; yield its address."""
    folder = tmp_path_factory.mktemp("binder") / "venv"
    environment = machine(folder)
    subprocess.run([copy / ".binder/postBuild"], cwd=copy, env=environment, check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (folder / "lab.log").open("w")
    options = ["--no-browser", f"--port={port}", "--ServerApp.port_retries=0"]
    options += ["--allow-root", "--IdentityProvider.token=", "--ServerApp.disable_check_xsrf=True"]
    server = subprocess.Popen(
        [folder / "bin/python", "-m", "jupyterlab", *options],
        cwd=copy,
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    address = f"http://127.0.0.1:{port}/"
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(address + "api/status")
                break
            except OSError:
                time.sleep(0.5)
        else:
            pytest.fail(f"JupyterLab does not answer:\n{Path(log.name).read_text()[-2000:]}")
        yield address
    finally:
        server.terminate()
        server.wait()
        log.close()


def api(address: str, method: str = "GET") -> list | dict | None:
    answer = urllib.request.urlopen(urllib.request.Request(address, method=method)).read()
    return json.loads(answer) if answer else None


def button(site: Path, page: Page, host: str) -> str:
    """Return where a launch button of the built page leads."""
    html = site / page.path.relative_to(ROOT).with_suffix(".html")
    (address,) = set(re.findall(rf'href="(https://{host}[^"]*)"', html.read_text("utf-8")))
    return unquote(address.replace("&amp;", "&"))


@pytest.mark.slow
@EACH
def test_colab_opens_a_committed_notebook(page: Page, site: Path) -> None:
    opened = urlsplit(button(site, page, "colab.research.google.com")).path
    repository, _, path = opened.removeprefix("/github/").partition("/blob/main/")
    assert repository in launch.source()
    assert ROOT / path == page.path.with_suffix(".ipynb")
    assert ROOT / path in tracked()


@pytest.mark.slow
@EACH
def test_binder_opens_a_notebook(page: Page, site: Path, lab: str, browser: Browser) -> None:
    query = urlsplit(button(site, page, "mybinder.org")).query
    (path,) = parse_qs(query)["urlpath"]
    opens_as_notebook(lab, path, page, browser)


@pytest.mark.slow
def test_markdown_opens_as_the_notebook_that_it_is(lab: str, browser: Browser) -> None:
    page = chapters()[0]
    opens_as_notebook(lab, f"lab/tree/{page.path.relative_to(ROOT)}", page, browser)


def opens_as_notebook(lab: str, path: str, page: Page, browser: Browser) -> None:
    title = re.search(r"^# (.*)", page.text, re.MULTILINE)[1]
    tab = browser.new_page()
    try:
        tab.goto(f"{lab}{path}?reset")
        # As a notebook, rendered, and not as text.
        expect(tab.locator(".jp-Notebook h1").first).to_contain_text(title, timeout=60_000)
    finally:
        tab.close()
        for session in api(f"{lab}api/sessions"):
            api(f"{lab}api/sessions/{session['id']}", "DELETE")


def run_all_cells(tab: Tab) -> None:
    """Choose the menu's entry, again if nothing happens: a click on a new menu may be lost."""
    busy = tab.locator(".jp-Notebook-ExecutionIndicator[data-status=busy]")
    for last in (False, False, True):
        tab.get_by_role("menuitem", name="Run", exact=True).click()
        tab.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        try:
            expect(busy).to_be_visible(timeout=10_000)
            return
        except AssertionError:
            if last:
                raise


@pytest.mark.slow
def test_a_chapter_runs_through_in_jupyterlab(lab: str, copy: Path, browser: Browser) -> None:
    tab = browser.new_page()
    tab.goto(f"{lab}lab/tree/{CHAPTER}?reset")
    idle = tab.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]")
    expect(idle).to_be_visible(timeout=60_000)
    run_all_cells(tab)
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        time.sleep(2)
        tab.keyboard.press("Control+s")
        try:
            notebook = nbformat.read(copy / CHAPTER, as_version=4)
        except nbformat.reader.NotJSONError:
            continue  # it is being saved
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        errors = [out for cell in cells for out in cell.outputs if out.output_type == "error"]
        if errors or all(cell.execution_count for cell in cells):
            break
    tab.close()
    assert errors == []
    assert [cell.source for cell in cells if not cell.execution_count] == []
    assert any(cell.outputs for cell in cells)
