"""No page types a result: numbers in prose are glued from claims or declared as settings."""

from pathlib import Path

import pytest

from bookext.pages import Page, pages
from bookext.prose import glued, numbers, problems


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.path.stem)
def test_page_types_no_result(page: Page) -> None:
    found = problems(page)
    if found:
        pytest.fail("\n".join(found), pytrace=False)


def found(text: str) -> list[tuple[int, str]]:
    return list(numbers(text))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("The error is 0.73.", "0.73"),
        ("All 4,898 wines, and more.", "4,898"),
        ("About 90 % of it.", "90"),
        ("# A title with 3 parts", "3"),
        ("The rate is 1e-3 here.", "1e-3"),
        ("A rate of $\\eta = 0.01$.", "0.01"),
        ("$$\n\\sigma = 0.1\n$$", "0.1"),
        ("A {math}`p = 0.5` role.", "0.5"),
        ("| a |\n|---|\n| 0.7 |", "0.7"),
        ("- It is\n  **0.7**.", "0.7"),
        ("A [link of 12](https://example.org/34).", "12"),
        ("![falls to 0.2](figure5.png)", "0.2"),
        ('<img src="a1.png" alt="falls to 0.2" width="300">', "0.2"),
        (":::{note} Exactly 7\n:class: c8\nText.\n:::", "7"),
        ("````{exercise}\n:label: ex-1\n```{hint}\nTry 64.\n```\n````", "64"),
        ("```{figure} a1.png\n---\nalt: rises to 5\nwidth: 600px\n---\nText.\n```", "5"),
        ("```{figure} a1.png\n:alt: Text.\n:width: 600px\n\nIt rises to 5.\n```", "5"),
        ("```{code-cell}\n---\nmystnb:\n  figure:\n    caption: RMSE 0.7\n---\nx = 1\n```", "0.7"),
        ("```{code-cell}\nshow(figure, alt='RMSE 0.7')\n```", "0.7"),
        ("```{code-cell}\nshow(figure, alt=f'RMSE {x:.3f} of 12')\n```", "12"),
    ],
)
def test_typed_number_is_found(text: str, number: str) -> None:
    assert [typed for _, typed in found(text)] == [number]


@pytest.mark.parametrize(
    "text",
    [
        "Two wines, and `3` in code.",
        "Cited {cite:t}`blundell2015`, shown in {numref}`fig-1`, equal to {glue:text}`rmse_1`.",
        "See https://example.org/12 or <https://example.org/12>.",
        "(section-3)=\n1. A list\n2. has markers",
        "```python\nx = 12\n```",
        "```{code-cell}\n:tags: [hide-input]\nx = 12\n%timeit x\n```",
        "```{code-cell}\nshow(figure, alt=f'RMSE {x:.3f}')\n```",
        "$x_{12}^{-3} + w_3^4 = 0$, $\\mathcal{N}(0, 1)$, $\\frac{1}{2}$",
        "$$\nx_1\n$$ (eq-12)",
        "The dtype float32, and x1.",
        "::::{grid} 1 1 3 3\n:gutter: 3\n\n:::{grid-item}\nText.\n:::\n::::",
        "% a comment on 12\n\n<!-- and 13 -->",
    ],
)
def test_what_is_no_typed_number(text: str) -> None:
    assert found(text) == []


def test_line_is_that_of_the_sentence() -> None:
    text = "---\na: 1\n---\n\nOne.\nTwo 7.\n\n:::{note}\nThree.\nFour 8.\n:::\n"
    assert found(text) == [(6, "7"), (10, "8")]


def test_declared_settings(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("---\nbnnbook:\n  settings: {'4,898': rows, 7: unused}\n---\nOf 4,898, 0.7.\n")
    typed, unused = problems(Page(path))
    assert ":5: 0.7 is typed" in typed
    assert "setting 7 is declared but not used" in unused


def test_unknown_option_is_named(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("---\nbnnbook:\n  setings: {}\n---\nText.\n")
    with pytest.raises(ValueError, match=r"unknown keys.*setings"):
        problems(Page(path))


def test_glued_names() -> None:
    text = "{glue:text}`a_1`, {glue:text}`b:.2f`, {glue:text}`other.md::c` and `glue:d`"
    assert glued(text) == {"a_1", "b", "c"}
