"""Builds the book: `python -m bookext` executes what is not in the cache, then makes the pages.

`python -m bookext links` looks up the links to other sites instead; `pdf` and `epub` then put
the pages into one file.

One process for all, since importing the toolchain takes longer than rebuilding one page.
"""

import atexit
import gc
import os
import shutil
import sys

from jupyter_book.sphinx import build_sphinx

from .execution import cached_record, open_cache, prepare_cache, run, side_by_side, summary
from .pages import ROOT, Page, chapters

BUILD = ROOT / "_build"
FORMS = ("pdf", "epub")


def execute_chapters() -> None:
    """Execute the chapters that are not in the cache, several side by side."""
    prepare_cache()
    todo = not_executed()
    if not todo:
        return
    many = "1 chapter" if len(todo) == 1 else f"{len(todo)} chapters"
    print(f"Executing {many}; all of them take five to ten minutes on two cores.", flush=True)
    failed = side_by_side(lambda page: summary(run(page, open_cache()).record), todo)
    if failed:
        sys.exit("\n".join(["", *failed, "error: see above; the book was not built"]))
    # Otherwise Sphinx would execute them, one by one, unmeasured and unchecked.
    if names := [page.name for page in not_executed()]:
        sys.exit(f"error: {', '.join(names)} changed during execution; call `make book` again")


def not_executed() -> list[Page]:
    """List the chapters that are not in the cache as they and the package now are."""
    cache = open_cache()
    return [page for page in chapters() if cached_record(page, cache) is None]


def build_pages(everything: bool, builder: str = "html") -> None:
    """Do what `jupyter-book build` does, without its banners; a warning is an error."""
    # Not shared: a page that one builder has read would be up to date for the other.
    doctrees = BUILD / f".doctrees_{builder}"
    failed = build_sphinx(
        ROOT,
        BUILD / builder,
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


def main() -> None:
    """Do what the command line asks for."""
    forms = [name for name in FORMS if name in sys.argv]
    if forms:
        from . import printing  # it needs Playwright, which readers of the pages need not have

        try:
            printing.find_browser()
        except printing.BrowserMissing as error:
            sys.exit(f"error: {error}")  # before the minutes that the chapters may take
    execute_chapters()
    # What a build makes lives to its end.  To look for garbage takes a sixth of its time, and the
    # interpreter's last look, at all that there is, another second.
    gc.disable()
    atexit.register(gc.freeze)
    if "links" in sys.argv:
        build_pages(everything=False, builder="linkcheck")
        return
    build_pages(everything="--all" in sys.argv)
    if not forms:
        index = (BUILD / "html" / "index.html").as_uri()
        print(f"The book is built: open {index} or run `make serve`, or `make lab` for notebooks.")
    for name in forms:
        target = BUILD / f"bayesian_neural_networks.{name}"
        print(f"Putting the pages into one {name.upper()}; this takes about a minute.", flush=True)
        make = {"pdf": printing.make_pdf, "epub": printing.make_epub}[name]
        with printing.chromium() as browser:
            make(target, browser)
        print(f"The book is in {target}.")


if __name__ == "__main__":
    main()
