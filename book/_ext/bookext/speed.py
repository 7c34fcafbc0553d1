"""The directive `{book-speed}`: what `make bench` measured last, as tables and a figure."""

import json
from collections import defaultdict
from collections.abc import Callable

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from matplotlib import rc_context
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from .pages import ROOT, chapters

LEFT, RIGHT = ":--", "--:"
NO_BREAK = "\N{NO-BREAK SPACE}"
RESULTS = ROOT / "benchmarks" / "results.json"


def setup(app: Sphinx) -> None:
    """Register the directive."""
    app.add_directive("book-speed", BookSpeed)


class BookSpeed(SphinxDirective):
    """Writes one of the tables as Markdown, so that links to chapters show their titles."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make the table; the page is read again whenever results or list of chapters change."""
        for file in (RESULTS, ROOT / "_toc.yml"):
            self.env.note_dependency(str(file))
        what = directives.choice(self.arguments[0], ("growth-figure", *WRITERS))
        results = json.loads(RESULTS.read_text(encoding="utf-8"))
        try:
            if what == "growth-figure":
                # The figures' style is global: the social cards drawn later are not to have it.
                with rc_context():
                    return [growth_figure(results)]
            lines = WRITERS[what](results)
        except KeyError as part:
            lines = [f"Not measured yet: `make bench PARTS={part.args[0]}`."]
        parent = nodes.container()
        self.state.nested_parse(StringList(lines, source="book-speed"), 0, parent)
        return parent.children


def machine(results: dict) -> list[str]:
    """Say where each part was measured; parts that share all of it share a row."""
    parts = defaultdict(list)
    for part, found in results.items():
        m = found["machine"]
        packages = ", ".join(f"{name} {version}" for name, version in m["packages"].items())
        hardware = f"{m['processor']}, {m['cores']} cores, {m['memory_gb']} GB, {m['system']}"
        parts[m["date"], hardware, f"Python {m['python']}, {packages}"].append(part)
    return table(
        {"Parts": LEFT, "Date": LEFT, "Machine": LEFT, "Packages": LEFT},
        [[", ".join(names), *described] for described, names in parts.items()],
    )


def ratios(results: dict) -> list[str]:
    """Compare seconds."""
    headings = ["Tutorial", "Book", "Ratio", "Lowest–highest"]
    return table(
        {"What": LEFT} | dict.fromkeys(headings, RIGHT) | {"Aim": LEFT},
        [
            [
                row["name"],
                seconds(row["source_s"]),
                seconds(row["book_s"]),
                number(row["ratio"]),
                f"{number(row['lowest'])}–{number(row['highest'])}",
                aim(row),
            ]
            for row in rows(results)
        ],
    )


def scores(results: dict) -> list[str]:
    """Compare what the fits are worth."""
    return table(
        {"What": LEFT, "Score": LEFT, "Tutorial": RIGHT, "Book": RIGHT},
        [
            [row["name"], score, *(with_error(*value) for value in values.values())]
            for row in rows(results)
            for score, values in row["scores"].items()
        ],
    )


def rows(results: dict) -> list[dict]:
    """List the comparisons of all parts that have any."""
    return [row for part in results.values() for row in part.get("rows", [])]


def floor(results: dict) -> list[str]:
    """Compare steps with their random numbers and matrix products."""
    headings = ["Time", "Random numbers", "Matrix products", "Time, in units of both"]
    lines = []
    for f in results["floor"]["floors"]:
        least = f["random_numbers"] + f["matrix_products"]
        parts = (f[key] for key in ("seconds", "random_numbers", "matrix_products"))
        lines.append([f["name"], *map(seconds, parts), number(f["seconds"] / least)])
    return table({"What": LEFT} | dict.fromkeys(headings, RIGHT), lines)


def growth(results: dict) -> list[str]:
    """List how cost grows."""
    limit = results["growth"]["memory_limit_mb"]
    lines = []
    for s in results["growth"]["series"]:
        first, last = s["points"][0], s["points"][-1]
        if "returned_mb" in last:
            working = max(0, last["mb"] - last["returned_mb"])
            memory = f"{working:,.0f} MB beside the {last['returned_mb']:,.0f} MB of the draws"
        else:
            memory = f"{first['mb']:,.0f}–{last['mb']:,.0f} MB, frameworks included"
        if s["out_of_memory_at"]:
            memory += f"; at {s['out_of_memory_at']:,} above {limit:,} MB"
        sizes = f"{first['size']:,}–{last['size']:,} {s['variable']}"
        lines.append([s["name"], sizes, seconds(last["seconds"]), f"{s['exponent']:.2f}", memory])
    return table(
        {
            "What": LEFT,
            "From–to": LEFT,
            "Time, at the end": RIGHT,
            "Exponent of time": RIGHT,
            "Memory": LEFT,
        },
        lines,
    )


