"""The book in one file: a PDF and an EPUB that hold every page, with working links."""

import xml.etree.ElementTree as ET
import zipfile
from collections import Counter
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import Browser
from pypdf import PageObject, PdfReader

from bookext import printing
from bookext.pages import pages

pytestmark = pytest.mark.slow
XHTML, MATHML = "{http://www.w3.org/1999/xhtml}", "{http://www.w3.org/1998/Math/MathML}"
OPF, SVG = "{http://www.idpf.org/2007/opf}", "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="session")
def pdf(site: Path, browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> PdfReader:
    target = tmp_path_factory.mktemp("printed") / "book.pdf"
    printing.make_pdf(target, browser)
    assert [path.name for path in target.parent.iterdir()] == ["book.pdf"]
    return PdfReader(target)


@pytest.fixture(scope="session")
def epub(site: Path, browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("printed") / "book.epub"
    printing.make_epub(target, browser)
    assert [path.name for path in target.parent.iterdir()] == ["book.epub"]
    return target


@pytest.fixture(scope="session")
def unpacked(epub: Path) -> Path:
    folder = epub.parent / "unpacked"
    zipfile.ZipFile(epub).extractall(folder)
    return folder / "book"


def titles(entries: list) -> list[str]:
    """List the bookmarks of the first level."""
    return [entry["/Title"] for entry in entries if not isinstance(entry, list)]


def heading(path: Path) -> str:
    """Return the title in a page's source."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return next(line for line in lines if line.startswith("# ")).removeprefix("# ")


def test_pdf_has_every_page_as_a_bookmark(pdf: PdfReader) -> None:
    marks = titles(pdf.outline)
    assert len(marks) == len(pages())
    for page, mark in zip(pages(), marks, strict=True):
        assert mark.endswith(heading(page.path))
    chapters = [entry for entry in pdf.outline if isinstance(entry, list)]
    assert sum(len(titles(sections)) for sections in chapters) > 5 * len(pages())


def test_links_of_the_pdf_stay_inside_or_lead_to_the_web(pdf: PdfReader) -> None:
    known = set(pdf.named_destinations)
    inside, outside = [], []
    for page in pdf.pages:
        for annotation in page.get("/Annots", []):
            link = annotation.get_object()
            if "/Dest" in link:
                inside.append(link["/Dest"])
            elif "/A" in link and "/URI" in link["/A"]:
                outside.append(str(link["/A"]["/URI"]))
    assert len(inside) > 300
    assert [str(name) for name in inside if str(name) not in known] == []
    assert {urlsplit(url).scheme for url in outside} <= {"https", "http"}


def test_pdf_has_contents_and_page_numbers(pdf: PdfReader) -> None:
    assert "Contents" in pdf.pages[1].extract_text()
    assert pdf.pages[20].extract_text().rstrip().splitlines()[-1].strip() == "21"


def test_epub_is_an_archive_as_the_standard_asks(epub: Path) -> None:
    archive = zipfile.ZipFile(epub)
    first = archive.infolist()[0]
    assert (first.filename, first.compress_type) == ("mimetype", zipfile.ZIP_STORED)
    assert archive.read("mimetype") == b"application/epub+zip"
    package = ET.fromstring(archive.read("book/package.opf"))
    listed = {f"book/{item.get('href')}" for item in package.iter(f"{OPF}item")}
    packed = {name for name in archive.namelist() if name.startswith("book/")}
    assert listed == packed - {"book/package.opf"}
    order = [reference.get("idref") for reference in package.iter(f"{OPF}itemref")]
    assert order == [f"file-{name}" for name in ["contents", *(page.path.stem for page in pages())]]


def test_links_and_pictures_of_the_epub(unpacked: Path) -> None:
    trees = {path: ET.parse(path) for path in unpacked.glob("*.xhtml")}
    anchors = {}
    for path, tree in trees.items():
        ids = Counter(element.get("id") for element in tree.iter() if element.get("id"))
        assert [name for name, count in ids.items() if count > 1] == [], path.name
        anchors[path] = set(ids)
    broken = []
    for path, tree in trees.items():
        for element in tree.iter():
            reference = element.get("href") or element.get("src") or ""
            reference = reference or element.get("{http://www.w3.org/1999/xlink}href", "")
            parts = urlsplit(reference)
            if not reference or parts.scheme in {"http", "https", "mailto"}:
                continue
            target = (path.parent / PurePosixPath(unquote(parts.path))) if parts.path else path
            if not target.is_file() or (
                parts.fragment
                and target in anchors
                and unquote(parts.fragment) not in anchors[target]
            ):
                broken.append(f"{path.name}: {reference}")
    assert broken == []


def test_epub_has_the_text_the_formulas_and_the_figures(unpacked: Path, site: Path) -> None:
    for page in pages():
        article = ET.parse(unpacked / f"{page.path.stem}.xhtml")
        built = (site / "book" / f"{page.path.stem}.html").read_text(encoding="utf-8")
        text = "".join(article.getroot().itertext())
        for namespace, tag, written in ((MATHML, "math", "<math"), (SVG, "svg", "<svg role")):
            shown = sum(1 for _ in article.iter(f"{namespace}{tag}"))
            assert shown == built.count(written), f"{tag} in {page.path.stem}"
        # Folded checks stay out; folded solutions lie open.
        assert "Show the checks behind these numbers" not in text
        folded = [
            element.get("class")
            for element in article.iter()
            if {"toggle", "dropdown"} & set(element.get("class", "").split())
        ]
        assert folded == []


def leading(page: PageObject) -> list[str]:
    """Return the addresses of other sites to which a page of the PDF has links."""
    links = [link.get_object() for link in page.get("/Annots", ())]
    return [link["/A"].get("/URI", "") for link in links if "/A" in link]


def test_live_figures_say_where_they_move(pdf: PdfReader, unpacked: Path, site: Path) -> None:
    # Text is slow to read from a PDF: where a line says where to, there is a link.
    told = (page for page in pdf.pages if any("/book/" in address for address in leading(page)))
    printed = " ".join(page.extract_text() for page in told)
    live = 0
    for page in pages():
        built = (site / "book" / f"{page.path.stem}.html").read_text(encoding="utf-8")
        shown = built.count('class="figure-svg live"')
        article = (unpacked / f"{page.path.stem}.xhtml").read_text(encoding="utf-8")
        assert article.count("This figure moves") == shown
        assert article.count(f'/book/{page.path.stem}.html">') >= shown
        assert "live-stage" not in article
        live += shown
    assert live >= 9
    assert printed.count("This figure moves") == live


def test_pages_of_the_epub_open(unpacked: Path, browser: Browser) -> None:
    tab = browser.new_page(viewport={"width": 600, "height": 800})
    for page in pages():
        failed = []
        tab.on("requestfailed", lambda request, failed=failed: failed.append(request.url))
        tab.goto((unpacked / f"{page.path.stem}.xhtml").as_uri())
        assert failed == []
        assert heading(page.path) in tab.text_content("h1")
        width = tab.evaluate("document.documentElement.scrollWidth")
        assert width <= 600, f"{page.path.stem} is {width} pixels wide"
    tab.close()
