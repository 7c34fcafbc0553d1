"""After the pages are written, cuts style sheets and fonts down to what the pages use.

Upstream, each page waits for ten style sheets (110 KB compressed, nine tenths of them unused), and
loads whole alphabets of letters and icons.  The results are in `_static/book`; what they replace is
deleted from the built site.
"""

import hashlib
import re
import shutil
from importlib.metadata import version
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

from .pages import ROOT

FONTS = ROOT / "_build" / ".fonts"
# The theme links these by itself, in this order; extensions' style sheets follow.
THEME_STYLES = ["basic.css", "styles/theme.css", "styles/pydata-sphinx-theme.css"]
# Nothing on a page refers to these any more.
SURPLUS = [
    "fonts",
    "locales",
    "scripts/fontawesome.js",
    "scripts/fontawesome.js.LICENSE.txt",
    "sbt-webpack-macros.html",
    "sphinx-thebe.js",
    "vendor",
    "webpack-macros.html",
]
STRING = r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|\([^()]*\)"
# The head of a rule or of a group of rules up to `{`; or `@import …;`; or the `}` of a group.
HEAD = re.compile(rf"((?:{STRING}|[^{{}};\"'])*)\{{|(@[^{{}};]*;)|\}}")
BODY = re.compile(rf"((?:{STRING}|[^{{}}\"'])*)\}}")
CLASS = re.compile(r"\.((?:[A-Za-z_-]|\\.)(?:[\w-]|\\.)*)")
FONT = re.compile(r"url\([^()]*?([\w-]+\.woff2)[^()]*\)")
# In the theme's script: the call that measures every block of the page; book.js does it better.
MEASURE_ALL = re.compile(r"(\{subtree:!0,childList:!0\}\)),e\(\)\}")
# Kerning, ligatures, and what formulas need (scripts, flattened accents).
FEATURES = ["kern", "liga", "mark", "ccmp", "ssty", "dtls", "flac", "tnum"]
ICON = re.compile(r"content:\s*\"\\([0-9a-f]{4})\"")


def setup(app: Sphinx) -> None:
    """Collect the style sheets while pages are written, and bundle them at the end."""
    app.connect("html-page-context", remember_styles, priority=900)
    app.connect("build-finished", cut_down, priority=900)  # the theme writes pygments.css there


def remember_styles(
    app: Sphinx, pagename: str, template: str, context: dict, doctree: nodes.document | None
) -> None:
    """Note which style sheets the extensions ask for, in their order."""
    names = [str(getattr(style, "filename", style)) for style in context["css_files"]]
    app.builder.book_styles = [name.removeprefix("_static/").split("?")[0] for name in names]


