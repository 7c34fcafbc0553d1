"""Writes each chapter as a notebook to read and run, beside its page.

The chapter's source, opened as a notebook, shows roles and directives where the page shows numbers,
links and boxes.  So the notebook's text is written from the tree of which the page is made, at the
same moment; its code is the chapter's, to the letter.  Outputs are left out: what stands below a
cell is then always what the reader's own run has made, a question is not answered before it is
asked, and viewers that trust no file would not draw the figures anyway.
"""

import hashlib
from datetime import datetime
from functools import cache
from pathlib import Path

import nbformat
from docutils import nodes
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx_exercise.nodes import (
    is_exercise_enumerable_node,
    is_exercise_node,
    is_solution_node,
)

from . import launch
from .execution import cached_record, open_cache
from .facts import KEY
from .markdown import Markdown, details
from .pages import ROOT, Page, chapters, pages

NAMES = {
    "numpy": "NumPy",
    "scikit-learn": "scikit-learn",
    "tensorflow": "TensorFlow",
    "tensorflow-probability": "TensorFlow Probability",
    "torch": "PyTorch",
    "torchbnn": "torchbnn",
}
CONTENTS = "00_contents.ipynb"
# By the first in JupyterLab, by the second on Colab.
FOLDED = {"jupyter": {"source_hidden": True}, "cellView": "form"}
KERNEL = {
    "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
    "language_info": {"name": "python"},
}


def setup(app: Sphinx) -> None:
    """Connect to Sphinx."""
    app.connect("env-get-updated", missing)
    # After the theme has put its own kind of notebook where the page's menu finds one.
    app.connect("html-page-context", write, priority=900)
    app.connect("build-finished", finish)


def folder(app: Sphinx) -> Path:
    """Return where the notebooks are written."""
    return Path(app.outdir).parent / "notebooks"


@cache
def file_names() -> dict[str, str]:
    """Name each chapter's notebook so that a folder lists them in the book's order."""
    return {
        page.docname: f"{number:02}_{page.path.stem}.ipynb"
        for number, page in enumerate(chapters(), 1)
    }


