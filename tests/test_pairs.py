"""Each chapter lies beside its notebook, which has no outputs and says the same."""

import jupytext
import nbformat
import pytest
from jupytext.compare import NotebookDifference, compare_notebooks

from bookext.pages import ROOT, Page, chapters

MEND = "run `make sync` and commit both"


@pytest.mark.parametrize("page", chapters(), ids=lambda page: page.path.stem)
def test_pair(page: Page) -> None:
    pair = page.path.with_suffix(".ipynb")
    settings = page.front_matter["jupytext"]
    assert settings["formats"] == "md:myst,ipynb", page.name
    # Without it `make sync` writes the notebook's older `bnnbook:` over the chapter's.
    assert settings["notebook_metadata_filter"] == "bnnbook,myst", page.name
    if not pair.exists():
        pytest.fail(f"{pair.name} is missing: {MEND}", pytrace=False)
    notebook = nbformat.read(pair, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code" and (cell.outputs or cell.execution_count):
            pytest.fail(f"{pair.name} has outputs: clear them, {MEND}", pytrace=False)
    difference = ""
    try:
        compare_notebooks(notebook, jupytext.read(page.path), "md:myst")
    except NotebookDifference as error:
        difference = str(error)
    # Outside of `except`, or pytest would print the whole difference, too.
    if difference:
        beginning = "\n".join(difference.splitlines()[:12])
        pytest.fail(f"{pair.name} differs from {page.name}: {MEND}\n{beginning}", pytrace=False)


def test_no_notebook_without_chapter() -> None:
    pairs = {page.path.with_suffix(".ipynb") for page in chapters()}
    assert set((ROOT / "book").glob("*.ipynb")) <= pairs
