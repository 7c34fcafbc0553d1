"""Lets a build that writes some pages leave the same files as one that writes them all.

Upstream, what is gone stays in the site, pages keep old titles and numbers of other pages, the site
map lists only the pages just written, and the search index forgets the terms of the others.
"""

import hashlib
import shutil
import sysconfig
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.util.index_entries import split_index_msg

from . import live

HERE = Path(__file__).parent


def setup(app: Sphinx) -> None:
    """Connect to Sphinx, and let it read every page again when what builds them changes."""
    app.add_config_value("bookext_digest", "", "env")
    app.connect("config-inited", note_tools)
    app.connect("builder-inited", clear_static, priority=0)  # extensions may copy files there
    app.connect("env-before-read-docs", clear_pictures)
    app.connect("env-get-updated", affected, priority=900)  # after pages and figures are numbered
    app.connect("html-collect-pages", complete_search)
    app.connect("build-finished", complete_site_map, priority=400)  # before it is written
    app.connect("build-finished", sweep, priority=800)  # before style sheets are cut down


def note_tools(app: Sphinx, config: Config) -> None:
    """Digest the code of this extension and of live figures, and which packages are installed."""
    installed = Path(sysconfig.get_path("purelib")).glob("*.dist-info")
    tools = [name.encode() for name in sorted(path.name for path in installed)]
    tools += [path.read_bytes() for path in [*sorted(HERE.glob("*.py")), *live.modules()]]
    config.bookext_digest = hashlib.sha256(b"\0".join(tools)).hexdigest()


def clear_static(app: Sphinx) -> None:
    """Delete the static files: Sphinx copies all that there are in every build."""
    shutil.rmtree(Path(app.outdir, "_static"), ignore_errors=True)


def clear_pictures(app: Sphinx, env: BuildEnvironment, docnames: list[str]) -> None:
    """Delete pictures and data when all pages are read: some would not be made again."""
    if set(docnames) == env.found_docs:
        for name in ("_images", live.FOLDER):
            shutil.rmtree(Path(app.outdir, name), ignore_errors=True)


def affected(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Name all pages when anything changed that pages show of each other."""
    standard = env.domaindata["std"]
    shown = [
        sorted((name, title.astext()) for name, title in env.titles.items()),
        sorted(env.toctree_includes.items()),
        sorted(env.toc_secnumbers.items()),
        sorted((name, sorted(numbers.items())) for name, numbers in env.toc_fignumbers.items()),
        *(sorted(standard[kind].items()) for kind in ("labels", "anonlabels", "objects")),
        sorted(env.domaindata["math"]["objects"].items()),
        sorted(
            (cited.key, cited.formatted_entry.label, cited.citation_id, repr(cited.entry))
            for cited in env.domains["cite"].citations
        ),
    ]
    before = getattr(env, "book_shown", None)
    env.book_shown = hashlib.sha256(repr(shown).encode()).hexdigest()
    return [] if env.book_shown == before else sorted(env.found_docs)


def complete_search(app: Sphinx) -> list:
    """Give the search index the terms of pages not written, and take away words of no page."""
    index = app.builder.indexer
    for docname, entries in app.env.domaindata["index"]["entries"].items():
        index._index_entries[docname] = sorted(
            {
                (word, target or "", main)
                for kind, text, target, main, _ in entries
                for word in split_index_msg(kind, text)
            }
        )
    for words in (index._mapping, index._title_mapping):
        for word in [word for word, docnames in words.items() if not docnames]:
            del words[word]
    return []


def complete_site_map(app: Sphinx, exception: Exception | None) -> None:
    """List every page, in the order in which a whole build writes them."""
    if app.builder.name == "html":
        while not app.sitemap_links.empty():
            app.sitemap_links.get()
        for name in sorted(app.env.found_docs):
            app.sitemap_links.put((app.builder.get_target_uri(name), None))


def sweep(app: Sphinx, exception: Exception | None) -> None:
    """Delete what earlier builds wrote for pages, and as pictures, that are no more."""
    if exception or app.builder.name != "html":
        return
    site = Path(app.outdir)
    names = {*app.env.found_docs, *app.config.html_additional_pages, "search"}
    for path in [*site.glob("*.html"), *site.glob("book/**/*.html")]:
        if path.relative_to(site).with_suffix("").as_posix() not in names:
            path.unlink()
    for path in site.glob("_sources/book/**/*.*"):
        if path.relative_to(site / "_sources").with_suffix("").as_posix() not in names:
            path.unlink()
    pages = "".join(path.read_text(encoding="utf-8") for path in site.glob("book/**/*.html"))
    for path in [*site.glob("_images/**/*.*"), *site.glob(f"{live.FOLDER}/*.js")]:
        if path.name not in pages:
            path.unlink()
