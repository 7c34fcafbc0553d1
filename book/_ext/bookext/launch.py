"""The first cell of each chapter, which installs what it imports where that is missing.

A chapter opened on Colab, or downloaded alone, has neither the package nor its requirements.
`python -m bookext.sync`, which `make sync` calls, writes the cell into every chapter: the
repository's address stands only in `_config.yml`.
"""

import re

import yaml

from .pages import ROOT

# Folded on Colab by its title and in JupyterLab by `source_hidden`; left out of the pages, whose
# readers run nothing.
CELL = """\
```{{code-cell}} ipython3
---
cellView: form
jupyter:
  source_hidden: true
tags: [remove-cell]
---
{source}
```

"""
SOURCE = """\
# @title Run me first: installs what this chapter imports, if it is missing
from importlib.util import find_spec

if find_spec("bnnbook") is None:
    %pip install {archive}"""
FIRST_CELL = re.compile(r"^```\{code-cell\} ipython3\n", re.MULTILINE)
WRITTEN = re.compile(FIRST_CELL.pattern + r"---\ncellView: form\n.*?^```\n\n", re.M | re.DOTALL)


def source(address: str = "") -> str:
    """Return the code of the cell.

    Parameters
    ----------
    address : str
        The repository from which to install, for instance a fork; that of `_config.yml` if empty.
    """
    repository = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]
    # An archive rather than git+https: pip fetches it where git is not installed.
    archive = f"{address or repository['url']}/archive/{repository['branch']}.zip"
    return SOURCE.format(archive=archive)


def with_cell(text: str) -> str:
    """Return a chapter's text with the cell before its first code cell."""
    rest = WRITTEN.sub("", text)
    place = FIRST_CELL.search(rest).start()
    return rest[:place] + CELL.format(source=source()) + rest[place:]
