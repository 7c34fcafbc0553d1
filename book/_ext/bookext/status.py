"""The directive `{book-status}`: what the last execution of each chapter took, as tables.

`{book-environments}` shows where else the book was executed, and what came out otherwise there.
"""

import os
from collections import defaultdict
from datetime import UTC, datetime

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from . import environments
from .execution import cached_record, exceeded, open_cache
from .pages import Page, chapters


def setup(app: Sphinx) -> None:
    """Register the directives."""
    app.add_directive("book-status", BookStatus)
    app.add_directive("book-environments", BookEnvironments)


class BookStatus(SphinxDirective):
    """Writes the tables as Markdown, so that links to chapters show their titles."""

    def run(self) -> list[nodes.Node]:
        """Make the tables; the page is read again in every build."""
        self.env.note_reread()
        cache = open_cache()
        records = {page: found for page in chapters() if (found := cached_record(page, cache))}
        lines = [*summary(records), "", *execution_table(records), "", *package_tables(records)]
        parent = nodes.container()
        self.state.nested_parse(StringList(lines, source="book-status"), 0, parent)
        return parent.children


class BookEnvironments(SphinxDirective):
    """Writes what `make survey` has kept."""

    def run(self) -> list[nodes.Node]:
        """Make the tables."""
        self.env.note_dependency(str(environments.STORED))
        stored = environments.read_stored()
        lines = [*environment_table(stored), "", *size_table(stored)]
        parent = nodes.container()
        self.state.nested_parse(StringList(lines, source="book-environments"), 0, parent)
        return parent.children


def environment_table(stored: dict[str, dict]) -> list[str]:
    """List the environments; the first is what the others are compared with."""
    lines = [
        "| Environment | Out of range | Read otherwise | Largest move (%) | Minutes "
        "| Memory (MB) |",
        "|:--|--:|--:|--:|--:|--:|",
    ]
    base = next(iter(stored.values()), {"claims": {}})["claims"]
    for name, found in stored.items():
        claims, chapters = found["claims"], found["chapters"].values()
        cells = (
            name,
            len(environments.out_of_range(claims, base)),
            f"{len(environments.moved(claims, base))} of {len(claims)}",
            f"{100 * environments.largest_move(claims, base)[0]:.0f}",
            f"{sum(chapter['seconds'] for chapter in chapters) / 60:.1f}",
            max(chapter["peak_memory_mb"] for chapter in chapters),
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def size_table(stored: dict[str, dict]) -> list[str]:
    """Say of what the installation consists, with each build of PyTorch: the largest packages."""
    builds: dict[str, tuple[str, dict]] = {}
    for name, found in stored.items():
        builds.setdefault(found["environment"]["torch"], (name, found))
    lines = []
    for name, found in builds.values():
        where = found["environment"]
        sizes = where["installed_mb"]
        largest = ", ".join(f"{package} {size:,}" for package, size in list(sizes.items())[:10])
        lines += [
            f"- {name} (Python {where['python']}, PyTorch {where['torch']}, {where['date']}): "
            f"{sum(sizes.values()):,} MB, of which {largest}."
        ]
    return lines


def summary(records: dict[Page, dict]) -> list[str]:
    """Say in a sentence when and how much."""
    minutes = sum(record["seconds"] for record in records.values()) / 60
    claims = sum(len(record["claims"]) for record in records.values())
    return [
        f"Built on {datetime.now(UTC):%-d %B %Y at %H:%M} UTC.",
        f"The {len(records)} chapters together run {minutes:.1f} minutes, one thread each, "
        f"on a machine with {os.cpu_count()} cores and without a graphics card.",
        f"They make {claims} claims, of which each was inside its range.",
    ]


def execution_table(records: dict[Page, dict]) -> list[str]:
    """List the chapters."""
    lines = [
        "| Chapter | Run time (s) | Peak memory (MB) | Its own (MB) | Claims | Executed (UTC) |",
        "|:--|--:|--:|--:|--:|:--|",
    ]
    for page, record in records.items():
        date = datetime.fromisoformat(record["date"])
        lines.append(
            f"| [](/{page.name}) | {record['seconds']:.1f} | {record['peak_memory_mb']} "
            f"| {record['added_memory_mb']} | {len(record['claims'])} | {date:%Y-%m-%d %H:%M} |"
        )
    notes = [
        f"- [](/{page.name}) took more than the project allows itself: {note}."
        for page, record in records.items()
        for note in exceeded(page, record)
    ]
    return [*lines, "", *notes]


def package_tables(records: dict[Page, dict]) -> list[str]:
    """List the versions; chapters executed with the same ones share a table."""
    groups = defaultdict(list)
    for page, record in records.items():
        used = {"Python": record["python"], **record["versions"], "System": record["platform"]}
        groups[tuple(used.items())].append(page)
    lines = []
    for versions, pages in groups.items():
        if len(groups) == 1:
            lines += ["All chapters were executed with the same packages.", ""]
        else:
            names = ", ".join(f"[](/{page.name})" for page in pages)
            lines += [f"Executed with these packages: {names}.", ""]
        lines += ["| Package | Version |", "|:--|:--|"]
        lines += [f"| {name} | {version} |" for name, version in versions]
        lines.append("")
    return lines
