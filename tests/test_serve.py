"""`make serve` shows the book, or says in one line why it cannot."""

import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from bookext import serve

PROGRAM = "import sys; from pathlib import Path; from bookext.serve import serve; "


def start(folder: Path, port: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", f"{PROGRAM}serve(Path({str(folder)!r}), {port})"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_book_is_served(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("the book")
    process = start(tmp_path, 0)
    try:
        address = process.stdout.readline().split()[4].removesuffix(";")
        assert urllib.request.urlopen(address).read() == b"the book"
    finally:
        process.terminate()
        process.communicate()


def test_nothing_built_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"no book to show yet; call `make book`"):
        serve.serve(tmp_path, 0)


def test_taken_port_is_named(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("the book")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(SystemExit, match=rf"port {port} cannot .*PORT={port + 1}"):
            serve.serve(tmp_path, port)
