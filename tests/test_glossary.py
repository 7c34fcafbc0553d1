"""One vocabulary: every term is defined once, and linked where chapters use it."""

import re

import pytest

from bookext.pages import ROOT, Page, pages

GLOSSARY = ROOT / "book" / "glossary.md"


def entries() -> list[list[str]]:
    """List the glossary's entries, each with all names of its term."""
    body = re.search(r"```\{glossary\}\n(.*?)```", GLOSSARY.read_text(encoding="utf-8"), re.DOTALL)[
        1
    ]
    found, names = [], []
    for line in body.splitlines():
        if line.startswith(" "):
            if names:
                found.append(names)
            names = []
        elif line:
            names.append(line)
    return found


def links(page: Page) -> set[str]:
    """Name the terms that a page links to."""
    targets = re.findall(r"\{term\}`([^`]+)`", page.text)
    return {re.sub(r"^.*<(.*)>$", r"\1", " ".join(target.split())).lower() for target in targets}


def test_terms_are_defined_once() -> None:
    names = [name.lower() for entry in entries() for name in entry]
    assert len(names) > 50
    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_entries_are_in_order() -> None:
    """By the first name of each, as a reader looks them up."""
    first = [entry[0].lower() for entry in entries()]
    assert first == sorted(first)


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.path.stem)
def test_linked_terms_exist(page: Page) -> None:
    # The build would warn, and so fail, too; this says it in a second.
    names = {name.lower() for entry in entries() for name in entry}
    assert sorted(links(page) - names) == []


def test_every_term_is_linked_in_a_chapter() -> None:
    linked = set().union(*(links(page) for page in pages() if page.path != GLOSSARY))
    unlinked = [e for e in entries() if linked.isdisjoint(name.lower() for name in e)]
    assert unlinked == []
