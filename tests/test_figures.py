"""Figures take the page's colours, can share a page, and need a text that stands for them."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy.stats import binom

from bnnbook import figures
from bnnbook.predictive import ClassificationPredictive, RegressionPredictive

ALT = "Two lines cross in the middle: neither method is better everywhere."


@pytest.fixture
def shown(monkeypatch):
    outputs = []
    monkeypatch.setattr(figures, "display", lambda data, **_: outputs.append(data))
    return outputs


def draw(seed=0):
    figure, axes = figures.subplots()
    axes.plot(np.random.default_rng(seed).normal(size=5), marker="o", label="a < b & c")
    axes.legend()
    return figure


def ids(html):
    return re.findall(r' id="([^"]+)"', html)


def test_figure_is_one_inline_svg_with_alt_text(shown):
    figures.show(draw(), alt=ALT)
    html, plain = shown[0]["text/html"], shown[0]["text/plain"]
    root = ElementTree.fromstring(html)
    svg = root[0]
    assert svg.tag.endswith("svg") and svg.get("role") == "img" and svg.get("aria-label") == ALT
    assert plain == ALT


def test_ink_takes_the_page_colour_and_paper_is_transparent(shown):
    figures.show(draw(), alt=ALT)
    html = shown[0]["text/html"]
    assert "currentColor" in html and figures.INK not in html
    assert "fill: #ffffff" not in html


def test_references_inside_the_svg_still_resolve(shown):
    figures.show(draw(), alt=ALT)
    html = shown[0]["text/html"]
    referred = set(re.findall(r'(?:href="#|url\(#)([^")]+)', html))
    assert referred and referred == set(ids(html))


def test_two_figures_share_no_identifier(shown):
    figures.show(draw(0), alt=ALT)
    figures.show(draw(1), alt=ALT)
    first, second = (set(ids(data["text/html"])) for data in shown)
    assert not first & second


def test_the_same_figure_gives_the_same_bytes(shown):
    figures.show(draw(), alt=ALT)
    figures.show(draw(), alt=ALT)
    assert shown[0] == shown[1]


def test_alt_text_is_required_and_escaped(shown):
    with pytest.raises(ValueError, match="what the figure shows and what it means, got 'a plot'"):
        figures.show(draw(), alt="a plot")
    figures.show(draw(), alt='Shares "<" and "&" of the wines, both of which must be escaped.')
    assert '"&lt;"'.replace('"', "&quot;") in shown[0]["text/html"]


def test_colours_have_contrast_on_white_and_on_dark():
    def luminance(colour):
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return np.dot([0.2126, 0.7152, 0.0722], linear)

    def contrast(a, b):
        high, low = sorted([luminance(a), luminance(b)], reverse=True)
        return (high + 0.05) / (low + 0.05)

    for colour in figures.COLOURS:
        for page in ("#ffffff", "#14181e"):  # the theme's light and dark backgrounds
            assert contrast(colour, page) >= 3, (colour, page)


def test_band_draws_the_interval_and_the_expectation():
    _, axes = figures.subplots()
    x = np.linspace(0, 1, 4)
    predictive = RegressionPredictive(np.zeros((1, 4)), np.ones((1, 4)))
    figures.band(axes, x, predictive, label="standard Normal", level=0.9)
    assert axes.lines[0].get_ydata().tolist() == [0, 0, 0, 0]
    edge = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert edge.max() == pytest.approx(1.645, abs=1e-3)


def test_class_scatter_uses_a_marker_for_each_class():
    _, axes = figures.subplots()
    x = np.arange(6.0)
    figures.class_scatter(axes, x, x, np.array([0, 1, 2, 0, 1, 2]), ["a", "b", "c"])
    assert [len(c.get_offsets()) for c in axes.collections] == [2, 2, 2]
    shapes = {c.get_paths()[0].vertices.tobytes() for c in axes.collections}
    assert len(shapes) == 3


def test_reliability_draws_bins_and_the_bars_of_a_right_predictive():
    # 300 predictions of 0.75, of which 210 come true, and 100 of 0.95, of which 95 do.
    top = np.repeat([0.75, 0.95], [300, 100])
    predictive = ClassificationPredictive(np.stack([top, 1 - top], axis=1)[None])
    y = np.concatenate([np.arange(300) >= 210, np.arange(100) >= 95]).astype(int)
    _, axes = figures.subplots()
    figures.reliability(axes, predictive, y)
    bars, markers = axes.collections
    np.testing.assert_allclose(markers.get_offsets(), [[0.75, 0.70], [0.95, 0.95]])
    assert markers.get_sizes()[0] > markers.get_sizes()[1]
    # The count of a bin is binomial: its 5 % and 95 % quantiles, but for simulation.
    for segment, n, p in zip(bars.get_segments(), (300, 100), (0.75, 0.95), strict=True):
        exact = binom.ppf([0.05, 0.95], n, p) / n
        np.testing.assert_allclose(segment[:, 1], exact, atol=1.5 / n)
