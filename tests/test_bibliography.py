"""The bibliography: complete entries, each cited, and no citation without an entry."""

import re

import pybtex.database
import pytest

from bookext.pages import ROOT, pages

BIBLIOGRAPHY = pybtex.database.parse_file(ROOT / "book" / "references.bib", bib_format="bibtex")
NEEDED = {
    "article": {"title", "journal", "volume", "pages", "year"},
    "book": {"title", "publisher", "year"},
    "incollection": {"title", "booktitle", "publisher", "pages", "year"},
    "inproceedings": {"title", "booktitle", "year"},
    "misc": {"title", "year"},
}


def cited() -> dict[str, str]:
    """Return the cited keys, each with a page that cites it."""
    found = {}
    for page in pages():
        for keys in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", page.text):
            found |= {key.strip(): page.name for key in keys.split(",")}
    return found


def test_every_citation_has_an_entry() -> None:
    # The build would warn, and so fail, too; this says it in a second.
    unknown = {key: page for key, page in cited().items() if key not in BIBLIOGRAPHY.entries}
    assert unknown == {}


def test_every_entry_is_cited() -> None:
    assert sorted(set(BIBLIOGRAPHY.entries) - set(cited())) == []


@pytest.mark.parametrize("key", list(BIBLIOGRAPHY.entries))
def test_entry_is_complete(key: str) -> None:
    entry = BIBLIOGRAPHY.entries[key]
    fields = {name.lower(): value for name, value in entry.fields.items()}
    assert sorted(NEEDED[entry.type] - set(fields)) == []
    assert entry.persons["author"]
    if entry.type == "misc":
        assert {"url", "eprint"} & set(fields)
    # A key is the first author, the year and the first word of the title.
    assert fields["year"] in key
    assert re.fullmatch(r"\d{4}", fields["year"])
    if "doi" in fields:
        assert re.fullmatch(r"10\.\d{4,}/\S+", fields["doi"])
    if "url" in fields:
        assert fields["url"].startswith("https://")
    if "pages" in fields:
        assert re.fullmatch(r"\d+(--\d+)?", fields["pages"])