def cut_down(app: Sphinx, exception: Exception | None) -> None:
    """Write one style sheet, and each font with the characters that occur."""
    if exception or app.builder.name != "html" or not hasattr(app.builder, "book_styles"):
        return
    static = Path(app.outdir, "_static")
    target = static / "book"
    target.mkdir(exist_ok=True)
    pages = [
        page.read_text(encoding="utf-8")
        for page in Path(app.outdir).rglob("*.html")
        if static not in page.parents
    ]
    scripts = [path.read_text(encoding="utf-8") for path in static.rglob("*.js")]
    # Every word of a script may be a class that it sets.
    names = re.findall(r'class="([^"]*)"', " ".join(pages))
    words = set(re.findall(r"[\w-]+", " ".join([*names, *scripts])))
    styles = [static / name for name in THEME_STYLES + app.builder.book_styles]
    css = "\n".join(used(style.read_text(encoding="utf-8"), words) for style in styles)
    css = re.sub(r",\s*url\([^()]*\.ttf\)\s*format\(\"truetype\"\)", "", css)
    (target / "book.css").write_text(FONT.sub(r"url(\1)", css), encoding="utf-8")

    letters = set("".join(pages))
    icons = {chr(int(code, 16)) for code in ICON.findall(css)}
    needed = {
        **dict.fromkeys((static / "fonts").glob("*.woff2"), letters),
        **dict.fromkeys((static / "vendor/fontawesome/webfonts").glob("*.woff2"), icons),
    }
    cut = {font: cut_font(font, characters) for font, characters in needed.items()}
    for font, path in cut.items():
        shutil.copyfile(path, target / font.name)
    for path in set(FONTS.iterdir()) - set(cut.values()):
        path.unlink()

    for path in static.rglob("*.js"):
        script = path.read_text(encoding="utf-8")
        # Browsers' tools would ask for the maps of the scripts.
        lighter = re.sub(r"//# sourceMappingURL=.*", "", script)
        if path.name == "pydata-sphinx-theme.js":
            lighter, found = MEASURE_ALL.subn(r"\1}", lighter)
            if found != 1:
                raise ExtensionError("the theme's script has changed: see MEASURE_ALL in assets.py")
        path.write_text(lighter, encoding="utf-8")
    for path in [*(static / name for name in SURPLUS), *styles, *static.rglob("*.map")]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def used(css: str, words: set[str]) -> str:
    """Keep the rules of a style sheet of which all classes occur somewhere on a page.

    Classes that scripts set occur in the scripts, which is why `words` comes from both.
    """
    css = re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)
    css = re.sub(r"@(import|charset)[^;]*;", "", css)
    kept: list[str] = []
    position = 0
    while head := HEAD.search(css, position):
        position = head.end()
        selector = (head[1] or "").strip()
        if head[1] is None:  # the end of a group, `@media (…) { … }`
            kept.append("}" if head[0] == "}" else "")
        elif selector.startswith(("@media", "@supports", "@layer", "@keyframes", "@-webkit-key")):
            kept.append(f"{selector}{{")
        else:
            body = BODY.match(css, position)
            position = body.end()
            selectors = [one for one in split(selector) if occurs(one, words)]
            if selectors:
                kept.append(f"{','.join(selectors)}{{{body[1].strip()}}}")
    return re.sub(r"@[^{}]*\{\}", "", "".join(kept))  # groups of which nothing is left


def split(selector: str) -> list[str]:
    """Split a list of selectors at its commas, but not at those within brackets."""
    return [part.strip() for part in re.split(r",(?![^()]*\))", selector)]


def occurs(selector: str, words: set[str]) -> bool:
    """Tell whether a selector can match: alternatives, as in `:not(.x)`, are not looked at."""
    plain = re.sub(r":(?:not|is|where|has)\((?:[^()]|\([^()]*\))*\)|\[[^\]]*\]", "", selector)
    return all(name.replace("\\", "") in words for name in CLASS.findall(plain))


def cut_font(source: Path, characters: set[str]) -> Path:
    """Return a font with some characters only; it is made anew if any of its inputs has changed."""
    inputs = [
        source.read_bytes(),
        "".join(sorted(characters)).encode(),
        Path(__file__).read_bytes(),
        *(version(package).encode() for package in ("fonttools", "brotli")),
    ]
    digests = [hashlib.sha256(part).digest() for part in inputs]
    target = FONTS / f"{hashlib.sha256(b''.join(digests)).hexdigest()}.woff2"
    if not target.is_file():
        FONTS.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_suffix(".part")
        subset(source, unfinished, "".join(characters))
        unfinished.replace(target)
    return target


def subset(source: Path, target: Path, characters: str) -> None:
    """Write a font with some characters only, under the family name that the style sheet gives."""
    # Here, since most builds find every font already cut.
    from fontTools.subset import Options, Subsetter
    from fontTools.ttLib import TTFont

    font = TTFont(source, recalcTimestamp=False)  # the same characters give the same file
    options = Options(layout_features=FEATURES, hinting=False)
    options.flavor = "woff2"
    subsetter = Subsetter(options)
    subsetter.populate(text=characters)
    subsetter.subset(font)
    font.flavor = "woff2"
    font.save(target)
