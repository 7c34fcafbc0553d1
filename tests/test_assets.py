"""The site's style sheet loses what no page uses, and nothing else."""

import re
import shutil
from pathlib import Path

import pytest
from fontTools.ttLib import TTFont

from bookext import assets
from bookext.pages import ROOT

CSS = """\
@charset "utf-8";
@import url("other.css");
/* a comment with } and .gone {} */
a { color: red; }
.kept, .gone { color: blue }
.kept .gone { color: blue }
.kept:not(.gone) { content: "}"; background: url(data:image/svg+xml;utf8,x{y}) }
@media (min-width: 1px) { .kept { top: 0 } .gone { top: 0 } }
@media print { .gone { top: 0 } }
@font-face { font-family: X; src: url("x.woff2") }
.w-1\\/2 { width: 50% }
@keyframes turn { from { top: 0 } to { top: 1px } }
"""


def test_rules_of_used_classes_are_kept() -> None:
    plain = re.sub(r"\s+", " ", assets.used(CSS, {"kept"}))
    assert "gone {" not in plain and ".kept .gone" not in plain
    assert "@import" not in plain and "@charset" not in plain and "@media print" not in plain
    for rule in (
        "a{color: red;}",
        ".kept{color: blue}",
        '.kept:not(.gone){content: "}"; background: url(data:image/svg+xml;utf8,x{y})}',
        "@media (min-width: 1px){.kept{top: 0}}",
        '@font-face{font-family: X; src: url("x.woff2")}',
        "@keyframes turn{from{top: 0}to{top: 1px}}",
    ):
        assert rule in plain


class Everything(set):
    def __contains__(self, word: object) -> bool:
        return True


@pytest.mark.parametrize("package", ["sphinx_togglebutton", "pydata_sphinx_theme", "myst_nb"])
def test_nothing_else_is_lost(package: str) -> None:
    module = pytest.importorskip(package)
    (folder,) = module.__path__
    sources = [path for path in assets.Path(folder).rglob("*.css") if "vendor" not in path.parts]
    assert sources
    for source in sources:
        css = source.read_text(encoding="utf-8")
        assert plain(assets.used(css, Everything())) == plain(css), source.name


def plain(css: str) -> str:
    """Drop comments, imports, spaces, last semicolons and empty rules."""
    css = re.sub(r"/\*.*?\*/|@(?:import|charset)[^;]*;|\s", "", css, flags=re.DOTALL)
    return re.sub(r"[^{}]*\{\}", "", css.replace(";}", "}"))


def test_fonts_are_cut_anew_when_an_input_changes(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(assets, "FONTS", tmp_path / "cut")
    font = tmp_path / "font.woff2"
    shutil.copy(ROOT / "book/_static/fonts/source-serif-4.woff2", font)
    first = assets.cut_font(font, {"a", "b"})
    assert {chr(code) for code in TTFont(first).getBestCmap()} == {"a", "b"}
    # Not when it was cut: a build that cuts it anew gives the same file.
    assert TTFont(first)["head"].modified == TTFont(font)["head"].modified
    first.write_bytes(b"kept")
    assert assets.cut_font(font, {"b", "a"}).read_bytes() == b"kept"
    other_letters = assets.cut_font(font, {"a", "c"})
    assert {chr(code) for code in TTFont(other_letters).getBestCmap()} == {"a", "c"}
    shutil.copy(ROOT / "book/_static/fonts/source-serif-4-italic.woff2", font)
    other_font = assets.cut_font(font, {"a", "b"})
    monkeypatch.setattr(assets, "version", lambda package: "0")
    assert len({first, other_letters, other_font, assets.cut_font(font, {"a", "b"})}) == 4
