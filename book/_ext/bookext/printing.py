"""The browser that prints."""

import shutil


class BrowserMissing(Exception):
    """No browser was found."""


def find_browser() -> str:
    """Return the path of Chromium."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        raise BrowserMissing("install Chromium, e.g. apt install chromium")
    return found
