"""Each chapter's notebook says what its page says, in plain Markdown, and has the chapter's code.

Pages are read as a browser would, notebooks as a viewer that knows CommonMark, tables and formulas.
"""

import re
from collections.abc import Iterator
from copy import copy
from datetime import datetime
from functools import cache
from pathlib import Path
from urllib.parse import urldefrag, urljoin

import jupytext
import nbformat
import pytest
import yaml
from bs4 import BeautifulSoup, Tag
from docutils import nodes
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.dollarmath import dollarmath_plugin
from nbconvert import HTMLExporter

from bookext import launch, prose, published_at
from bookext.execution import Run
from bookext.markdown import Markdown
from bookext.notebooks import CONTENTS, file_names
from bookext.pages import ROOT, Page, chapters, pages

EACH = pytest.mark.parametrize("page", chapters(), ids=lambda page: page.path.stem)
NOTEBOOKS = ROOT / "_build" / "notebooks"
LARGEST = 300_000  # bytes
REPOSITORY = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"]
ADDRESS = published_at(REPOSITORY)
# What stands in a block of its own on a page, and in a notebook.
BLOCKS = ["h1", "h2", "h3", "h4", "p", "li", "th", "td", "pre", "summary", "figcaption", "div"]
HINT = "Its code is in the cells below."
# What the parser of MyST finds in text that needs no MyST.
PLAIN = {
    *("inline", "text", "softbreak", "code_inline", "math_inline", "math_block", "fence"),
    *("html_block", "html_inline"),
    *(
        f"{name}_{end}"
        for name in (
            *("heading", "paragraph", "bullet_list", "ordered_list", "list_item", "blockquote"),
            *("em", "strong", "link", "table", "thead", "tbody", "tr", "th", "td"),
        )
        for end in ("open", "close")
    ),
}


def viewer() -> MarkdownIt:
    return MarkdownIt("commonmark").enable("table").use(dollarmath_plugin)


def read(page: Page) -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOKS / file_names()[page.docname], as_version=4)


def texts(notebook: nbformat.NotebookNode) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]


