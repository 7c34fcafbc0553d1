"""Progress bars that leave nothing behind."""

from __future__ import annotations

from collections.abc import Iterable

from tqdm import tqdm


def progress(steps: Iterable, description: str) -> tqdm:
    """Wrap an iterable in a progress bar that shows while it runs and then disappears.

    A plain text bar: widgets draw nothing in a page that has no kernel, and a bar that stays would
    put one run's timings into the book.

    Parameters
    ----------
    steps : iterable
        What the loop goes through; its length, if it has one, is the bar's.
    description : str
        What is being done, for instance "training".

    Returns
    -------
    tqdm.tqdm
        An iterable of the same items.
    """
    # One line for all: a bar within a bar would move the cursor to a line of its own, and notebooks
    # would keep every state of both, since they do not follow it.
    return tqdm(steps, desc=description, leave=False, mininterval=0.2, ncols=80, position=0)
