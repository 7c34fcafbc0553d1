"""Shows the built book in the browser: `python -m bookext.serve [PORT]`."""

import sys
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from .pages import ROOT

SITE = ROOT / "_build" / "html"


def serve(folder: Path, port: int) -> None:
    """Serve a folder on this machine until interrupted."""
    if not (folder / "index.html").is_file():
        sys.exit("error: there is no book to show yet; call `make book` first")
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    try:
        server = ThreadingHTTPServer(("localhost", port), handler)
    except OSError as error:
        sys.exit(
            f"error: port {port} cannot be used ({error.strerror}); "
            f"another one can be named: make serve PORT={port + 1}"
        )
    print(f"The book is at http://localhost:{server.server_port}; end with Ctrl+C.", flush=True)
    with server, suppress(KeyboardInterrupt):
        server.serve_forever()


if __name__ == "__main__":
    serve(SITE, int(sys.argv[1]) if len(sys.argv) > 1 else 8000)
