"""Prepares the execution cache once, says which chapter runs, and builds the book to be tested."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from playwright.sync_api import Browser
from webserver import serving

from bookext import printing
from bookext.execution import Run, cached_run, open_cache, prepare_cache
from bookext.pages import ROOT, chapters

# Neither a busy machine nor luck may fail a test: no limit of time per example, and the same
# examples every time.
settings.register_profile("book", deadline=None, derandomize=True)
settings.load_profile("book")

CHAPTER_TEST = "tests/test_chapters.py::test_chapter["


def pytest_configure(config: pytest.Config) -> None:
    # Only in the controller: two workers that create the cache's database at once collide.
    if not hasattr(config, "workerinput"):
        prepare_cache()
        config.pluginmanager.register(Progress(config))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Chapters take longest, so they go first, and the short tests fill the gaps.
    items.sort(key=lambda item: not item.nodeid.startswith(CHAPTER_TEST))


class Progress:
    """Prints when a chapter starts and ends, and what a test tells, also when workers run them."""

    def __init__(self, config: pytest.Config) -> None:
        self.plugins = config.pluginmanager

    def say(self, text: str) -> None:
        terminal = self.plugins.getplugin("terminalreporter")
        terminal.ensure_newline()
        terminal.write_line(text)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        if nodeid.startswith(CHAPTER_TEST):
            self.say(f"{nodeid.removeprefix(CHAPTER_TEST)[:-1]}: starts")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.nodeid.startswith(CHAPTER_TEST):
            result = dict(report.user_properties).get("chapter", "failed")
            self.say(f"{report.nodeid.removeprefix(CHAPTER_TEST)[:-1]}: {result}")
        elif report.when == "call":
            for name, value in report.user_properties:
                self.say(f"{name}\n{value}")


@pytest.fixture(scope="session")
def runs() -> dict[str, Run]:
    cache = open_cache()
    found = {page.name: cached_run(page, cache) for page in chapters()}
    missing = [name for name, run in found.items() if run is None]
    if missing:
        pytest.fail(f"not executed yet: {missing}; run `make test`", pytrace=False)
    return found


@pytest.fixture(scope="session")
def site(runs: dict[str, Run]) -> Path:
    """Build every page afresh: an incremental build says nothing of the pages it skips.

    Of several workers one builds, in the folder that all of them read, and only what is missing:
    tests/test_build.py comes before, and says that this is the same.
    """
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", "")
    with (ROOT / "_build" / "tested").open("a+") as built:
        fcntl.flock(built, fcntl.LOCK_EX)
        built.seek(0)
        if not run or built.read() != run:
            command = [sys.executable, "-m", "bookext", *([] if run else ["--all"])]
            build = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
            if build.returncode:
                pytest.fail(f"{build.stdout}\n{build.stderr}", pytrace=False)
            built.truncate(0)
            built.write(run)
    return ROOT / "_build" / "html"


@pytest.fixture(scope="session")
def address(site: Path) -> Iterator[str]:
    with serving(site) as address:
        yield address


def leave_out(what: str, mend: str) -> None:
    """Skip on a reader's machine; where everything is installed, what is missing is a failure."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(f"left out, {what}: {mend}")


@pytest.fixture(scope="session")
def chromium() -> str:
    try:
        return printing.find_browser()
    except printing.BrowserMissing as error:
        leave_out("no browser", str(error))


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    with printing.chromium() as browser:
        yield browser
