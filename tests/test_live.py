"""Live figures before a browser sees them: data, scripts, questions that claims answer."""

import base64
import json
import re

import numpy as np
import pytest
from sphinx.errors import ExtensionError

from bnnbook import figures
from bookext import live, predictions

ALT = "Two lines cross in the middle: neither method is better everywhere."


def still():
    figure, axes = figures.subplots()
    axes.plot([0, 1])
    return figure


def data_of(page, kind="data"):
    (text,) = re.findall(
        rf'<script type="application/json" class="live-{kind}">(.*?)</script>', page
    )
    return json.loads(text)


def test_output_holds_the_still_and_the_data(monkeypatch):
    shown = []
    monkeypatch.setattr(figures, "display", lambda data, **_: shown.append(data))
    data = {"a": np.array([[1, 2.123456789]]), "b": ["</script>", np.float64(0.5), np.int64(3)]}
    figures.live("truck", data, still=still(), alt=ALT, later={"c": True})
    page = shown[0]["text/html"]
    assert page.startswith('<div class="figure-svg live" data-live="truck"><svg role="img"')
    assert page.count("</script>") == 2
    assert data_of(page) == {"a": [[1, 2.12346]], "b": ["</script>", 0.5, 3]}
    assert data_of(page, "later") == {"c": True}
    assert shown[0]["text/plain"] == ALT


def test_small_arrays_are_packed():
    halves = np.array([[0.5, -2], [1 / 3, 6]], dtype=np.float16)
    page = figures.frame(
        "x", {"h": halves, "b": np.arange(3, dtype=np.uint8)}, still=still(), alt=ALT
    )
    packed = data_of(page)
    assert packed["h"]["shape"] == [2, 2] and packed["b"]["shape"] == [3]
    kept = np.frombuffer(base64.b64decode(packed["h"]["halves"]), "<f2")
    assert np.array_equal(kept, halves.ravel())
    assert base64.b64decode(packed["b"]["bytes"]) == b"\0\1\2"


def test_what_is_no_number_is_refused():
    with pytest.raises(ValueError):
        figures.frame("x", {"a": np.array([np.nan])}, still=still(), alt=ALT)


def test_data_go_into_a_file_named_after_their_digest(tmp_path):
    frames = [
        figures.frame("truck", {"a": a}, still=still(), alt=ALT, later={"b": 1}) for a in (1, 2, 1)
    ]
    pages = [live.with_files(f"<p>{frame}</p>", tmp_path, "../_live") for frame in frames]
    assert pages[0] == pages[2] != pages[1]
    places = re.findall(r' data-(data|later)="\.\./_live/(truck-\w{12})\.js"', "".join(pages[:2]))
    assert len(places) == 4 and len(set(places)) == 3  # what comes later is the same
    for kind, name in set(places):
        script = (tmp_path / "_live" / f"{name}.js").read_text()
        assert script.startswith(f'bookLive.data("{name}", {{"{"a" if kind == "data" else "b"}"')
    assert "<script" not in pages[0] and "<svg" in pages[0]


def test_a_figure_without_a_module_stops_the_build(tmp_path):
    page = figures.frame("nowhere", {}, still=still(), alt=ALT)
    with pytest.raises(ExtensionError, match="no book/live/nowhere"):
        live.with_files(page, tmp_path, "_live")


def test_modules_become_scripts():
    source = (
        'import { a, b } from "./kit.js";\n\nexport const c = a(b);\nexport function start() {}\n'
    )
    script = live.wrapped("one", source)
    assert script.startswith('bookLive.define("one", ["kit"], ({ a, b }) => {\n')
    assert "\nconst c = a(b);\nfunction start() {}\n" in script
    assert script.endswith("return { c, start };\n});\n")
    for form in ('import a from "./kit.js";', "export default a;", "export { a };"):
        with pytest.raises(ExtensionError, match="not known"):
            live.wrapped("one", form)


def test_modules_are_short():
    for path in live.modules():
        if path.stem not in ("kit", "mathematics"):
            lines = path.read_text(encoding="utf-8").splitlines()
            assert len(lines) <= 200, path.name
            assert max(map(len, lines)) <= 120, path.name


def claim(name, low, value, high, text="0.1"):
    return {name: {"name": name, "low": low, "value": value, "high": high, "text": text}}


CLAIMS = claim("a", 1, 2, 3) | claim("b", 4, 5, 6) | claim("c", 0, 0.1, 0.2)


def asked(comment):
    return predictions.ask(*predictions.COMMENT.fullmatch(comment).groups(), CLAIMS)


def test_an_offer_is_answered_by_the_option_that_holds_the_claims_range():
    question = asked("<!-- offer a (the first): less = 0 .. 0.9 | more = 0.9 .. 9 -->")
    assert question["options"] == ["less", "more"] and question["right"] == "more"
    assert question["label"] == "the first" and question["shown"] == "more (0.1)"
    for options in ("less = 0 .. 2 | more = 2 .. 9", "less = 0 .. 1", "a = 0 .. 5 | b = 1 .. 3"):
        with pytest.raises(predictions.Unanswerable, match="lies in"):
            asked(f"<!-- offer a: {options} -->")


def test_a_number_is_that_of_the_claim():
    question = asked("<!-- number b:\n  per cent -->")
    assert (question["value"], question["low"], question["high"]) == (5, 4, 6)
    assert question["unit"] == "per cent" and question["shown"] == "0.1 per cent"


def test_an_order_is_that_of_the_claims():
    question = asked("<!-- order: two = a | three = b | one = c -->")
    assert question["options"] == ["two", "three", "one"]
    assert question["ranks"] == [["one"], ["two"], ["three"]]
    assert question["shown"] == "one – two – three"
    with pytest.raises(predictions.Unanswerable, match="no claim 'd'"):
        asked("<!-- order: two = a | four = d -->")


def test_what_may_change_places_shares_a_rank():
    def ranks(*ranges):
        claims = {
            f"{low}-{high}": {"low": low, "value": v, "high": high} for low, v, high in ranges
        }
        return predictions.ranked(claims)

    assert ranks((2, 3, 4), (0, 1, 2)) == [["0-2"], ["2-4"]]  # they touch
    assert ranks((1, 3, 4), (0, 1, 2), (5, 6, 7)) == [["0-2", "1-4"], ["5-7"]]
    # The first reaches beyond the second, up to the third.
    assert ranks((0, 1, 6), (2, 3, 4), (5, 7, 8), (9, 9, 9)) == [["0-6", "2-4", "5-8"], ["9-9"]]
    claims = claim("a", 1, 2, 3) | claim("b", 2, 4, 6)
    with pytest.raises(predictions.Unanswerable, match="overlap"):
        predictions.ask("order", None, None, "one = a | two = b", claims)
