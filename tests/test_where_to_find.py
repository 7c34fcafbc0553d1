"""Every topic of the tutorials behind the book is found, and each pointer leads somewhere."""

import re

import pytest

from bookext.pages import ROOT, Page, pages

PAGE = Page(ROOT / "book" / "where_to_find.md")
# What the tutorials treat: rows of the table in each section, which must not get fewer.
ROWS = {
    "Concepts": 14,
    "The wine recipe, in Keras and TensorFlow Probability": 12,
    "The iris recipe, in PyTorch and torchbnn": 7,
    "Questions": 14,
    "Easy mistakes": 24,
}


def sections() -> dict[str, list[str]]:
    """Return the rows of each section's table."""
    parts = re.split(r"^## (.*)$", PAGE.text, flags=re.MULTILINE)[1:]
    return {
        title: [line for line in body.splitlines() if line.startswith("| ")][1:]
        for title, body in zip(parts[::2], parts[1::2], strict=True)
    }


def anchors() -> set[str]:
    """List the explicit labels of all pages: of sections, of exercises and of figures."""
    label = re.compile(r"^\(([\w-]+)\)=$|^\s*:label: ([\w-]+)$|^ +name: ([\w-]+)$", re.MULTILINE)
    return {
        name for page in pages() for groups in label.findall(page.text) for name in groups if name
    }


@pytest.mark.parametrize(("title", "rows"), ROWS.items())
def test_topics_are_listed(title: str, rows: int) -> None:
    assert len(sections()[title]) >= rows


def test_each_row_points_somewhere() -> None:
    pointer = re.compile(r"\]\((#|\w+\.md)|\{numref\}`")
    assert [row for rows in sections().values() for row in rows if not pointer.search(row)] == []


def test_pointers_lead_somewhere() -> None:
    targets = set(re.findall(r"\]\(#([^)]+)\)|\{numref\}`([^`]+)`", PAGE.text))
    assert sorted({name for pair in targets for name in pair if name} - anchors()) == []
    files = set(re.findall(r"\]\((\w+\.md)\)", PAGE.text))
    assert sorted(files - {page.path.name for page in pages()}) == []