def growth_figure(results: dict) -> nodes.figure:
    """Draw how time grows."""
    # Here, since it takes half a second with SciPy, and most builds do not read this page again.
    from bnnbook import figures

    series = results["growth"]["series"]
    variables = list(dict.fromkeys(s["variable"] for s in series))
    figure, axes = figures.subplots(1, len(variables), height=3.4, sharey=True)
    for part, variable in zip(axes, variables, strict=True):
        shown = [s for s in series if s["variable"] == variable]
        for s, marker in zip(shown, figures.MARKERS, strict=False):
            sizes = [point["size"] for point in s["points"]]
            times = [point["seconds"] for point in s["points"]]
            part.plot(sizes, times, marker=marker, markersize=5, label=s["name"])
        part.set(xscale="log", yscale="log", xlabel=variable)
        part.legend(loc="lower center", bbox_to_anchor=(0.5, 1), fontsize=8.5)
    axes[0].set_ylabel("seconds")
    alt = (
        "Seconds against "
        + ", ".join(variables)
        + ", all on logarithmic axes. "
        + " ".join(f"{s['name']}: exponent {s['exponent']:.1f}." for s in series)
    )
    picture = f'<div class="figure-svg">{figures.svg(figure, alt=alt)}</div>'
    caption = "How time grows with the rows of the data, the width of a network and the draws."
    return nodes.figure(
        "",
        nodes.raw("", picture, format="html"),
        nodes.caption("", caption),
        ids=["fig-speed-growth"],
    )


def builds(results: dict) -> list[str]:
    """List what `make book` takes."""
    book = results["book"]
    naive = sum(c["naive"]["seconds"] for c in book["chapters"].values())
    serial = sum(c["seconds"] for c in book["chapters"].values())
    more = "at least " if any(c["naive"]["stopped"] for c in book["chapters"].values()) else ""
    times = book["seconds"]
    return table(
        {"Build": LEFT, "Seconds": RIGHT},
        [
            ["Cold: every chapter executed, every page made", f"{times['cold']:,.0f}"],
            ["The chapters of that build, one after the other", f"{serial:,.0f}"],
            [
                "The same chapters written naively, one after the other",
                f"{more}{naive:,.0f}",
            ],
            ["Warm: nothing has changed", f"{times['warm']:.1f}"],
            ["A sentence of a chapter has changed", f"{times['a sentence']:.1f}"],
            [f"A cell of [](/book/{book['edited']}.md) has changed", f"{times['a cell']:.0f}"],
        ],
    )


def by_chapter(results: dict) -> list[str]:
    """List what each chapter takes."""
    headings = ["Run (s)", "Peak (MB)", "Naively (s)", "First cell (s)", "After it (MB)"]
    measured = results["book"]["chapters"]
    return table(
        {"Chapter": LEFT} | dict.fromkeys(headings, RIGHT),
        [
            [
                f"[](/{page.name})",
                f"{c['seconds']:.0f}",
                f"{c['peak_memory_mb']}",
                f"{'> ' if c['naive']['stopped'] else ''}{c['naive']['seconds']:.0f}",
                f"{c['first_cell']['seconds']:.1f}",
                f"{c['first_cell']['mb']:.0f}",
            ]
            for page in chapters()
            if (c := measured.get(page.path.stem))  # a chapter may be younger than the results
        ],
    )


def start_up(results: dict) -> list[str]:
    """List what imports take, and what a progress bar costs."""
    imports = results["book"]["imports"]
    bar = results["iris"]["progress_bar"]
    return [
        *table(
            {"Import": LEFT, "Seconds": RIGHT, "Loads": LEFT},
            [
                [
                    f"`{statement}`",
                    f"{found['seconds']:.2f}",
                    ", ".join(found["frameworks"]) or "no framework",
                ]
                for statement, found in imports.items()
            ],
        ),
        "",
        f"Training with the progress bar takes {bar['ratio']:.2f} times as long as without "
        f"({bar['lowest']:.2f} to {bar['highest']:.2f} in {bar['repeats']} repeats).",
    ]


def table(headings: dict[str, str], lines: list[list[str]]) -> list[str]:
    """Write a Markdown table: headings with their alignment, and the cells of each line."""
    return [f"| {' | '.join(cells)} |" for cells in (headings, headings.values(), *lines)]


def seconds(value: float) -> str:
    """Write a duration with two or three digits and a fitting unit."""
    for unit, size in (("s", 1), ("ms", 1e-3)):
        if value >= size:
            return f"{number(value / size)}{NO_BREAK}{unit}"
    return f"{number(value * 1e6)}{NO_BREAK}µs"


def with_error(mean: float, error: float) -> str:
    """Write a score with its standard error."""
    digits = 0 if mean >= 100 else 3
    return f"{mean:,.{digits}f}{NO_BREAK}±{NO_BREAK}{error:,.{digits}f}"


def number(value: float) -> str:
    """Write a number with two or three significant digits."""
    return f"{value:,.0f}" if value >= 99.5 else f"{value:.2g}" if value < 9.95 else f"{value:.0f}"


def aim(row: dict) -> str:
    """Say what was wanted, and whether it was reached."""
    if row["target"] is None:
        return "–"
    return f"{row['target']:,g}, {'reached' if row['ratio'] >= row['target'] else 'missed'}"


WRITERS: dict[str, Callable[[dict], list[str]]] = {
    "machine": machine,
    "ratios": ratios,
    "scores": scores,
    "floor": floor,
    "growth": growth,
    "builds": builds,
    "by-chapter": by_chapter,
    "start-up": start_up,
}
