"""Makes finished pages lighter and more accessible than upstream writes them."""

import base64
import hashlib
import io
import math
import re
from pathlib import Path

from docutils import nodes
from PIL import Image
from sphinx.application import Sphinx

from . import live
from .pages import pages

SVG = re.compile(r"<svg\b.*?</svg>", re.DOTALL)
EMBEDDED = re.compile(r'href="data:image/png;base64,([^"]*)"')
METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
DEFINITIONS = re.compile(r"(<defs>.*?</defs>)", re.DOTALL)  # markers are small: no rounding there
ATTRIBUTE = re.compile(r'( (?:d|x|y|points|transform)=)("[^"]*")')
STRAIGHT = re.compile(r'"(?:[ML][ \n]*-?[\d.]+[ ]-?[\d.]+[ \n]*)+"')
POINT = re.compile(r"([ML])\s*(-?[\d.]+) (-?[\d.]+)")
NUMBER = re.compile(r"-?\d*\.\d{2,}")
WIDTH = re.compile(r' width="([\d.]+)pt"')
LETTERS = re.compile(r"font-size: ([\d.]+)px")
SMALLEST = 10  # pixels: what is smaller is not read on a phone


def setup(app: Sphinx) -> None:
    """Work after the themes and extensions have said what they want on the page."""
    app.connect("html-page-context", polish, priority=900)


def polish(
    app: Sphinx, pagename: str, template: str, context: dict, doctree: nodes.document | None
) -> None:
    """Change what the page loads and contains."""
    # Upstream (sphinxext-opengraph) puts a comma after every item, whatever ends it.
    metatags = re.sub(r"(?<=[;.:]),+|(?<=,),+", "", context.get("metatags", ""))
    context["metatags"] = metatags
    context["published"] = app.config.html_baseurl
    context["contents"] = [
        (app.builder.get_target_uri(page.docname), app.env.titles[page.docname].astext())
        for page in pages()
    ]
    if "body" in context:
        images = Path(app.outdir, app.builder.imagedir)
        up = context["pathto"](app.builder.imagedir, 1)
        body = SVG.sub(lambda found: slim(found[0], images, up), context["body"])
        site = Path(app.outdir)
        body = live.with_files(body, site, context["pathto"](live.FOLDER, 1))
        if "data-live=" in body:
            app.add_js_file("live/loader.js", **{"data-version": live.digest()})
        # Upstream (sphinxcontrib-bibtex, docutils) gives these roles to elements that may not have
        # them: a list without list items, and a role that was abolished.
        body = re.sub(r' role="(?:list|doc-biblioentry|doc-backlink)"', "", body)
        # Upstream (sphinx-exercise) names the content of every exercise the same.
        body = re.sub(r' id="(?:exercise|solution)-content"', "", body)
        # The empty corner of a table would be announced as a heading without words.
        body = re.sub(r"<th(?: class=\"head\")?>(?:<p></p>)?</th>", "<td></td>", body)
        # What may be too wide for a phone is reached by keyboard until book.js has measured it.
        body = re.sub(
            r'<(pre|div class="(?:math|output text_html|figure-svg(?: live)?)")',
            r'<\1 tabindex="0"',
            body,
        )
        # MyST-NB names every folded cell the same, whatever its visible text.
        context["body"] = body.replace(' aria-label="Toggle hidden content"', "")
    context["script_files"] = deferred(context["script_files"])


def deferred(scripts: list) -> list:
    """Let scripts wait for the page, and leave out what is not used: Thebe and a version switch."""
    kept = []
    for script in scripts:
        filename = str(script.filename or "")
        body = script.attributes.get("body") or ""
        if "thebe" in filename or "THEBE" in body or body.lstrip().startswith("DOCUMENTATION_"):
            continue
        if filename:
            script.attributes.pop("async", None)
            script.attributes["defer"] = "defer"
        if all(str(script) != str(other) or body != other.attributes.get("body") for other in kept):
            kept.append(script)
    return kept


def slim(svg: str, images: Path, up: str) -> str:
    """Round a figure's coordinates, move its pictures into files, and keep its letters legible.

    Matplotlib writes six decimals and embeds pictures as text; a page with many curves or maps then
    weighs several hundred kilobytes before its first line is shown.  Its metadata say nothing.
    """

    def file(found: re.Match) -> str:
        picture = Image.open(io.BytesIO(base64.b64decode(found[1])))
        name = f"{hashlib.sha256(found[1].encode()).hexdigest()[:16]}.webp"
        images.mkdir(exist_ok=True)
        picture.save(images / name, quality=90, method=6)
        return f'href="{up}/{name}"'

    # Where the page is narrower than this, the figure scrolls in its frame.
    sizes = [float(size) for size in LETTERS.findall(svg)]
    if sizes and (width := WIDTH.search(svg)):
        legible = math.ceil(float(width[1]) * SMALLEST / min(sizes))
        svg = svg.replace(' style="', f' style="min-width: {legible}px; ', 1)
    parts = DEFINITIONS.split(EMBEDDED.sub(file, METADATA.sub("", svg)))
    parts[::2] = [ATTRIBUTE.sub(lambda found: found[1] + rounded(found[2]), p) for p in parts[::2]]
    return "".join(parts)


def rounded(coordinates: str) -> str:
    """Round every number in an attribute; let a line of straight pieces say its steps only."""
    if STRAIGHT.fullmatch(coordinates):
        written, before = "", (0, 0)
        for command, *point in POINT.findall(coordinates):
            here = tuple(round(10 * float(number)) for number in point)
            step = (here[0] - before[0], here[1] - before[1])
            x, y = here if command == "M" else step
            written += f"{command.replace('L', 'l')}{x / 10:g} {y / 10:g}"
            before = here
        return f'"{written}"'
    return NUMBER.sub(lambda found: f"{float(found[0]):.1f}".removesuffix(".0"), coordinates)
