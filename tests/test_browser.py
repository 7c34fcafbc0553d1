"""The built pages in a real browser: nothing from elsewhere, nothing missing, accessible, fast.

Run after the chapters are executed, like the tests of the build.  Without Chromium, or without
what `npm ci --prefix tests/browser` installs, the tests that need it are left out, and say so.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import leave_out
from playwright.sync_api import Browser, Page, Response

from bookext.pages import ROOT, pages

pytestmark = pytest.mark.slow

TOOLS = Path(__file__).parent / "browser" / "node_modules"
CHAPTERS = [page.path.relative_to(ROOT).with_suffix(".html").as_posix() for page in pages()]
NAMES = [*CHAPTERS, "search.html?q=posterior", "404.html"]
HEAVIEST = 500_000  # bytes of a first visit, compressed
PHONE, LAPTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 800}


@pytest.fixture
def watched(browser: Browser) -> Iterator[tuple[Page, list[str], list[Response]]]:
    """Open an empty tab, with a list of what goes wrong in it, and one of what it loads."""
    context = browser.new_context(viewport=LAPTOP, color_scheme="light")
    tab = context.new_page()
    problems: list[str] = []
    loaded: list[Response] = []
    tab.on("console", lambda line: line.type == "error" and problems.append(line.text))
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.on("requestfailed", lambda request: problems.append(f"failed: {request.url}"))
    tab.on("response", lambda response: loaded.append(response))
    yield tab, problems, loaded
    context.close()


@pytest.mark.parametrize("name", NAMES)
def test_page_is_complete_and_private(name: str, address: str, watched) -> None:
    tab, problems, loaded = watched
    tab.goto(address + name)
    tab.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    tab.wait_for_load_state("networkidle")
    assert problems == []
    urls = [response.url for response in loaded]
    assert [url for url in urls if not url.startswith((address, "data:"))] == []
    assert [response.url for response in loaded if response.status >= 400] == []
    # The search page also fetches the pages that it found, for their summaries: no part of it.
    parts = [response for response in loaded if response.request.resource_type != "fetch"]
    weight = sum(int(response.headers.get("content-length", 0)) for response in parts)
    assert weight <= HEAVIEST, f"{name} weighs {weight} bytes"
    assert tab.evaluate("[...document.images].filter(i => !i.complete).map(i => i.src)") == []


@pytest.mark.parametrize("name", NAMES)
def test_page_works_from_a_folder(name: str, site: Path, watched) -> None:
    tab, problems, loaded = watched
    tab.goto(f"{site.as_uri()}/{name}")
    tab.wait_for_load_state("networkidle")
    # A browser does not let a page on disk read its neighbours: no summaries of search results.
    assert [problem for problem in problems if "search.html" not in name] == []
    assert [r.url for r in loaded if not r.url.startswith(("file:", "data:"))] == []


@pytest.mark.parametrize("name", NAMES)
def test_page_is_accessible_and_fits(name: str, address: str, watched) -> None:
    axe = TOOLS / "axe-core" / "axe.min.js"
    if not axe.is_file():
        leave_out("no axe", "npm ci --prefix tests/browser")
    tab, _, _ = watched
    tab.goto(address + name)
    tab.add_script_tag(content=axe.read_text(encoding="utf-8"))
    # Nothing may be left out because it is not laid out yet.  One piece of code of each colour is
    # enough, and figures are named as a whole: axe takes minutes for ten thousand elements.
    tab.add_style_tag(content="* { content-visibility: visible !important; }")
    tab.evaluate(
        """const seen = new Set();
           for (const span of document.querySelectorAll("pre span")) {
             if (seen.has(span.className)) span.replaceWith(span.textContent);
             seen.add(span.className);
           }
           for (const part of document.querySelectorAll(".figure-svg svg *")) part.remove();"""
    )
    colours = ["color-contrast", "link-in-text-block"]
    found = []
    for scheme, size, options in [
        ("light", LAPTOP, {}),
        ("dark", LAPTOP, {"runOnly": colours}),
        ("light", PHONE, {"rules": {rule: {"enabled": False} for rule in colours}}),
    ]:
        tab.emulate_media(color_scheme=scheme)
        tab.set_viewport_size(size)
        # Colours fade, and what is wide enough to scroll becomes reachable by keyboard.
        tab.wait_for_timeout(500)
        violations = tab.evaluate(
            "options => axe.run(document, options)",
            options | {"resultTypes": ["violations"]},
        )["violations"]
        found += [
            f"{scheme}, {size['width']} wide: {violation['id']}: {violation['nodes'][0]['html']}"
            for violation in violations
        ]
        wide = tab.evaluate("document.documentElement.scrollWidth - innerWidth")
        if wide > 0:
            found.append(f"{size['width']} wide: the page is {wide} pixels too wide")
    assert found == []


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_picture_says_what_it_shows(name: str, address: str, watched) -> None:
    tab, _, _ = watched
    tab.goto(address + name)
    silent = tab.evaluate(
        """[...document.querySelectorAll(".bd-article img, .bd-article svg:not(button svg)")]
           .filter(e => !e.closest("[aria-hidden]"))
           .filter(e => !(e.alt || e.getAttribute("aria-label") || "").trim())
           .map(e => e.outerHTML.slice(0, 100))"""
    )
    assert silent == []


def test_search_finds_words_of_chapters(address: str, watched) -> None:
    tab, problems, _ = watched
    tab.goto(f"{address}search.html?q=evidence")
    tab.wait_for_selector("#search-results li a")
    assert problems == []


@pytest.mark.parametrize("term", ["recalibration", "Hamiltonian Monte Carlo", "Kullback"])
def test_search_finds_terms_of_the_glossary(term: str, address: str, watched) -> None:
    tab, problems, _ = watched
    tab.goto(f"{address}search.html?q={term.replace(' ', '+')}")
    tab.wait_for_selector("#search-results li a")
    found = tab.eval_on_selector_all("#search-results li a", "links => links.map(a => a.href)")
    assert any("glossary.html" in href for href in found)
    assert problems == []


def test_search_is_reached_and_used_by_keyboard(address: str, watched) -> None:
    tab, _, _ = watched
    tab.goto(address + CHAPTERS[0])
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.textContent").strip() == "Skip to main content"
    tab.keyboard.press("Control+k")
    tab.keyboard.type("posterior")
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#search-results li a")


def test_theme_can_be_chosen_and_is_remembered(address: str, watched) -> None:
    tab, _, _ = watched
    tab.goto(address + CHAPTERS[0])
    for _ in range(3):
        tab.click(".theme-switch-button")
        if tab.evaluate("document.documentElement.dataset.theme") == "dark":
            break
    tab.goto(address + CHAPTERS[1])
    assert tab.evaluate("document.documentElement.dataset.theme") == "dark"


def test_folded_solutions_open(address: str, watched) -> None:
    tab, _, _ = watched
    for name in CHAPTERS:
        tab.goto(address + name)
        for solution in tab.locator(".solution.toggle").all()[:1]:
            hidden = solution.locator("p:not(.admonition-title)").first
            assert not hidden.is_visible(), name
            solution.locator("button.toggle-button").click()
            hidden.wait_for(state="visible")


def test_code_can_be_copied(address: str, browser: Browser) -> None:
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    tab = context.new_page()
    tab.goto(address + CHAPTERS[1])
    code = tab.locator("div.cell_input pre").first.inner_text()
    tab.locator("div.cell_input").first.hover()
    tab.locator("button.copybtn").first.click()
    tab.locator("button.copybtn.success").wait_for()
    assert tab.evaluate("navigator.clipboard.readText()").strip() == code.strip()
    context.close()
