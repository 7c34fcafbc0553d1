"""Every way to open a chapter ends in a notebook that runs: Binder, Colab, or the file alone.

Binder's machine is imitated: the files of the branch that the publishing workflow pushes, an
environment in which the package is missing, and `.binder/postBuild` in it.
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
from contextlib import contextmanager
from importlib.metadata import packages_distributions
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, unquote, urlsplit

import jupytext
import nbformat
import psutil
import pytest
import torch
from bs4 import BeautifulSoup
from jupytext.compare import compare_notebooks
from playwright.sync_api import Browser, expect
from playwright.sync_api import Page as Tab
from test_notebooks import texts, viewer
from test_repository import tracked

from bookext import branch, buttons, configure, launch
from bookext.execution import ChapterError, Run, execute
from bookext.notebooks import CONTENTS, file_names
from bookext.pages import ROOT, Page, chapters
from bookext.watch import memory_mb

LIBRARIES = Path(jupytext.__file__).parents[1]  # site-packages
DATA = Path(sys.prefix, "share/jupyter")
EACH = pytest.mark.parametrize("page", chapters(), ids=lambda page: page.path.stem)
BINDER_MB = 2048  # what it gives, to kernel and server together
# The chapter that runs fastest.
CHAPTER = file_names()["book/find_the_bug"]


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
        # The compiler comes with PyTorch, where that is built for graphics cards.
        for module in modules - set(sys.stdlib_module_names) - {"bnnbook", "triton"}
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


@pytest.fixture(scope="session")
def tree(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the files of the branch that the buttons open."""
    folder = tmp_path_factory.mktemp("machine") / "branch"
    branch.assemble(folder)
    return folder


@pytest.mark.slow
def test_the_branch_shows_notebooks_and_nothing_else(tree: Path) -> None:
    seen = sorted(path.name for path in tree.iterdir() if not path.name.startswith("."))
    assert seen == [CONTENTS, *file_names().values()]
    # Of the repository, to the byte, all that the package consists of.
    settings = {path.name for path in (ROOT / ".binder").iterdir()}
    assert settings == set(branch.SETTINGS), "a file of which Binder would know nothing"
    hidden = tree / ".binder" / "repository"
    for path in tracked():
        name = path.relative_to(ROOT)
        if name.parts[0] in branch.NEEDED:
            assert (hidden / name).read_bytes() == path.read_bytes(), name
    found = {path.relative_to(hidden) for path in hidden.rglob("*") if path.is_file()}
    assert found <= {path.relative_to(ROOT) for path in tracked()}


@pytest.mark.slow
def test_dockerfile_of_binder(tree: Path) -> None:
    command = [sys.executable, "-m", "repo2docker", "--no-build", "--debug", "."]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    dockerfile = done.stdout
    version = (ROOT / ".binder/runtime.txt").read_text().strip().removeprefix("python-")
    assert f"environment-2epy-2d{version.replace('.', '-2e')}" in dockerfile
    assert re.search(r'bin/pip install .*-r "\.binder/requirements\.txt"', dockerfile)
    steps = [line for line in dockerfile.splitlines() if "postBuild" in line]
    assert steps[-1] == "RUN ./.binder/postBuild"


