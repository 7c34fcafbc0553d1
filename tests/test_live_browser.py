"""Live figures in a real browser: by mouse, touch and keyboard, in either theme, on any page.

Run after the pages are built.  What is measured in time is printed, and decides nothing.
"""

import base64
import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import leave_out
from playwright.sync_api import Browser, BrowserContext, Locator, Page
from webserver import serving

from bookext import live

pytestmark = pytest.mark.slow

AXE = Path(__file__).parent / "browser" / "node_modules" / "axe-core" / "axe.min.js"
FIGURES = sorted({path.stem for path in live.modules()} - {"kit", "loader", "mathematics"})
LAPTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
LIGHTEST = 60_000  # bytes, compressed, of all scripts and data of a page
LATER = 95_000  # of what comes at the first touch

# Counts what each picture costs: the work between two frames.
WATCH = """
const wait = window.requestAnimationFrame.bind(window);
window.costs = [];
window.requestAnimationFrame = (work) => wait((now) => {
  const begin = performance.now();
  work(now);
  window.costs.push(performance.now() - begin);
});
"""


@pytest.fixture(scope="session")
def frames(site: Path) -> dict[str, str]:
    """Each figure as the first page that has it shows it."""
    found: dict[str, str] = {}
    for path in sorted((site / "book").glob("*.html")):
        page = path.read_text(encoding="utf-8")
        for frame, name in re.findall(r'(<div [^>]*data-live="(\w+)".*?</div>)', page, re.DOTALL):
            if name != "predict" or "&quot;offer&quot;" in frame:
                found.setdefault(name, frame)
    return found


