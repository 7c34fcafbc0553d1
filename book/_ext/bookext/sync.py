"""Writes into every chapter the cell that installs what it imports: `python -m bookext.sync`."""

from .launch import with_cell
from .pages import chapters

if __name__ == "__main__":
    for page in chapters():
        if (text := with_cell(page.text)) != page.text:
            page.path.write_text(text, encoding="utf-8")
