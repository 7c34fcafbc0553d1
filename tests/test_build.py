"""The book builds without a warning, executes nothing twice, and its pages hold together.

Run after the chapters: what this file reads, they have put into the cache.
"""

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import pytest
from docutils import nodes
from pybtex.database import Entry

from bookext import partial
from bookext.execution import Run, cached_run, open_cache
from bookext.pages import ROOT, chapters, pages
from bookext.prose import glued

pytestmark = pytest.mark.slow


class Links(HTMLParser):
    """Collects what a page refers to, and the anchors that it offers."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.references: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.references += [attributes[key] for key in ("href", "src") if attributes.get(key)]
        self.anchors |= {attributes[key] for key in ("id", "name") if attributes.get(key)}


def test_build_executes_nothing_again(site: Path, runs: dict[str, Run]) -> None:
    cache = open_cache()
    again = [
        page.name for page in chapters() if cached_run(page, cache).record != runs[page.name].record
    ]
    assert again == []


def test_partial_build_leaves_what_a_whole_one_does(site: Path) -> None:
    whole = contents(site)
    for name in ("book/gone.html", "_sources/book/gone.md", "_images/gone.webp", "_static/gone.js"):
        (site / name).write_text("From an earlier build.")
    (site / "_static" / "book.js").write_text("Not what it is now.")
    # A page that must be written again; of the others, only some are.
    os.utime(site / "book" / "speed.html", (0, 0))
    notebooks = site.parent / "notebooks"
    written = contents(notebooks)
    (notebooks / "01_priors_and_posteriors.ipynb").rename(notebooks / "14_truck.ipynb")
    (notebooks / "a_readers_own.ipynb").write_text("Work.")
    subprocess.run([sys.executable, "-m", "bookext"], cwd=ROOT, check=True, capture_output=True)
    now = contents(site)
    assert sorted(now) == sorted(whole)
    assert [name for name in whole if now[name] != whole[name]] == []
    (notebooks / "a_readers_own.ipynb").unlink()
    assert contents(notebooks) == written


def contents(site: Path) -> dict[str, str]:
    """Read the files of the site, apart from when it was built."""
    found = {}
    for path in sorted(path for path in site.rglob("*") if path.is_file()):
        text = path.read_text(encoding="utf-8", errors="backslashreplace")
        if path.name == "status.html":
            text = re.sub(r"Built on [^.]*", "", text)
        elif path.name == "searchindex.js":
            # Numbers are words, too, and the page of status may find a new one in its minute.
            index = json.loads(text.removeprefix("Search.setIndex(").removesuffix(")"))
            index["terms"] = {
                word: where for word, where in index["terms"].items() if not word.isdigit()
            }
            text = json.dumps(index)
        found[path.relative_to(site).as_posix()] = text
    return found


def test_all_pages_are_written_when_one_shows_another_differently() -> None:
    env = SimpleNamespace(
        titles={"book/a": nodes.title("", "A")},
        toctree_includes={"book/welcome": ["book/a"]},
        toc_secnumbers={"book/a": {"": (1,)}},
        toc_fignumbers={"book/a": {"figure": {"fig": (1, 1)}}},
        domaindata={
            "std": {"labels": {}, "anonlabels": {}, "objects": {}},
            "math": {"objects": {}},
        },
        domains={"cite": SimpleNamespace(citations=[])},
        found_docs={"book/b", "book/a"},
    )
    everything = ["book/a", "book/b"]
    assert partial.affected(None, env) == everything
    assert partial.affected(None, env) == []
    env.titles["book/a"] = nodes.title("", "Another")
    assert partial.affected(None, env) == everything
    env.toctree_includes["book/welcome"] = ["book/b", "book/a"]
    assert partial.affected(None, env) == everything
    env.toc_secnumbers["book/a"][""] = (2,)
    assert partial.affected(None, env) == everything
    env.toc_fignumbers["book/a"]["figure"]["fig"] = (2, 1)
    assert partial.affected(None, env) == everything
    env.domaindata["std"]["labels"]["iris-collapse"] = ("book/a", "iris-collapse", "Collapse")
    assert partial.affected(None, env) == everything
    env.domaindata["math"]["objects"]["eq"] = ("book/a", 1)
    assert partial.affected(None, env) == everything
    entry = Entry("article", {"year": "2015"})
    label = SimpleNamespace(label="2015")
    cited = SimpleNamespace(key="k", formatted_entry=label, citation_id="id1", entry=entry)
    env.domains["cite"].citations.append(cited)
    assert partial.affected(None, env) == everything
    entry.fields["year"] = "2016"
    assert partial.affected(None, env) == everything
    assert partial.affected(None, env) == []


def test_all_pages_are_read_when_extension_or_packages_change(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(partial, "HERE", tmp_path)
    monkeypatch.setattr(partial.sysconfig, "get_path", lambda name: str(tmp_path))
    digests = set()
    for name, content in [("a.py", "x = 1"), ("a.py", "x = 2"), ("sphinx-7.4.dist-info", "")]:
        (tmp_path / name).write_text(content)
        config = SimpleNamespace()
        partial.note_tools(None, config)
        digests.add(config.bookext_digest)
    assert len(digests) == 3


def test_every_page_is_built(site: Path) -> None:
    for page in pages():
        html = site / page.path.relative_to(ROOT).with_suffix(".html")
        assert html.is_file(), page.name
        assert "Traceback (most recent call last)" not in html.read_text(encoding="utf-8")


def test_internal_links_lead_somewhere(site: Path) -> None:
    # The theme keeps a template among its static files.
    found = [path for path in site.rglob("*.html") if "_static" not in path.parts]
    files = {path.resolve(): Links(path) for path in found}
    broken = []
    for path, links in files.items():
        for reference in links.references:
            parts = urlsplit(reference)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor_missing = (
                parts.fragment
                and target in files
                and unquote(parts.fragment) not in files[target].anchors
            )
            if not target.exists() or anchor_missing:
                broken.append(f"{path.relative_to(site)}: {reference}")
    assert broken == []


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    class Loads(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            address = dict(attrs).get("src" if tag != "link" else "href") or ""
            if urlsplit(address).netloc and dict(attrs).get("rel") != "canonical":
                loaded.append(f"{path.name}: {address}")

    loaded: list[str] = []
    for path in site.rglob("*.html"):
        Loads().feed(path.read_text(encoding="utf-8"))
    assert loaded == []


def test_chapters_say_how_long_they_take(site: Path) -> None:
    for page in chapters():
        html = site / page.path.relative_to(ROOT).with_suffix(".html")
        text = html.read_text(encoding="utf-8")
        assert "min to read · " in text
        assert "MB peak memory" in text


def test_claims_are_unique_in_the_book(runs: dict[str, Run]) -> None:
    names = [claim["name"] for run in runs.values() for claim in run.record["claims"]]
    assert {name for name in names if names.count(name) > 1} == set()


def test_prose_quotes_claims_only(runs: dict[str, Run]) -> None:
    claimed = {claim["name"] for run in runs.values() for claim in run.record["claims"]}
    unclaimed = {page.name: glued(page.text) - claimed for page in pages()}
    assert {name: names for name, names in unclaimed.items() if names} == {}


def test_links_to_source_open_the_repository(site: Path) -> None:
    linking = [page for page in chapters() if "](../code/" in page.text]
    for page in linking:
        html = site / page.path.relative_to(ROOT).with_suffix(".html")
        assert "/blob/main/code/bnnbook/" in html.read_text(encoding="utf-8"), page.name