def codes(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@cache
def whole_article(site: Path, page: Page) -> Tag:
    """Return a page, but for its figures and the colours of its code, which are most of it."""
    html = (site / f"{page.docname}.html").read_text(encoding="utf-8")
    html = re.sub(r"<svg.*?</svg>", "", html, flags=re.DOTALL)
    html = re.sub(
        r"<pre.*?</pre>", lambda code: re.sub("</?span[^>]*>", "", code[0]), html, flags=re.DOTALL
    )
    return BeautifulSoup(html, "html.parser").find("article", class_="bd-article")


@cache
def article(site: Path, page: Page) -> Tag:
    """Return the text of a page: without code, outputs, and what only a site has."""
    found = copy(whole_article(site, page))
    for cell in found.find_all("div", class_="cell"):
        captions = [caption.extract() for caption in cell.find_all("figcaption")]
        cell.clear()
        cell.extend(captions)
    for part in found.select(".headerlink, .chapter-facts, script"):
        part.decompose()
    for formula in found.find_all("math"):
        formula.replace_with(formula.find("annotation").get_text())
    return found


@cache
def rendered(page: Page) -> Tag:
    """Return the text of a notebook: without what only a notebook has."""
    notebook = read(page)
    found = BeautifulSoup("".join(map(viewer().render, texts(notebook))), "html.parser")
    found.find("blockquote").decompose()  # whose the numbers are
    for part in found.find_all(["summary", "p"]):
        if part.get_text() == HINT or part.get_text().endswith(", continued"):
            part.decompose()
    return found


def blocks(text: Tag) -> list[tuple[str, str]]:
    """List what is read, block by block, each with its level if it is a heading."""
    found: dict[int, list[str]] = {}
    levels = {}
    for string in text.find_all(string=True):
        block = string.find_parent(BLOCKS)
        if block:
            found.setdefault(id(block), []).append(string)
            levels[id(block)] = block.name if block.name in BLOCKS[:4] else ""
    joined = [(levels[key], " ".join("".join(parts).split())) for key, parts in found.items()]
    return [(level, words) for level, words in joined if words]


@pytest.mark.slow
@EACH
def test_notebook_says_what_the_page_says(page: Page, site: Path) -> None:
    """Numbers, headings, captions, exercises, solutions, formulas, tables, all in their order."""
    seen, written = blocks(article(site, page)), blocks(rendered(page))
    assert len(seen) > 50
    assert written == seen


@pytest.mark.slow
@EACH
def test_every_quoted_claim_stands_in_the_notebook(
    page: Page, site: Path, runs: dict[str, Run]
) -> None:
    quoted = [span.get_text() for span in article(site, page).select(".pasted-text")]
    names = prose.GLUE.findall(page.text)
    assert len(quoted) == len(names) > 0
    # In the notebook, numbers are nothing but text: look for each one behind the one before.
    text, place = rendered(page).get_text(), 0
    for number in quoted:
        place = text.index(number, place) + len(number)


@pytest.mark.slow
@EACH
def test_links_are_those_of_the_page_and_lead_somewhere(page: Page, site: Path) -> None:
    seen = article(site, page).select("a[href]:not(.solution > .admonition-title > a)")
    address = f"{ADDRESS}{page.docname}.html"
    found = rendered(page).select("a[href]")
    assert [link.get_text() for link in found] == [link.get_text() for link in seen]
    targets = [link["href"] for link in found]
    # But for the titles of solutions, which in the notebook are the lines that unfold them.
    assert targets == [urljoin(address, link["href"]) for link in seen]
    for target in targets:
        file, anchor = urldefrag(target)
        if file.startswith(ADDRESS):
            html = (site / file.removeprefix(ADDRESS)).read_text(encoding="utf-8")
            assert not anchor or f'id="{anchor}"' in html, target
        elif file.startswith(f"{REPOSITORY}/blob/main/"):
            assert (ROOT / file.removeprefix(f"{REPOSITORY}/blob/main/")).is_file(), target


@pytest.mark.slow
@EACH
def test_as_many_of_everything_as_on_the_page(page: Page, site: Path) -> None:
    seen, notebook = whole_article(site, page), read(page)
    text = rendered(page)
    assert len(codes(notebook)) == len(seen.select("div.cell")) + 1  # the first one
    for part in ("h1", "h2", "h3", "h4"):
        assert len(text.select(part)) == len(seen.select(f"{part}:has(.headerlink)")), part
    bold = [strong.get_text() for strong in text.select("p > strong:first-child")]
    assert sum(title.startswith("Fig. ") for title in bold) == len(seen.select("figcaption"))
    exercises = [title for title in bold if re.match(r"Exercise( \d| \(|$)", title)]
    assert len(exercises) == len(seen.select("div.exercise")) > 0
    assert len(text.select("summary")) == len(seen.select("div.solution"))


@pytest.mark.slow
@EACH
def test_code_is_the_chapters_to_the_letter(page: Page, site: Path) -> None:
    written, own = codes(read(page)), codes(jupytext.read(page.path))
    assert [cell.source for cell in written] == [cell.source for cell in own]
    assert written[0].source == launch.source()
    assert all(cell.outputs == [] and cell.execution_count is None for cell in written)


@pytest.mark.slow
@EACH
def test_what_the_page_folds_is_folded(page: Page, site: Path) -> None:
    """In JupyterLab by `source_hidden`, on Colab by `cellView`."""
    notebook = read(page)
    cells = whole_article(site, page).select("div.cell")
    for cell, block in zip(codes(notebook)[1:], cells, strict=True):
        solution = block.find_parent("div", class_="solution") is not None
        folded = solution or block.find("details") is not None
        assert (cell.metadata.get("cellView") == "form") == folded
        hidden = cell.metadata.get("jupyter", {})
        assert hidden == ({"source_hidden": True} if folded else {})
    first = codes(notebook)[0]
    assert first.source.startswith("# @title "), "Colab shows this instead of the code"
    assert first.metadata == {"cellView": "form", "jupyter": {"source_hidden": True}}
    for text in texts(notebook):
        # A viewer reads Markdown again after an empty line, and only there.
        folds = re.findall(
            r"^<details>\n<summary>[^\n]+</summary>\n\n.*?\n\n</details>$", text, re.S
        )
        assert text.count("<details>") == len(folds)
        assert not folds or folds == [text], "a fold has its cell to itself"


@pytest.mark.slow
@EACH
def test_notebook_is_plain(page: Page, site: Path) -> None:
    """No role, directive, label or front matter is left for viewers that do not know them."""
    assert unknown(read(page)) == set()
    # As they are in the chapter, and so in the notebook beside it.
    pair = nbformat.read(page.path.with_suffix(".ipynb"), as_version=4)
    assert {"myst_role", "directive"} <= unknown(pair)


def unknown(notebook: nbformat.NotebookNode) -> set[str]:
    """Name what is not plain Markdown, as the parser of the book sees it."""
    parser = prose.parser()

    def walk(tokens: list[Token]) -> Iterator[str]:
        for token in tokens:
            if token.type not in PLAIN:
                yield token.type
            elif token.type == "fence" and token.info.startswith("{"):
                yield "directive"
            yield from walk(token.children or [])

    return {kind for text in texts(notebook) for kind in walk(parser.parse(text))}


@pytest.mark.slow
@EACH
def test_notebook_is_valid_and_small(page: Page, site: Path) -> None:
    notebook = read(page)
    nbformat.validate(notebook)
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    assert (NOTEBOOKS / file_names()[page.docname]).stat().st_size <= LARGEST
    # The page's menu offers the same.
    offered = (site / "_sources" / f"{page.docname}.ipynb").read_text(encoding="utf-8")
    assert offered == (NOTEBOOKS / file_names()[page.docname]).read_text(encoding="utf-8")


@pytest.mark.slow
@EACH
def test_the_top_says_whose_the_numbers_are(page: Page, site: Path, runs: dict[str, Run]) -> None:
    first = BeautifulSoup(viewer().render(texts(read(page))[0]), "html.parser")
    note = " ".join(first.find("blockquote").get_text().split())
    record = runs[page.name].record
    assert f"Python {record['python']}" in note
    for version in record["versions"].values():
        assert version in note
    date = datetime.fromisoformat(record["date"])
    assert f"checked run of {date.day} {date:%B %Y}, with" in note
    assert first.find("blockquote").a["href"] == f"{ADDRESS}{page.docname}.html"


@pytest.mark.slow
def test_the_folder_lists_the_chapters_in_their_order(site: Path) -> None:
    names = sorted(path.name for path in NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
    assert names == [CONTENTS, *file_names().values()]
    notebook = nbformat.read(NOTEBOOKS / CONTENTS, as_version=4)
    nbformat.validate(notebook)
    shown = BeautifulSoup("".join(map(viewer().render, texts(notebook))), "html.parser")
    targets = [link["href"] for link in shown.select("a[href]")]
    assert [target for target in targets if "://" not in target] == list(file_names().values())
    outside = [target for target in targets if "://" in target]
    others = [page.docname for page in pages() if not page.is_chapter]
    assert outside == [ADDRESS, *(f"{ADDRESS}{name}.html" for name in others)]


@pytest.mark.slow
def test_a_viewer_that_knows_nothing_shows_it(site: Path) -> None:
    html, _ = HTMLExporter().from_notebook_node(read(chapters()[0]))
    page = BeautifulSoup(html, "html.parser")
    (solution, *_) = page.select("details")
    assert solution.summary.get_text().startswith("Solution to Exercise 1.1")
    assert solution.select("p")
    words = " ".join(part.get_text() for part in page.select(".jp-RenderedMarkdown"))
    assert re.findall(r"\*\*|\]\(|\{[a-z:]+\}`|<details|^:::", words, re.MULTILINE) == []


@given(st.text("ab 1.)*_`$<>&;[](:\\~#+-=\n", min_size=1))
def test_text_stays_what_it_is(text: str) -> None:
    text = "\n".join(filter(None, map(str.strip, text.split("\n"))))
    paragraph = nodes.paragraph("", "", nodes.Text(text))
    html = viewer().enable("strikethrough").render(Markdown(ADDRESS).block(paragraph))
    shown = BeautifulSoup(html, "html.parser")
    assert {tag.name for tag in shown.find_all()} <= {"p"}
    assert shown.get_text().strip() == text


def test_what_cannot_be_shown_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    Markdown(ADDRESS).block(nodes.image())
    Markdown(ADDRESS).run(nodes.footnote_reference())
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
