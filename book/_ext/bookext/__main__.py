"""Builds the book: `python -m bookext` executes what is not in the cache, then makes the pages.

`python -m bookext links` looks up the links to other sites instead; `pdf` and `epub` then put
the pages into one file.

One process for all, since importing the toolchain takes longer than rebuilding one page.
"""

import atexit
import gc
import os
import shutil
import subprocess
import sys

from jupyter_book.sphinx import build_sphinx

from .execution import cached_record, open_cache, prepare_cache
from .pages import ROOT, chapters
from .printing import SITE, BrowserMissing, chromium, find_browser, make_epub, make_pdf

OTHER_FORMS = {"pdf": make_pdf, "epub": make_epub}


def execute_chapters() -> None:
    """Let the tests execute, in parallel, the chapters that are not in the cache."""
    prepare_cache()
    if count := len(not_executed()):
        # A chapter may take 1 GB: no more than four at a time, however many cores there are.
        workers = min(count, os.cpu_count() or 1, 4)
        command = [sys.executable, "-m", "pytest", "-q", "-n", str(workers), "--dist=loadgroup"]
        if subprocess.run([*command, "tests/test_chapters.py"], cwd=ROOT).returncode:
            sys.exit("error: a chapter failed, see above; the book was not built")
        # Otherwise Sphinx would execute them, one by one, unmeasured and unchecked.
        if names := not_executed():
            sys.exit(f"error: {', '.join(names)} changed during execution; call `make book` again")


def not_executed() -> list[str]:
    """Name the chapters that are not in the cache as they and the package now are."""
    cache = open_cache()
    return [page.name for page in chapters() if cached_record(page, cache) is None]


def build_pages(everything: bool, builder: str = "html") -> None:
    """Do what `jupyter-book build` does, without its banners; a warning is an error."""
    # Not shared: a page that one builder has read would be up to date for the other.
    doctrees = SITE.with_name(f".doctrees_{builder}")
    failed = build_sphinx(
        ROOT,
        SITE.with_name(builder),
        builder=builder,
        doctreedir=doctrees,
        noconfig=True,
        path_config=ROOT / "_config.yml",
        confoverrides={"external_toc_path": "_toc.yml", "latex_individualpages": False},
        freshenv=everything,
        force_all=everything,
        quiet=True,
        warningiserror=True,
        keep_going=True,
        # One of them hands out pages, most of the time; each takes up to half a GB.
        jobs=min(os.cpu_count() or 1, 4) + 1,
    )
    if failed:
        # Sphinx warns only of pages that it reads: keep nothing that the next build could skip.
        shutil.rmtree(doctrees, ignore_errors=True)
        sys.exit(f"error: the book was not built; see the warnings above ({failed!r})")


if __name__ == "__main__":
    # What a build makes lives to its end.  To look for garbage takes a sixth of its time, and the
    # interpreter's last look, at all that there is, another second.
    gc.disable()
    atexit.register(gc.freeze)
    forms = [name for name in OTHER_FORMS if name in sys.argv]
    if forms:
        try:
            find_browser()
        except BrowserMissing as error:
            sys.exit(f"error: {error}")  # before the minutes that the chapters may take
    execute_chapters()
    if "links" in sys.argv:
        build_pages(everything=False, builder="linkcheck")
        sys.exit()
    build_pages(everything="--all" in sys.argv)
    if not forms:
        print(f"The book is built: open file://{SITE}/index.html or run `make serve`.")
    for name in forms:
        target = SITE.with_name(f"bayesian_neural_networks.{name}")
        print(f"Putting the pages into one {name.upper()}; this takes about a minute.", flush=True)
        with chromium() as browser:
            OTHER_FORMS[name](target, browser)
        print(f"The book is in {target}.")
