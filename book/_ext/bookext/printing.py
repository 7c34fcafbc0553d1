"""The whole book in one file, for paper and for e-readers, made of the built pages.

Chromium, which the tests of the pages need too, reads the pages and prints the PDF.  Sphinx's own
builders for one page and for EPUB know neither the theme's nodes nor the claims.
"""

import html
import io
import shutil
import uuid
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml
from PIL import Image
from playwright.sync_api import Browser, sync_playwright
from pygments.formatters import HtmlFormatter

from . import published_at
from .pages import ROOT, pages

HERE = Path(__file__).parent
SITE = ROOT / "_build" / "html"
FOOTER = """\
<div style="font: 8pt sans-serif; color: #555; width: 100%; text-align: center">
<span class="pageNumber"></span></div>"""


class BrowserMissing(Exception):
    """Chromium, which reads the pages, is not installed."""


@dataclass(frozen=True)
class Article:
    """What a page of the book says, without the site around it.

    Attributes
    ----------
    name : str
        Name of the page's file, without its ending.
    title : str
        The page's heading.
    sections : list of dict
        Title and identifier of each section.
    images : list of Path
        Picture files that the article shows.
    xhtml : str
        The article element.
    """

    name: str
    title: str
    sections: list[dict[str, str]]
    images: list[Path]
    xhtml: str


def find_browser() -> str:
    """Return the path of the browser, or say how to get one."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        raise BrowserMissing("Chromium is not installed: apt install chromium")
    return found


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the browser."""
    with sync_playwright() as playwright:
        # A container's root may not use the browser's own sandbox; it opens only our pages.
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        yield browser
        browser.close()


def articles(browser: Browser, *, one_document: bool) -> list[Article]:
    """Read the built pages in the book's order, fit for one document or for a file each."""
    script = (HERE / "article.js").read_text(encoding="utf-8")
    names = [page.path.stem for page in pages()]
    published = published_at(book()["address"])
    settings = {"oneDocument": one_document, "names": names, "published": published}
    tab = browser.new_page(color_scheme="light")
    found = []
    for name in names:
        tab.goto((SITE / "book" / f"{name}.html").as_uri())
        parts = tab.evaluate(script, settings)
        images = [Path(unquote(urlsplit(url).path)) for url in parts.pop("images")]
        found.append(Article(name=name, images=images, **parts))
    tab.close()
    return found


def book() -> dict[str, str]:
    """Return the title, the authors and the address of the book."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    return {
        "title": config["title"],
        "author": config["author"],
        "address": config["repository"]["url"],
        "date": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
    }


def make_pdf(target: Path, browser: Browser) -> None:
    """Print the book: a title page, the contents, then every page, with links and bookmarks."""
    parts = articles(browser, one_document=True)
    about = {key: html.escape(value) for key, value in book().items()}
    contents = "".join(
        f'<li><a href="#{part.name}">{html.escape(part.title)}</a></li>' for part in parts
    )
    front = (
        f'<header id="title-page"><p class="title">{about["title"]}</p>'
        f"<p>{about['author']}</p><p>Printed on {about['date'][:10]} from the pages that "
        f'<a href="{about["address"]}">the repository</a> builds. What those pages fold, the '
        "checks behind the numbers and the code of some figures, is in its notebooks.</p></header>"
        f'<nav><p class="title">Contents</p><ul>{contents}</ul></nav>'
    )
    tab = browser.new_page(color_scheme="light")
    # One of the pages lends its style.
    tab.goto((SITE / "book" / f"{parts[0].name}.html").as_uri())
    tab.evaluate(
        """([title, body]) => {
            document.title = title;
            document.body.className = "printed";
            document.body.innerHTML = body;
        }""",
        [book()["title"], front + "".join(part.xhtml for part in parts)],
    )
    tab.add_style_tag(path=HERE / "print.css")
    tab.evaluate("document.fonts.ready.then(() => true)")
    unfinished = target.with_suffix(".part")
    tab.pdf(
        path=unfinished,
        format="A4",
        margin={"top": "18mm", "bottom": "20mm", "left": "18mm", "right": "18mm"},
        display_header_footer=True,
        header_template="<span></span>",
        footer_template=FOOTER,
        print_background=True,
        outline=True,
        tagged=True,
    )
    unfinished.replace(target)


def make_epub(target: Path, browser: Browser) -> None:
    """Write the book as EPUB 3, whose readers draw MathML and SVG themselves."""
    parts = articles(browser, one_document=False)
    style = (HERE / "epub.css").read_text(encoding="utf-8")
    files = {"book.css": style + HtmlFormatter(style="tango").get_style_defs(".highlight")}
    files |= {f"{part.name}.xhtml": document(part.title, part.xhtml) for part in parts}
    files["contents.xhtml"] = document("Contents", navigation(parts))
    images = {path for part in parts for path in part.images}
    # E-readers older than EPUB 3.3 do not know WebP, the pages' kind of picture.
    files |= {f"images/{path.stem}.png": png(path) for path in sorted(images)}
    unfinished = target.with_suffix(".part")
    with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
        # By the standard this entry is the first, and not compressed.
        archive.writestr("mimetype", "application/epub+zip", zipfile.ZIP_STORED)
        archive.writestr("META-INF/container.xml", CONTAINER)
        archive.writestr("book/package.opf", package(parts, files))
        for name, content in files.items():
            archive.writestr(f"book/{name}", content)
    unfinished.replace(target)


CONTAINER = """\
<?xml version="1.0" encoding="UTF-8"?>
<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">
  <rootfiles>
    <rootfile full-path="book/package.opf" media-type="application/oebps-package+xml"/>
  </rootfiles>
