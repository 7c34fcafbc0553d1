"""Live figures: scripts that a page loads when its reader comes near, with the chapters' data.

A page on disk may load neither modules nor data, only scripts.  So each module of `book/live` is
wrapped into a script, the data that `figures.live` left in an output become one, too, and
`loader.js` puts them together.  The name of a file of data holds its digest.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

from .pages import ROOT

MODULES = ROOT / "book" / "live"
FOLDER = "_live"  # of the built site
IMPORT = re.compile(r"^import \{([^}]*)\} from \"\./(\w+)\.js\";\n", re.MULTILINE)
EXPORT = re.compile(r"^export ((?:async )?function|const|class) (\w+)", re.MULTILINE)
FRAME = re.compile(r'(<div class="figure-svg live" data-live="(\w+)")>(.*?)</div>', re.DOTALL)
DATA = re.compile(
    r'<script type="application/json" class="live-(data|later)">(.*?)</script>', re.DOTALL
)


def setup(app: Sphinx) -> None:
    """Connect to Sphinx."""
    app.add_directive("live", Live)
    app.connect("builder-inited", write_scripts)  # after partial.py has emptied the folder


def modules() -> list[Path]:
    """List the modules' files; the loader is a script already."""
    return sorted(MODULES.glob("*.js"))


def digest() -> str:
    """Name the state of all modules, so that a browser keeps none that has changed."""
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in modules())).hexdigest()[:8]


def write_scripts(app: Sphinx) -> None:
    """Write the loader and every module as a script."""
    if app.builder.name == "html":
        target = Path(app.outdir, "_static", "live")
        target.mkdir(parents=True, exist_ok=True)
        for path in modules():
            source = path.read_text(encoding="utf-8")
            script = source if path.stem == "loader" else wrapped(path.stem, source)
            (target / path.name).write_text(script, encoding="utf-8")


def wrapped(name: str, source: str) -> str:
    """Turn a module into a script that tells the loader what it needs, and what it offers.

    Two forms are known, `import { a, b } from "./module.js";` and `export` before a declaration.
    """
    needed = IMPORT.findall(source)
    offered = [found[1] for found in EXPORT.findall(source)]
    body = EXPORT.sub(r"\1 \2", IMPORT.sub("", source))
    if re.search(r"^(?:import|export)\b", body, re.MULTILINE):
        raise ExtensionError(f"book/live/{name}.js imports or exports in a way that is not known")
    given = ", ".join(f"{{{names}}}" for names, _ in needed)
    modules = json.dumps([module for _, module in needed])
    return (
        f"bookLive.define({json.dumps(name)}, {modules}, ({given}) => {{\n"
        f"{body}\nreturn {{ {', '.join(offered)} }};\n}});\n"
    )


def with_files(body: str, site: Path, up: str) -> str:
    """Move the data of a page's live figures into files, and say in the page where they are."""

    def frame(found: re.Match) -> str:
        tag, name, content = found.groups()
        if not (MODULES / f"{name}.js").is_file():
            raise ExtensionError(f"there is no book/live/{name}.js for the live figure {name!r}")
        places = ""
        for kind, data in DATA.findall(content):
            stem = f"{name}-{hashlib.sha256(data.encode()).hexdigest()[:12]}"
            (site / FOLDER).mkdir(exist_ok=True)
            script = f"bookLive.data({json.dumps(stem)}, {data});\n"
            (site / FOLDER / f"{stem}.js").write_text(script, encoding="utf-8")
            places += f' data-{kind}="{up}/{stem}.js"'
        return f"{tag}{places}>{DATA.sub('', content)}</div>"

    return FRAME.sub(frame, body)


class Live(SphinxDirective):
    """A live figure of a page that is no chapter; `stills.py` draws its still.

    ```{live} last_layer
    :alt: What one sees and what it means.

    The caption.
    ```
    """

    required_arguments = 1
    has_content = True
    option_spec: ClassVar[dict] = {"alt": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        """Draw the still, and put the caption under it."""
        from . import stills  # it loads Matplotlib, which most builds do without

        (name,) = self.arguments
        alt = " ".join(self.options["alt"].split())
        figure = nodes.figure(ids=[name.replace("_", "-")])
        figure += nodes.raw("", getattr(stills, name)(alt), format="html")
        caption = nodes.caption()
        caption += self.parse_inline(" ".join(self.content))[0]
        figure += caption
        return [figure]
