"""The pages of the book as `_toc.yml` lists them, and what their front matter declares."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nbformat
import yaml
from myst_nb.core.read import is_myst_markdown_notebook, myst_nb_reader_plugin
from sphinx_external_toc.parsing import parse_toc_yaml

ROOT = Path(__file__).resolve().parents[3]

# What a chapter may use unless its front matter says otherwise (`bnnbook: memory_limit_mb: ...`):
# seconds on the machine of the limits, and MB beside the libraries that it imports.
LIMITS = {"time_limit_s": 240, "memory_limit_mb": 400}


@dataclass(frozen=True)
class Page:
    """One Markdown file of the book; a page with code cells is a chapter."""

    path: Path

    @property
    def name(self) -> str:
        """The path as messages show it."""
        inside = self.path.is_relative_to(ROOT)
        return (self.path.relative_to(ROOT) if inside else self.path).as_posix()

    @property
    def docname(self) -> str:
        """The name by which Sphinx knows the page."""
        return self.path.relative_to(ROOT).with_suffix("").as_posix()

    @cached_property
    def text(self) -> str:
        """The source text."""
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def is_chapter(self) -> bool:
        """Whether the page is executed."""
        return is_myst_markdown_notebook(self.text)

    @cached_property
    def front_matter(self) -> dict:
        """The YAML block at the top of the file, empty if there is none."""
        if not self.text.startswith("---\n"):
            return {}
        return yaml.safe_load(self.text.split("\n---", 1)[0])

    @cached_property
    def options(self) -> dict:
        """Settings and limits that the page declares under `bnnbook:`, defaults filled in."""
        declared = self.front_matter.get("bnnbook", {})
        unknown = set(declared) - {"settings", *LIMITS}
        if unknown:
            raise ValueError(f"{self.name}: unknown keys under 'bnnbook:' {sorted(unknown)}")
        return {"settings": {}} | LIMITS | declared

    def notebook(self) -> nbformat.NotebookNode:
        """Read the page exactly as the build does: the execution cache matches on this."""
        return myst_nb_reader_plugin(str(self.path))


def pages() -> list[Page]:
    """List all pages in the order of the table of contents."""
    return [Page(ROOT / f"{docname}.md") for docname in parse_toc_yaml(ROOT / "_toc.yml")]


def chapters() -> list[Page]:
    """List the pages that are executed."""
    return [page for page in pages() if page.is_chapter]