@pytest.mark.slow
def test_requirements_of_binder(tree: Path) -> None:
    """From one file to the next, pip finds what is installed here."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index"]
    done = subprocess.run(
        [*command, "-r", ".binder/requirements.txt"], cwd=tree, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for package in ("torch", "tensorflow", "jupyterlab"):
        assert re.search(rf"already satisfied: {package}==[\d.]+ ", done.stdout)
    assert "Would install" not in done.stdout
    # PyTorch without CUDA, and everything else that is pinned.
    index, *files = (ROOT / ".binder/requirements.txt").read_text().splitlines()[-3:]
    assert index.endswith("/whl/cpu")
    assert files == ["-r ../requirements.txt", "-c ../constraints.txt"]


def git(folder: Path, *command: str) -> str:
    who = {
        f"GIT_{role}_{what}": "x" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    done = subprocess.run(
        ["git", *command], cwd=folder, env=os.environ | who, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_branch_is_pushed_when_it_changes(tmp_path: Path) -> None:
    remote, clone, folder = tmp_path / "remote", tmp_path / "clone", tmp_path / "folder"
    git(tmp_path, "init", "--quiet", "--bare", str(remote))
    git(tmp_path, "init", "--quiet", str(clone))
    git(clone, "commit", "--quiet", "--allow-empty", "--message=main")
    git(clone, "remote", "add", "origin", str(remote))
    (folder / ".binder").mkdir(parents=True)
    (folder / ".gitignore").write_text("*.ipynb")  # someone's own must not leave anything out
    (folder / "01.ipynb").write_text("one")
    (folder / ".binder/postBuild").write_text("#!/bin/bash")
    (folder / ".binder/postBuild").chmod(0o755)

    def push() -> str:
        script = str(ROOT / "tools/publish_notebooks.sh")
        return git(clone, "-c", f"alias.publish=!sh {script}", "publish", str(folder))

    assert push().startswith("The branch is now ")
    assert git(remote, "branch", "--list", "--format=%(refname:short)") == buttons.BRANCH
    first = git(remote, "rev-parse", "notebooks")
    listed = git(remote, "ls-tree", "-r", "notebooks").splitlines()
    assert [line.split()[-1] for line in listed] == [".binder/postBuild", ".gitignore", "01.ipynb"]
    assert listed[0].startswith("100755 ")
    assert push() == "The branch is what it would become."
    assert git(remote, "rev-parse", "notebooks") == first
    (folder / "01.ipynb").write_text("two")
    assert push().startswith("The branch is now ")
    assert git(remote, "rev-parse", "notebooks~1") == first
    assert git(remote, "show", "notebooks:01.ipynb") == "two"
    assert git(clone, "status", "--porcelain") == ""


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
    # A .pth file is not followed further: the package's own link stays behind, and so would
    # setuptools', by which Python 3.12 and later find the `distutils` that TFP imports.
    distutils = (LIBRARIES / "distutils-precedence.pth").read_text()
    (own / "libraries.pth").write_text(f"{LIBRARIES}\n{distutils}")
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
def test_a_chapter_alone_installs_the_package(tree: Path, copy: Path, tmp_path: Path) -> None:
    environment = machine(tmp_path / "venv")
    python = tmp_path / "venv/bin/python"
    archive = tmp_path / "main.zip"
    subprocess.run([sys.executable, "-m", "zipfile", "-c", archive, copy], check=True)
    notebook = nbformat.read(tree / CHAPTER, as_version=4)
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


@contextmanager
def jupyterlab(folder: Path, environment: dict[str, str], python: Path, log: Path) -> Iterator[str]:
    """Run JupyterLab in a folder; yield its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--no-browser", f"--port={port}", "--ServerApp.port_retries=0"]
    options += ["--allow-root", "--IdentityProvider.token=", "--ServerApp.disable_check_xsrf=True"]
    with log.open("w") as output:
        server = subprocess.Popen(
            [python, "-m", "jupyterlab", *options],
            cwd=folder,
            env=environment,
            stdout=output,
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
            pytest.fail(f"JupyterLab does not answer:\n{log.read_text()[-2000:]}")
        yield address
    finally:
        server.terminate()
        try:
            server.wait(timeout=30)
        except subprocess.TimeoutExpired:  # seen once: it waited for a kernel that had just ended
            server.kill()
            server.wait()


@pytest.fixture(scope="session")
def lab(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run JupyterLab as Binder does, after its last step of installation; yield its address."""
    folder = tmp_path_factory.mktemp("binder") / "venv"
    environment = machine(folder)
    # The authors' extension is not there.
    settings = folder / "home/.jupyter/labconfig/page_config.json"
    settings.parent.mkdir(parents=True)
    settings.write_text('{"disabledExtensions": {"jupyterlab-myst": true}}')
    subprocess.run([tree / ".binder/postBuild"], cwd=tree, env=environment, check=True)
    with jupyterlab(tree, environment, folder / "bin/python", folder / "lab.log") as address:
        yield address


@pytest.mark.slow
def test_authors_see_boxes_and_keep_their_pairs(
    copy: Path, browser: Browser, tmp_path: Path
) -> None:
    """In the chapter's own notebook, in the JupyterLab of `make write`."""
    page = chapters()[-3]
    source, pair = (
        copy / page.path.relative_to(ROOT).with_suffix(end) for end in (".md", ".ipynb")
    )
    before = jupytext.read(source)
    environment = os.environ | {"HOME": str(tmp_path)}
    with (
        jupyterlab(copy / "book", environment, Path(sys.executable), tmp_path / "log") as address,
        opened(address, f"lab/tree/{pair.name}", browser) as tab,
    ):
        box = tab.locator(".jp-Notebook aside", has_text="Predict").first
        expect(box).to_be_visible()
        text = tab.locator(".jp-Notebook").inner_text()
        assert ":::" not in text
        assert "{glue:text}" not in text
        tab.locator(".jp-Notebook .jp-MarkdownCell h1").first.click()
        tab.keyboard.press("Enter")
        expect(tab.locator(".jp-Notebook.jp-mod-editMode")).to_be_visible()
        tab.keyboard.press("Control+End")
        tab.keyboard.type(" Written in JupyterLab.")
        tab.keyboard.press("Shift+Enter")
        tab.keyboard.press("Control+s")
        for _ in range(60):
            if "Written in JupyterLab." in source.read_text(encoding="utf-8"):
                break
            time.sleep(0.5)
    after = jupytext.read(source)
    before.cells[0].source += " Written in JupyterLab."
    assert [cell.source for cell in after.cells] == [cell.source for cell in before.cells]
    compare_notebooks(nbformat.read(pair, as_version=4), after, "md:myst")


def api(address: str, method: str = "GET") -> list | dict | None:
    answer = urllib.request.urlopen(urllib.request.Request(address, method=method)).read()
    return json.loads(answer) if answer else None


def button(site: Path, page: Page, host: str) -> str:
    """Return where a launch button of the built page leads."""
    html = site / page.path.relative_to(ROOT).with_suffix(".html")
    (address,) = set(re.findall(rf'href="(https://{host}[^"]*)"', html.read_text("utf-8")))
    return unquote(address.replace("&amp;", "&"))


def test_a_fork_opens_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The publishing workflow says where it runs; the buttons and the first cell follow."""
    fork = "https://github.com/someone/fork"
    monkeypatch.setenv("BOOK_REPOSITORY_URL", fork)
    hosts = {"binderhub_url": "https://binder.org", "colab_url": "https://colab.com"}
    config = SimpleNamespace(html_theme_options={"launch_buttons": hosts})
    configure(None, config)
    assert config.html_baseurl == "https://someone.github.io/fork/"
    context = {"pathto": lambda path, _: path}
    entries = buttons.entries(SimpleNamespace(config=config), "01_x.ipynb", context)
    assert [entry["url"] for entry in entries] == [
        "https://binder.org/v2/gh/someone/fork/notebooks?urlpath=lab/tree/01_x.ipynb",
        "https://colab.com/github/someone/fork/blob/notebooks/01_x.ipynb",
    ]
    assert f"%pip install {fork}/archive/main.zip" in launch.source(fork)


@pytest.mark.slow
@EACH
def test_colab_opens_a_notebook(page: Page, site: Path, tree: Path) -> None:
    opened = urlsplit(button(site, page, "colab.research.google.com")).path
    repository, _, path = opened.removeprefix("/github/").partition(f"/blob/{buttons.BRANCH}/")
    assert repository in launch.source()
    assert path == file_names()[page.docname]
    assert (tree / path).is_file()


@pytest.mark.slow
@EACH
def test_binder_opens_a_notebook(page: Page, site: Path, lab: str, browser: Browser) -> None:
    address = urlsplit(button(site, page, "mybinder.org"))
    repository, _, name = address.path.removeprefix("/v2/gh/").rpartition("/")
    assert repository in launch.source()
    assert name == buttons.BRANCH
    (path,) = parse_qs(address.query)["urlpath"]
    title = re.search(r"^# (.*)", page.text, re.MULTILINE)[1]
    with opened(lab, path, browser) as tab:
        # As a notebook, rendered, and not as text.
        expect(tab.locator(".jp-Notebook h1").first).to_contain_text(title)


@contextmanager
def opened(lab: str, path: str, browser: Browser) -> Iterator[Tab]:
    """Open an address of JupyterLab, and end what it has started."""
    tab = browser.new_page()
    tab.set_default_timeout(60_000)
    expect.set_options(timeout=60_000)
    try:
        tab.goto(f"{lab}{path}?reset")
        yield tab
    finally:
        expect.set_options(timeout=None)
        tab.close()
        for session in api(f"{lab}api/sessions"):
            api(f"{lab}api/sessions/{session['id']}", "DELETE")


@pytest.mark.slow
def test_the_folder_shows_the_notebooks_and_their_list(lab: str, browser: Browser) -> None:
    with opened(lab, f"lab/tree/{CONTENTS}", browser) as tab:
        items = tab.locator(".jp-DirListing-itemName")
        expect(items).to_have_text([CONTENTS, *file_names().values()])
        tab.locator(".jp-Notebook a", has_text="Find the bug").click()
        expect(tab.locator(".jp-Notebook h1", has_text="Find the bug")).to_be_visible()


@pytest.mark.slow
@pytest.mark.parametrize("page", [chapters()[1], chapters()[-2]], ids=lambda page: page.path.stem)
def test_jupyterlab_renders_what_is_written(
    page: Page, tree: Path, lab: str, browser: Browser
) -> None:
    notebook = nbformat.read(tree / file_names()[page.docname], as_version=4)
    written = texts(notebook)
    shown = BeautifulSoup("".join(map(viewer().render, written)), "html.parser")
    formulas = shown.select(".math")
    for formula in formulas:
        formula.decompose()
    with opened(lab, f"lab/tree/{file_names()[page.docname]}", browser) as tab:
        expect(tab.locator(".jp-Notebook .jp-RenderedMarkdown")).to_have_count(len(written))
        expect(tab.locator(".jp-Notebook mjx-container")).to_have_count(len(formulas))
        # Another renderer than the one of the other tests comes to the same words.
        words = tab.evaluate(
            """() => [...document.querySelectorAll(".jp-Notebook .jp-RenderedMarkdown")].map(e => {
                const copy = e.cloneNode(true);
                copy.querySelectorAll("mjx-container, .jp-InternalAnchorLink").forEach(
                    formula => formula.remove());
                return copy.textContent; }).join(" ").split(/\\s+/).filter(word => word)"""
        )
        assert words == shown.get_text().split()
        folds = tab.locator(".jp-Notebook details")
        expect(folds).to_have_count(len(shown.select("details")))
        expect(folds.first.locator("p").first).not_to_be_visible()
        folds.first.locator("summary").click()
        expect(folds.first.locator("p").first).to_be_visible()
        folded = [cell for cell in notebook.cells if "cellView" in cell.metadata]
        expect(tab.locator(".jp-CodeCell .jp-InputCollapser + .jp-Placeholder")).to_have_count(
            len(folded)
        )


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


def changed(notebook: str) -> str:
    """Draw fewer weights than the chapter, so that its intervals become narrower."""
    found = notebook.replace("(w_mean, covariance, size=100)", "(w_mean, covariance, size=3)", 1)
    assert found != notebook
    return found


@pytest.mark.slow
def test_a_change_stops_the_tests(tree: Path) -> None:
    text = changed((tree / CHAPTER).read_text(encoding="utf-8"))
    notebook = nbformat.reads(text, as_version=4)
    # Up to the first claims, executed as all chapters are.
    end = next(i for i, cell in enumerate(notebook.cells) if cell.source.count("\nclaim("))
    notebook.cells = notebook.cells[: end + 1]
    notebook.metadata["source_map"] = list(range(end + 1))
    with pytest.raises(ChapterError, match="ClaimError: claim 'bug_case_inside'"):
        execute(notebook, CHAPTER, tree, time_limit_s=600, memory_limit_mb=5000)


@pytest.mark.slow
def test_a_changed_chapter_runs_through_in_jupyterlab(
    lab: str, tree: Path, browser: Browser
) -> None:
    """For a reader, claims that no longer hold say so, and all cells run."""
    original = (tree / CHAPTER).read_text(encoding="utf-8")
    (tree / CHAPTER).write_text(changed(original), encoding="utf-8")
    with opened(lab, f"lab/tree/{CHAPTER}", browser) as tab:
        expect(tab.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]")).to_be_visible()
        run_all_cells(tab)
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            time.sleep(2)
            tab.keyboard.press("Control+s")
            try:
                notebook = nbformat.read(tree / CHAPTER, as_version=4)
            except nbformat.reader.NotJSONError:
                continue  # it is being saved
            cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
            errors = [out for cell in cells for out in cell.outputs if out.output_type == "error"]
            if errors or all(cell.execution_count for cell in cells):
                break
        broken = tab.locator(".jp-OutputArea div", has_text="the sentence that quotes this number")
        expect(broken.filter(has_text="bug_case_width").first).to_be_visible()
    (tree / CHAPTER).write_text(original, encoding="utf-8")
    assert errors == []
    assert [cell.source for cell in cells if not cell.execution_count] == []


@pytest.mark.slow
@pytest.mark.skipif(torch.version.cuda is not None, reason="Binder gets PyTorch without CUDA")
def test_each_chapter_fits_into_binder(lab: str, browser: Browser, runs: dict[str, Run]) -> None:
    with opened(lab, f"lab/tree/{CHAPTER}", browser) as tab:
        expect(tab.locator(".jp-Notebook h1").first).to_be_visible()
        option = f"--port={urlsplit(lab).port}"
        found = [
            process
            for process in psutil.process_iter(["cmdline"])
            if option in (process.info["cmdline"] or ())
        ]
        # While it starts a kernel, there is a copy of it for a moment.
        server = min(found, key=psutil.Process.create_time)
        server_mb, _ = memory_mb([server])
    assert server_mb > 50
    needed = {name: run.record["peak_memory_mb"] + server_mb for name, run in runs.items()}
    assert {name: mb for name, mb in needed.items() if mb > BINDER_MB} == {}
