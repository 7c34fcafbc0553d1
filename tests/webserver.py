"""Serves the built book compressed and under a sub-path, as it is published."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

PREFIX = "/sub/path/"


@cache
def compressed(path: Path, changed: float) -> bytes:
    return gzip.compress(path.read_bytes())


class Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    texts: ClassVar[set[str]] = {".html", ".css", ".js", ".svg", ".xml", ".json", ".md", ".ipynb"}

    def do_GET(self) -> None:
        place = urlsplit(self.path).path
        path = Path(self.directory, place.removeprefix(PREFIX))
        if path.is_dir():
            path /= "index.html"
        if not place.startswith(PREFIX) or not path.is_file():
            self.send_error(404)
            return
        packed = path.suffix in self.texts
        body = compressed(path, path.stat().st_mtime) if packed else path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(path))
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "max-age=600")
        if packed:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args) -> None:
        """Be quiet."""


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve a folder while the block runs; yield its address."""
    # Beforehand, as real servers do: a page that waits for its compression would look slow.
    for path in folder.rglob("*"):
        if path.suffix in Handler.texts:
            compressed(path, path.stat().st_mtime)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{PREFIX}"
    finally:
        server.shutdown()