</container>
"""
DOCUMENT = """\
<?xml version="1.0" encoding="UTF-8"?>
<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops" lang="en">
<head><title>{title}</title><link rel="stylesheet" href="book.css"/></head>
<body>
{body}
</body>
</html>
"""
PACKAGE = """\
<?xml version="1.0" encoding="UTF-8"?>
<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id" xml:lang="en">
  <metadata xmlns:dc="http://purl.org/dc/elements/1.1/">
    <dc:identifier id="id">urn:uuid:{identifier}</dc:identifier>
    <dc:title>{title}</dc:title>
    <dc:creator>{author}</dc:creator>
    <dc:language>en</dc:language>
    <dc:source>{address}</dc:source>
    <meta property="dcterms:modified">{date}</meta>
  </metadata>
  <manifest>
{items}
  </manifest>
  <spine>
    <itemref idref="file-contents"/>
{spine}
  </spine>
</package>
"""


def document(title: str, body: str) -> str:
    """Return a whole XHTML file."""
    return DOCUMENT.format(title=html.escape(title), body=body)


def navigation(parts: list[Article]) -> str:
    """Return the contents, which readers show as their menu, too."""
    items = []
    for part in parts:
        sections = "".join(
            f'<li><a href="{part.name}.xhtml#{section["id"]}">'
            f"{html.escape(section['title'])}</a></li>"
            for section in part.sections
        )
        inner = f"<ol>{sections}</ol>" if sections else ""
        items.append(f'<li><a href="{part.name}.xhtml">{html.escape(part.title)}</a>{inner}</li>')
    listed = "\n".join(items)
    return f'<nav epub:type="toc"><h1>Contents</h1>\n<ol>\n{listed}\n</ol></nav>'


def png(path: Path) -> bytes:
    """Return a picture in the format that every reader knows."""
    file = io.BytesIO()
    Image.open(path).save(file, "png")
    return file.getvalue()


def package(parts: list[Article], files: Iterable[str]) -> str:
    """Return the list of what the archive holds, and in which order it is read."""
    # Readers must be told which files need more than text.
    properties = {"contents.xhtml": "nav"}
    for part in parts:
        kinds = {"mathml": "<math", "svg": "<svg"}
        properties[f"{part.name}.xhtml"] = " ".join(
            kind for kind, tag in kinds.items() if tag in part.xhtml
        )
    types = {".xhtml": "application/xhtml+xml", ".css": "text/css", ".png": "image/png"}
    items = []
    for name in files:
        path = Path(name)
        more = f' properties="{properties[name]}"' if properties.get(name) else ""
        kind = types[path.suffix]
        items.append(f'    <item id="file-{path.stem}" href="{name}" media-type="{kind}"{more}/>')
    about = {key: html.escape(value) for key, value in book().items()}
    return PACKAGE.format(
        identifier=uuid.uuid5(uuid.NAMESPACE_URL, about["address"]),
        items="\n".join(items),
        spine="\n".join(f'    <itemref idref="file-{part.name}"/>' for part in parts),
        **about,
    )
