"""The book's own Sphinx extension: cache, repository address, and what its modules add."""

import os
import sys
from datetime import datetime
from functools import cache
from logging import ERROR, getLogger

if "jsonschema" not in sys.modules:
    # It would compile a grammar of international addresses, which takes longer than all other
    # imports together and is used by no schema here; it does without where the module is missing.
    sys.modules["rfc3987_syntax"] = None

import pybtex.plugin
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

from . import (
    assets,
    buttons,
    facts,
    live,
    mathml,
    notebooks,
    partial,
    polish,
    predictions,
    speed,
    status,
)
from .execution import cache_folder, cached_record, open_cache
from .pages import ROOT, chapters, pages

log = logging.getLogger(__name__)


def setup(app: Sphinx) -> dict:
    """Connect to Sphinx."""
    # Upstream (pybtex) reads the metadata of all installed packages anew for each citation.
    pybtex.plugin.entry_points = cache(pybtex.plugin.entry_points)
    for module in (
        *(facts, mathml, polish, live, predictions, status, speed, partial, assets),
        *(notebooks, buttons),
    ):
        module.setup(app)
    app.connect("config-inited", configure)
    app.connect("builder-inited", name_orphans)
    app.connect("env-get-outdated", executed_since)
    app.connect("env-before-read-docs", allow_parallel)
    # Before Sphinx collects the files to download.
    app.connect("doctree-read", link_to_repository, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def configure(app: Sphinx, config: Config) -> None:
    """Set what `_config.yml` cannot: computed values, and single options of the theme."""
    # The folder's name changes with the package, so Sphinx then reads every page again.
    config.nb_execution_cache_path = str(cache_folder())
    # Setting html_theme_options in _config.yml would replace Jupyter Book's own, buttons included.
    config.html_theme_options["navbar_persistent"] = []  # else an empty second top bar
    options = config.html_theme_options
    address = os.environ.get("BOOK_REPOSITORY_URL", options.get("repository_url", ""))
    options["repository_url"] = address
    config.html_baseurl = config.ogp_site_url = published_at(address)
    # They remark on fonts that lack a weight or hold a table which browsers do not need.
    for name in ("matplotlib.font_manager", "fontTools.subset"):
        getLogger(name).setLevel(ERROR)


def published_at(repository: str) -> str:
    """Where the publishing workflow puts the book of this repository."""
    owner, name = repository.rstrip("/").split("/")[-2:]
    return f"https://{owner}.github.io/{name}/"


def name_orphans(app: Sphinx) -> None:
    """Warn, and so fail the build, of pages that nobody would find; Sphinx would pass them over."""
    listed = {page.path for page in pages()}
    for path in sorted((ROOT / "book").glob("*.md")):
        if path not in listed:
            log.warning("book/%s is not in _toc.yml", path.name)


def executed_since(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> list[str]:
    """Name the chapters executed after Sphinx last read them, e.g. when a cache was deleted."""
    executed = open_cache()
    found = []
    for page in chapters():
        record = cached_record(page, executed)
        read = env.all_docs.get(page.docname, 0) / 1e6  # Sphinx counts microseconds
        if record and datetime.fromisoformat(record["date"]).timestamp() > read:
            found.append(page.docname)
    return found


def allow_parallel(app: Sphinx, env: BuildEnvironment, docnames: list[str]) -> None:
    """Vouch for two extensions that do not say whether several processes may read pages.

    One works for LaTeX only, the other numbers sections when all pages have been read.
    """
    for name in ("sphinx_jupyterbook_latex", "sphinx_multitoc_numbering"):
        app.extensions[name].parallel_read_safe = True


def link_to_repository(app: Sphinx, doctree: nodes.document) -> None:
    """Let links to files, `[source](../code/...)`, open the repository instead of a download.

    In the chapter they are relative, so they work in JupyterLab and need no address.
    """
    options = app.config.html_theme_options
    base = f"{options['repository_url']}/blob/{options['repository_branch']}"
    for link in list(doctree.findall(addnodes.download_reference)):
        path, _ = app.env.relfn2path(link["reftarget"], app.env.docname)
        link.replace_self(nodes.reference("", "", *link.children, refuri=f"{base}/{path}"))