def missing(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Name the chapters to be written because their notebooks are not there."""
    if app.builder.name != "html":
        return []
    return [name for name, file in file_names().items() if not (folder(app) / file).is_file()]


def write(
    app: Sphinx, pagename: str, template: str, context: dict, doctree: nodes.document | None
) -> None:
    """Write a chapter's notebook, and put it in the place of the one that the page offers."""
    file = file_names().get(pagename)
    if doctree is None or file is None:
        return
    page = Page(ROOT / f"{pagename}.md")
    record = cached_record(page, open_cache())
    if record is None:  # a bare `jupyter-book build`: no number was checked
        return
    text = nbformat.writes(Chapter(app, page, record).notebook(doctree))
    for path in (folder(app) / file, Path(app.outdir, "_sources", f"{pagename}.ipynb")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="utf-8")


def finish(app: Sphinx, exception: Exception | None) -> None:
    """Write the list of the notebooks, and delete those that now have another number.

    Other files are left alone: a reader may have put them there.
    """
    if exception or app.builder.name != "html" or not folder(app).is_dir():
        return
    text = nbformat.writes(contents(app))
    (folder(app) / CONTENTS).write_text(f"{text}\n", encoding="utf-8")
    for file in file_names().values():
        for path in folder(app).glob(f"[0-9][0-9]_{file[3:]}"):
            if path.name != file:
                path.unlink()


def contents(app: Sphinx) -> nbformat.NotebookNode:
    """Make the notebook that lists the others."""
    base = app.config.html_baseurl
    titles = {name: title.astext() for name, title in app.env.titles.items()}
    listed = [
        f"{number}. [{titles[name]}]({file})<br>{app.env.metadata[name][KEY]}"
        for number, (name, file) in enumerate(file_names().items(), 1)
    ]
    others = ", ".join(
        f"[{titles[page.docname]}]({base}{app.builder.get_target_uri(page.docname)})"
        for page in pages()
        if not page.is_chapter
    )
    parts = [
        f"# {titles[app.config.root_doc]}",
        f"The chapters of [the book]({base}) as notebooks, in its order.\n"
        "Each runs by itself, from top to bottom; what is folded opens with a click.",
        "\n".join(listed),
        f"Pages of the book that run nothing: {others}.",
    ]
    return new_notebook(cells=named([new_markdown_cell("\n\n".join(parts))]), metadata=KERNEL)


class Chapter:
    """A chapter's notebook in the making.

    Parameters
    ----------
    app : Sphinx
        With all pages read, so that headings, figures and exercises have their numbers.
    page : Page
        The chapter.
    record : dict
        What its execution took; see `bookext.execution`.
    """

    def __init__(self, app: Sphinx, page: Page, record: dict) -> None:
        self.record = record
        self.facts = app.env.metadata[page.docname][KEY]
        self.repository = app.config.html_theme_options["repository_url"]
        self.address = app.config.html_baseurl + app.builder.get_target_uri(page.docname)
        self.markdown = Markdown(self.address)
        self.headings = app.env.toc_secnumbers[page.docname]
        self.numbers = app.env.toc_fignumbers.get(page.docname, {})
        self.formats = app.config.numfig_format
        self.cells: list[nbformat.NotebookNode] = []
        self.prose: list[str] = []  # not in a cell yet
        self.solution = ""  # the title of the one that is being written

    def notebook(self, doctree: nodes.document) -> nbformat.NotebookNode:
        """Make the notebook."""
        self.add(doctree, level=0)
        self.end_cell()
        return new_notebook(cells=named(self.cells), metadata=KERNEL)

    def add(self, parent: nodes.Element, level: int) -> None:
        """Add what a node contains, at some depth of headings."""
        for node in parent:
            if isinstance(node, nodes.section):
                self.add(node, level + 1)
            elif isinstance(node, nodes.title):
                self.add_heading(node, level)
            elif is_code(node):
                self.add_code(node)
            elif is_exercise_node(node):
                self.end_cell()
                number = self.number("exercise", node) if is_exercise_enumerable_node(node) else ""
                self.prose.append(self.markdown.admonition(node, number))
                self.end_cell()
            elif is_solution_node(node):
                self.add_solution(node)
            else:
                self.prose.append(self.markdown.block(node))

    def add_heading(self, title: nodes.title, level: int) -> None:
        """Begin a new cell with a heading, numbered as on the page."""
        self.end_cell()
        anchor = f"#{title.parent['ids'][0]}" if level > 1 else ""
        number = "".join(f"{part}." for part in self.headings[anchor])
        self.prose.append(f"{'#' * level} {number} {self.markdown.inline(title)}")
        if level == 1:
            self.prose.append(self.note())

    def note(self) -> str:
        """Say whose numbers the text has, and where the page is."""
        date = datetime.fromisoformat(self.record["date"])
        versions = [f"{NAMES[name]} {found}" for name, found in self.record["versions"].items()]
        *others, last = [f"Python {self.record['python']}", *versions]
        lines = [
            f"**The numbers in bold are those of the checked run** of {date:%-d %B %Y}, with "
            f"{', '.join(others)} and {last}.",
            "Where you run a check, it shows your own number and the range that the text needs.",
            "Checks, solutions and the code of some figures are folded; a click opens them. "
            f"[The page]({self.address}) shows what every cell makes.",
        ]
        quote = [f"> {line}\n" for line in lines]
        return f"{''.join(quote)}>\n> {self.facts}"

    def add_code(self, cell: nodes.container) -> None:
        """Add a code cell, and what is below its figure."""
        self.end_cell()
        if all(other.cell_type != "code" for other in self.cells):
            source = launch.source(self.repository)
            self.cells.append(new_code_cell(source, metadata=FOLDED))
        source = next(cell.findall(nodes.literal_block)).astext()
        # Its code only: in the output, a claim says whether it holds.
        metadata = FOLDED if self.solution or "hide_mode" in cell else {}
        self.cells.append(new_code_cell(source, metadata=metadata))
        for figure in cell.findall(nodes.figure):
            for caption in figure.findall(nodes.caption):
                text = self.markdown.inline(caption).strip()
                self.prose.append(f"**{self.number('figure', figure).strip()}** {text}")

    def add_solution(self, node: nodes.Element) -> None:
        """Add a solution with its texts folded by `<details>`, and its code as folded cells."""
        self.end_cell()
        title, body = node
        self.solution = title.astext()
        if is_code(body[0]):
            self.prose.append("Its code is in the cells below.")
        for part in body:
            if is_code(part):
                self.add_code(part)
            else:
                self.prose.append(self.markdown.block(part))
        self.end_cell()
        self.solution = ""

    def end_cell(self) -> None:
        """Put the text so far into a cell."""
        text = "\n\n".join(filter(None, self.prose))
        self.prose = []
        if text and self.solution:
            text = details(self.solution, text)
            self.solution = f"{self.solution.removesuffix(', continued')}, continued"
        if text:
            self.cells.append(new_markdown_cell(text))

    def number(self, kind: str, node: nodes.Element) -> str:
        """Return what the page puts before the caption of a figure or the title of an exercise."""
        numbers = self.numbers[kind][node["ids"][0]]
        return self.formats[kind] % ".".join(map(str, numbers))


def is_code(node: nodes.Node) -> bool:
    """Tell whether a node is a code cell."""
    return isinstance(node, nodes.container) and node.get("nb_element") == "cell_code"


def named(cells: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Name cells after their contents: the same chapter gives the same file."""
    seen: dict[str, int] = {}
    for cell in cells:
        digest = hashlib.sha256(cell.source.encode()).hexdigest()[:8]
        seen[digest] = seen.get(digest, 0) + 1
        cell.id = f"{digest}-{seen[digest]}"
    return cells
