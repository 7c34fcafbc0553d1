"""Puts together the branch that Binder and Colab open: the notebooks, and what Binder needs.

`python -m bookext.branch FOLDER`, after the build.  Whoever opens the branch sees notebooks only:
the rest of the repository that Binder needs lies in its folder of settings, which is hidden.
"""

import shutil
import sys
from pathlib import Path

from .notebooks import CONTENTS, file_names
from .pages import ROOT

NOTEBOOKS = ROOT / "_build" / "notebooks"
NEEDED = (".binder", "LICENSE", "code", "constraints.txt", "pyproject.toml", "requirements.txt")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.egg-info")
SETTINGS = {
    "requirements.txt": "-r repository/.binder/requirements.txt\n",
    "runtime.txt": (ROOT / ".binder" / "runtime.txt").read_text(encoding="utf-8"),
    "postBuild": "#!/bin/bash\nset -euo pipefail\ncd .binder/repository\n.binder/postBuild\n",
}


def assemble(target: Path) -> None:
    """Write the files of the branch.

    Parameters
    ----------
    target : Path
        The folder; what is in it is deleted.
    """
    shutil.rmtree(target, ignore_errors=True)
    settings = target / ".binder"
    repository = settings / "repository"
    repository.mkdir(parents=True)
    for name in (CONTENTS, *file_names().values()):
        shutil.copy(NOTEBOOKS / name, target)
    for name in NEEDED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, repository / name, ignore=LEFT_OUT)
        else:
            shutil.copy(source, repository / name)
    for name, text in SETTINGS.items():
        (settings / name).write_text(text, encoding="utf-8")
    (settings / "postBuild").chmod(0o755)


if __name__ == "__main__":
    assemble(Path(sys.argv[1]))
