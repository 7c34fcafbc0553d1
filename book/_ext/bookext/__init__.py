"""The book's own Sphinx extension: cache, repository address, each chapter's line of facts."""

import math
import os
from datetime import datetime

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment

from .execution import Run, cache_folder, cached_run, open_cache
from .pages import ROOT, Page, chapters

WORDS_PER_MINUTE = 200


def setup(app: Sphinx) -> dict:
    """Connect to Sphinx."""
    app.connect("config-inited", configure)
    app.connect("env-get-outdated", executed_since)
    app.connect("doctree-read", add_facts)
    # Before Sphinx collects the files to download.
    app.connect("doctree-read", link_to_repository, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def configure(app: Sphinx, config: Config) -> None:
    """Set what `_config.yml` cannot: computed values, and single options of the theme."""
    # The folder's name changes with the package, so Sphinx then reads every page again.
    config.nb_execution_cache_path = str(cache_folder())
    # Setting html_theme_options in _config.yml would replace Jupyter Book's own, buttons included.
    config.html_theme_options["navbar_persistent"] = []  # else an empty second top bar
    address = os.environ.get("BOOK_REPOSITORY_URL")
    if address:
        config.html_theme_options["repository_url"] = address


def executed_since(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> list[str]:
    """Name the chapters executed after Sphinx last read them, e.g. when a cache was deleted."""
    cache = open_cache()
    found = []
    for page in chapters():
        docname = page.path.relative_to(ROOT).with_suffix("").as_posix()
        run = cached_run(page, cache)
        read = env.all_docs.get(docname, 0) / 1e6  # Sphinx counts microseconds
        if run and datetime.fromisoformat(run.record["date"]).timestamp() > read:
            found.append(docname)
    return found


def add_facts(app: Sphinx, doctree: nodes.document) -> None:
    """Put the chapter's reading time, run time and peak memory below its title."""
    page = Page(app.srcdir / f"{app.env.docname}.md")
    if page.is_chapter:
        title = next(doctree.findall(nodes.title))
        line = nodes.paragraph(text=facts(page, cached_run(page, open_cache())))
        line["classes"].append("chapter-facts")
        title.parent.insert(title.parent.index(title) + 1, line)


def link_to_repository(app: Sphinx, doctree: nodes.document) -> None:
    """Let links to files, `[source](../code/...)`, open the repository instead of a download.

    In the chapter they are relative, so they work in JupyterLab and need no address.
    """
    options = app.config.html_theme_options
    base = f"{options['repository_url']}/blob/{options['repository_branch']}"
    for link in list(doctree.findall(addnodes.download_reference)):
        path, _ = app.env.relfn2path(link["reftarget"], app.env.docname)
        link.replace_self(nodes.reference("", "", *link.children, refuri=f"{base}/{path}"))


def facts(page: Page, run: Run | None) -> str:
    """Say how long the chapter takes; what was not measured is left out."""
    words = sum(len(cell.source.split()) for cell in page.notebook().cells)
    parts = [f"About {math.ceil(words / WORDS_PER_MINUTE)} min to read"]
    if run:
        parts.append(f"{math.ceil(run.record['seconds'])} s to run")
        parts.append(f"{run.record['peak_memory_mb']} MB peak memory")
    return " · ".join(parts)