@pytest.fixture(scope="session")
def small(site: Path, frames: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of the same files whose pages hold a figure each and nothing else.

    A browser takes seconds for a chapter; tests/test_browser.py opens them all.
    """
    folder = tmp_path_factory.mktemp("small")
    for name in ("_static", "_live", "_images"):
        (folder / name).symlink_to(site / name)
    head, _ = (site / "book" / "welcome.html").read_text(encoding="utf-8").split("<body", 1)
    # Of the scripts only those that the page brings itself, and the figures' own.
    head = re.sub(r'<script [^>]*src="(?!\S*/loader\.js)[^>]*></script>', "", head)
    (folder / "book").mkdir()
    asked = {"kind": "order", "name": "x", "label": "", "shown": "a or b – c"}
    asked |= {"options": ["a", "b", "c"], "ranks": [["b", "a"], ["c"]]}
    order = f"<div class='live-predict' data-live='predict' data-asked='{json.dumps(asked)}'></div>"
    others = {"pair": frames["wines"] + frames["prior_functions"], "order": order}
    for name, frame in (frames | others).items():
        article = f"<article class='bd-article'><h1>{name}</h1><section>{frame}</section></article>"
        page = f"{head}<body><main class='bd-main'>{article}</main></body></html>"
        (folder / "book" / f"{name}.html").write_text(page, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def addresses(small: Path) -> Iterator[dict[str, str]]:
    with serving(small) as address:
        yield {"folder": f"{small.as_uri()}/book/", "sub-path": f"{address}book/"}


@pytest.fixture
def problems() -> list[str]:
    return []


@pytest.fixture
def opened(browser: Browser, addresses: dict, problems: list) -> Iterator:
    """Open pages with a figure in sight; what goes wrong in them is collected."""
    contexts: list[BrowserContext] = []

    def open_at(
        name: str, where: str = "folder", page: str | None = None, **options
    ) -> tuple[Page, Locator]:
        context = browser.new_context(**{"viewport": LAPTOP, "color_scheme": "light"} | options)
        contexts.append(context)
        context.add_init_script(WATCH)
        tab = context.new_page()
        tab.on("console", lambda line: line.type == "error" and problems.append(line.text))
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.goto(f"{addresses[where]}{page or name}.html")
        frame = tab.locator(f'[data-live="{name}"]').first
        if options.get("java_script_enabled", True):
            run(frame)
        return tab, frame

    yield open_at
    for context in contexts:
        context.close()


def run(frame: Locator) -> None:
    """Bring a figure into sight, and wait until it is drawn there."""
    frame.scroll_into_view_if_needed()
    frame.page.wait_for_function("frame => frame.matches('.live-on')", arg=frame.element_handle())
    frame.locator(".live-stage").scroll_into_view_if_needed()
    settle(frame.page)


def settle(tab: Page) -> None:
    """Wait for two pictures: what an event asked for is drawn in the next one."""
    tab.evaluate(
        "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )


def told(frame: Locator) -> str:
    """What the figure says at the moment; a screen reader hears the same, later."""
    return frame.locator(".live-says").inner_text()


def drag(tab: Page, box: dict, path: list[tuple[float, float]]) -> None:
    """Press, move and release the mouse; places are shares of a box."""
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in path]
    tab.mouse.move(*points[0])
    tab.mouse.down()
    for point in points[1:]:
        tab.mouse.move(*point, steps=4)
    tab.mouse.up()
    settle(tab)


def wait_for_networks(tab: Page) -> None:
    """Wait until the networks that come at the first touch have answered."""
    tab.wait_for_function(
        "() => /probability/.test(document.querySelector('.live-says').innerText)"
    )


MOVED = [name for name in FIGURES if name != "predict"]
HANDS = {"last_layer": ".live-plot", "wines": ".live-plot", "sampler": ".live-plot"}
HANDS |= {"truck": ".live-paper"}


def test_every_figure_stands_in_the_book(frames: dict[str, str]) -> None:
    assert sorted(frames) == FIGURES


@pytest.mark.parametrize("where", ["folder", "sub-path"])
@pytest.mark.parametrize("name", MOVED)
def test_figure_answers_the_mouse(name: str, where: str, opened, problems: list) -> None:
    tab, frame = opened(name, where)
    stage = frame.locator(".live-stage")
    said = told(frame)
    if name in HANDS:
        hand = stage.locator(HANDS[name]).first
        drag(tab, hand.bounding_box(), [(0.5, 0.4), (0.6, 0.5)])
        if name == "last_layer":  # a drag over nothing adds no point
            assert told(frame) == said
            hand.click(position={"x": 300, "y": 60})
            settle(tab)
        if name == "truck":
            wait_for_networks(tab)
        assert told(frame) != said
    for slider in stage.locator("input[type=range]").all():
        before = slider.input_value()
        drag(tab, slider.bounding_box(), [(0.5, 0.5), (0.31, 0.5), (0.22, 0.5)])
        assert slider.input_value() != before
    words = {told(frame)}
    for label in stage.locator("label:has(input[type=radio], input[type=checkbox])").all():
        label.click()
        settle(tab)
        words.add(told(frame))
    for button in stage.locator("button").all():
        button.click()
        settle(tab)
        words.add(told(frame))
    assert len(words) > 1
    stage.locator(".live-heard").filter(has_text=re.compile(r"\w")).wait_for(state="attached")
    assert problems == []


@pytest.mark.parametrize("name", MOVED)
def test_figure_answers_the_keyboard(name: str, opened, problems: list) -> None:
    tab, frame = opened(name)
    stage = frame.locator(".live-stage")
    wanted = stage.locator("input, button, [tabindex='0']").count()
    # A group of radio buttons is one stop.
    stops = wanted - stage.locator("input[type=radio]:not(:checked)").count()
    stage.evaluate("stage => { stage.tabIndex = -1; stage.focus(); }")
    reached = []
    for _ in range(stops):
        tab.keyboard.press("Tab")
        here = tab.evaluate(
            """() => {
              const one = document.activeElement;
              const label = one.getAttribute("aria-label") || one.labels?.[0]?.innerText;
              const inside = Boolean(one.closest(".live-stage"));
              return [inside, one.matches(":focus-visible"), label || one.innerText];
            }"""
        )
        reached.append(here)
        said = told(frame)
        value = tab.evaluate("document.activeElement.value")
        if tab.evaluate("document.activeElement.matches('input[type=range], [role=application]')"):
            # One end may be where it stands already.
            tab.keyboard.press("ArrowLeft")
            settle(tab)
            if value is not None and tab.evaluate("document.activeElement.value") == value:
                tab.keyboard.press("ArrowRight")
            tab.keyboard.press("Enter")
            settle(tab)
            if name == "truck":
                tab.wait_for_timeout(300)
            changed = tab.evaluate("document.activeElement.value") != value
            assert changed or told(frame) != said, here
    assert all(inside and seen and label for inside, seen, label in reached), reached
    assert problems == []


@pytest.mark.parametrize("name", MOVED)
def test_figure_answers_a_finger(name: str, opened, problems: list) -> None:
    tab, frame = opened(name, viewport=PHONE, has_touch=True, is_mobile=True)
    stage = frame.locator(".live-stage")
    said = told(frame)
    touched = stage.locator(HANDS.get(name, "input[type=range]")).first
    touched.scroll_into_view_if_needed()
    box = touched.bounding_box()
    tab.touchscreen.tap(box["x"] + 0.55 * box["width"], box["y"] + 0.3 * box["height"])
    settle(tab)
    if name == "truck":
        wait_for_networks(tab)
    assert told(frame) != said
    for control in stage.locator("button, .live-choice label span").all():
        assert control.bounding_box()["height"] >= 30
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert problems == []


@pytest.mark.parametrize("name", FIGURES)
def test_figure_in_use_is_accessible(name: str, opened) -> None:
    if not AXE.is_file():
        leave_out("no axe", "npm ci --prefix tests/browser")
    tab, frame = opened(name)
    for button in frame.locator(".live-stage button").all()[:2]:
        if button.is_visible():  # an answer that is given hides the others
            button.click()
    tab.add_script_tag(content=AXE.read_text(encoding="utf-8"))
    found = []
    for scheme in ("light", "dark"):
        tab.evaluate("theme => { document.documentElement.dataset.theme = theme; }", scheme)
        violations = tab.evaluate("axe.run(document.querySelectorAll('[data-live]'))")["violations"]
        found += [f"{scheme}: {v['id']}: {v['nodes'][0]['html'][:200]}" for v in violations]
    assert found == []


@pytest.mark.parametrize("name", MOVED)
def test_without_javascript_the_still_stands(name: str, opened) -> None:
    _, frame = opened(name, java_script_enabled=False)
    picture = frame.locator("> svg[role=img]")
    assert picture.is_visible() and len(picture.get_attribute("aria-label")) >= 40
    assert frame.locator(".live-stage").count() == 0


@pytest.mark.parametrize("name", MOVED)
def test_paper_gets_the_still(name: str, opened) -> None:
    tab, frame = opened(name)
    assert not frame.locator("> svg").is_visible()
    tab.emulate_media(media="print")
    assert frame.locator("> svg").is_visible()
    assert not frame.locator(".live-stage").is_visible()


def test_the_paper_tells_the_distance_that_the_chapter_measures(
    frames: dict[str, str], small: Path, opened
) -> None:
    def read(kind: str) -> dict:
        (place,) = re.findall(rf'data-{kind}="\.\./([^"]*)"', frames["truck"])
        script = (small / place).read_text(encoding="utf-8")
        return json.loads(script[script.index("{") : script.rindex("}") + 1])

    def pixels(packed: dict) -> np.ndarray:
        flat = np.frombuffer(base64.b64decode(packed["bytes"]), np.uint8)
        return flat.reshape(len(flat) // 64, 64) / 16

    digits, training = pixels(read("data")["known"]), pixels(read("later")["images"])
    tab, frame = opened("truck")
    for digit in digits[:2]:
        nearest = np.sqrt(((training - digit) ** 2).sum(axis=1)).min()
        frame.get_by_role("button", name="A known digit").click()
        tab.wait_for_function(
            "wanted => document.querySelector('.live-says').innerText.includes(wanted)",
            arg=f"distance to the nearest training image {nearest:.2f}",
        )


def test_a_threshold_may_refuse_everything(opened, problems: list) -> None:
    tab, frame = opened("abstain")
    threshold, promise = frame.locator("input[type=range]").all()
    promise.focus()
    tab.keyboard.press("Home")  # half a percent: too few images to prove it
    frame.get_by_role("button", name="The proved threshold").click()
    settle(tab)
    assert told(frame).startswith("The proved threshold: 0 of ")
    assert threshold.get_attribute("aria-valuetext") == "nothing"
    assert problems == []


def test_two_hundred_points_and_what_an_update_costs(
    opened, problems: list, record_property
) -> None:
    tab, frame = opened("last_layer")
    canvas = frame.locator(".live-plot")
    box = canvas.bounding_box()
    for i in range(200):
        x, y = 80 + 11 * (i % 20) * (box["width"] - 120) / 240, 30 + 20 * (i // 20)
        tab.mouse.click(box["x"] + x, box["y"] + y)
    settle(tab)
    points = int(re.match(r"\d+", told(frame))[0])
    assert points >= 150  # those that were hit again are gone
    assert problems == []
    rows = []
    for name in ("last_layer", "wines", "prior_functions", "sampler", "game"):
        if name != "last_layer":
            tab, frame = opened(name)
        tab.evaluate("window.costs = []")
        for slider in frame.locator("input[type=range]").all():
            drag(tab, slider.bounding_box(), [(0.3, 0.5), (0.6, 0.5), (0.9, 0.5), (0.5, 0.5)])
        costs = sorted(tab.evaluate("window.costs.filter(cost => cost > 0.2)"))
        rows.append(f"{name}: median {costs[len(costs) // 2]:.1f} ms, largest {costs[-1]:.1f} ms")
    record_property("Work for one picture while a slider is dragged:", "\n".join(rows))


def test_theme_and_window_may_change(opened, problems: list) -> None:
    tab, frame = opened("wines")
    colour = "getComputedStyle(document.querySelector('.live-axes text')).fill"
    before = tab.evaluate(colour)
    tab.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert tab.evaluate(colour) != before
    tab.set_viewport_size(PHONE)
    settle(tab)
    for canvas in frame.locator(".live-plot").all():
        assert 250 < canvas.bounding_box()["width"] <= PHONE["width"]
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert problems == []


def test_two_figures_on_a_page_do_not_share_their_state(opened, problems: list) -> None:
    tab, first = opened("wines", page="pair")
    second = tab.locator('[data-live="prior_functions"]')
    run(second)
    said = told(first), told(second)
    second.locator("input[type=range]").first.press("ArrowLeft")
    settle(tab)
    assert told(first) == said[0] and told(second) != said[1]
    ids = tab.eval_on_selector_all(".live-stage [id]", "all => all.map(one => one.id)")
    names = tab.eval_on_selector_all(".live-stage [name]", "all => all.map(one => one.name)")
    assert len(set(ids)) == len(ids) and len(set(names)) >= 2
    assert problems == []


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_nothing_moves_by_itself_where_that_is_not_wanted(motion: str, opened) -> None:
    tab, frame = opened("sampler", reduced_motion=motion)
    at = """async (button) => {
      const ball = () => document.querySelector(".live-plot circle[r='8']").getAttribute("cx");
      const seen = new Set([ball()]);
      button.click();
      for (let k = 0; k < 8; k += 1) {
        await new Promise(requestAnimationFrame);
        seen.add(ball());
      }
      return seen.size;
    }"""
    places = tab.evaluate(at, frame.get_by_role("button", name="Random push").element_handle())
    assert places <= 2 if motion == "reduce" else places > 4


def test_predictions_are_kept_in_this_browser_and_can_be_forgotten(opened, problems: list) -> None:
    tab, frame = opened("predict", "sub-path")
    boxes = tab.locator('[data-live="predict"]')
    assert "The chapter finds" not in boxes.first.inner_text()
    frame.locator("button").first.click()
    assert "You said:" in frame.locator(".live-result").inner_text()
    assert "of 1 right" in frame.inner_text()
    tab.reload()
    run(frame)
    assert "You said:" in frame.inner_text()
    frame.get_by_role("button", name="Forget them").click()
    assert not frame.locator(".live-result").is_visible()
    assert tab.evaluate("localStorage.getItem('bnnbook-predictions')") == "{}"
    assert problems == []


@pytest.mark.parametrize(("moved", "verdict"), [(None, "✓"), ("b", "✓"), ("c", "✗")])
def test_those_that_share_a_rank_may_stand_in_any_order(moved, verdict: str, opened) -> None:
    _, frame = opened("predict", page="order")
    if moved:
        frame.get_by_role("button", name=f"Move {moved} up").click()
    frame.get_by_role("button", name="This is my order").click()
    assert f"The chapter finds: {verdict}" in frame.locator(".live-result").inner_text()


def test_numbers_and_orders_can_be_given(opened, site: Path, problems: list) -> None:
    tab, _ = opened("predict")
    tab.goto(f"{site.as_uri()}/book/pytorch_iris_classification.html")
    for kind in ("number", "order"):
        frame = tab.locator(f'.live-predict[data-asked*=\'"kind": "{kind}"\']').first
        run(frame)
        if kind == "number":
            frame.locator("input").fill("3")
            frame.locator("input").press("Enter")
        else:
            names = frame.locator("li span").all_inner_texts()
            frame.get_by_role("button", name=f"Move {names[0]} down").click()
            assert frame.locator("li span").all_inner_texts() == [names[1], names[0], *names[2:]]
            frame.get_by_role("button", name="This is my order").click()
        assert "The chapter finds" in frame.locator(".live-result").inner_text()
    assert problems == []


def weight(site: Path, name: str) -> int:
    """Bytes, compressed, of a module and all that it needs."""
    todo, seen = [name], set()
    while todo:
        module = todo.pop()
        if module not in seen:
            seen.add(module)
            script = (site / "_static" / "live" / f"{module}.js").read_text(encoding="utf-8")
            todo += re.findall(
                r'"(\w+)"', re.match(r'bookLive.define\("\w+", (\[.*?\])', script)[1]
            )
    return seen


def test_pages_stay_light(site: Path) -> None:
    def compressed(path: Path) -> int:
        return len(gzip.compress(path.read_bytes()))

    heavy = []
    for path in sorted((site / "book").glob("*.html")):
        page = path.read_text(encoding="utf-8")
        modules = {"loader"} if "data-live=" in page else set()
        for name in set(re.findall(r'data-live="(\w+)"', page)):
            modules |= weight(site, name)
        scripts = [site / "_static" / "live" / f"{name}.js" for name in modules]
        data = [site / "book" / place for place in re.findall(r'data-data="([^"]*)"', page)]
        total = sum(map(compressed, [*scripts, *data]))
        print(f"{path.stem}: {total} bytes of live figures")
        heavy += [f"{path.stem}: {total}"] if total > LIGHTEST else []
        for place in re.findall(r'data-later="([^"]*)"', page):
            assert compressed(site / "book" / place) <= LATER
    assert heavy == []


def test_the_text_comes_first(opened) -> None:
    tab, _ = opened("last_layer", "sub-path")
    times = tab.evaluate(
        """() => {
          const scripts = performance.getEntriesByType("resource")
            .filter(({ name }) => /\\/(live|_live)\\//.test(name) && !/loader/.test(name));
          const paint = performance.getEntriesByName("first-contentful-paint")[0].startTime;
          return [paint, ...scripts.map((one) => one.startTime)];
        }"""
    )
    assert len(times) == 5 and min(times[1:]) > times[0]  # kit, mathematics, the figure, its data


LEGIBLE = """() => {
  const small = [];
  const note = (size, text) => size < 9.95 && small.push(`${size.toFixed(1)} px: ${text}`);
  for (const text of document.querySelectorAll(".bd-article svg :is(text, tspan)")) {
    const own = [...text.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    const matrix = text.getScreenCTM();
    if (!own || !text.getClientRects().length) continue;
    const scale = Math.sqrt(Math.abs(matrix.a * matrix.d - matrix.b * matrix.c));
    note(parseFloat(getComputedStyle(text).fontSize) * scale, text.textContent.trim());
  }
  const words = "p, span, label, small, button, legend";
  for (const one of document.querySelectorAll(`.live-stage :is(${words})`)) {
    if (!one.getClientRects().length) continue;
    note(parseFloat(getComputedStyle(one).fontSize), one.textContent);
  }
  const shown = [...document.querySelectorAll(".bd-article .figure-svg > svg")].length;
  return { small, shown, wide: document.documentElement.scrollWidth - innerWidth };
}"""


def test_every_figure_is_legible_on_a_phone(site: Path, browser: Browser) -> None:
    context = browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True)
    tab = context.new_page()
    figures, found = 0, []
    for path in sorted((site / "book").glob("*.html")):
        tab.goto(path.as_uri())
        tab.add_style_tag(content="* { content-visibility: visible !important; }")
        frames = tab.locator("[data-live]:not(.live-predict)")
        for frame in frames.all():
            run(frame)
        state = tab.evaluate(LEGIBLE)
        found += [f"{path.stem}: {one}" for one in state["small"]]
        found += [f"{path.stem} is {state['wide']} pixels too wide"] if state["wide"] > 0 else []
        # And the stills, as paper and browsers without JavaScript show them.
        tab.evaluate(
            "document.querySelectorAll('.live-on').forEach(f => f.classList.remove('live-on'))"
        )
        tab.add_style_tag(content=".live-stage { display: none; }")
        state = tab.evaluate(LEGIBLE)
        found += [f"{path.stem}, still: {one}" for one in state["small"]]
        found += [f"{path.stem}: {state['wide']} pixels too wide"] if state["wide"] > 0 else []
        figures += state["shown"]
    context.close()
    assert found == []
    assert figures > 60
