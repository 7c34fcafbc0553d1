"""Each chapter's line of facts: how long it takes to read and to run, and how much memory.

The line is kept with the page's metadata, since whoever else shows it would have to parse the page.
"""

import math

from docutils import nodes
from sphinx.application import Sphinx

from .execution import cached_record, open_cache
from .markdown import ONLY_PAGES
from .pages import Page

WORDS_PER_MINUTE = 200
KEY = "chapter-facts"


def setup(app: Sphinx) -> None:
    """Connect to Sphinx."""
    app.connect("doctree-read", add_facts)


def add_facts(app: Sphinx, doctree: nodes.document) -> None:
    """Put the line below the chapter's title."""
    page = Page(app.srcdir / f"{app.env.docname}.md")
    if page.is_chapter:
        title = next(doctree.findall(nodes.title))
        line = facts(page, cached_record(page, open_cache()))
        app.env.metadata[page.docname][KEY] = line
        # Raw, so that it does not become the page's description in search engines.
        raw = nodes.raw("", f'<p class="{KEY}">{line}</p>', format="html", classes=[ONLY_PAGES])
        title.parent.insert(title.parent.index(title) + 1, raw)


def facts(page: Page, record: dict | None) -> str:
    """Say how long the chapter takes; what was not measured is left out."""
    words = sum(len(cell.source.split()) for cell in page.notebook().cells)
    parts = [f"About {math.ceil(words / WORDS_PER_MINUTE)} min to read"]
    if record:
        parts.append(f"{math.ceil(record['seconds'])} s to run")
        parts.append(f"{record['peak_memory_mb']} MB peak memory")
    return " · ".join(parts)
