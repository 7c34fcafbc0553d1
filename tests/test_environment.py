"""The scripts that make .venv: which Python and PyTorch they take, what they mend and say.

Other Pythons are shell scripts here, and package indexes are folders that are served.
"""

import fcntl
import functools
import http.server
import importlib.util
import json
import os
import re
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from bookext.pages import ROOT

# The Python of the tests, under another name.
REAL = f'exec "{sys.executable}" "$@"'
# Where nobody listens.
REFUSING = "http://127.0.0.1:9"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Copy what the set-up needs; it asks for nothing but PyTorch."""
    copy = tmp_path / "a copy – π"
    for name in ("tools/environment.sh", "tools/environment.py", ".binder/requirements.txt"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((ROOT / name).read_bytes())
    for name in ("requirements.txt", "constraints.txt"):
        (copy / name).write_text("torch==2.13.0\n")
    for name in ("code", "book/_ext"):
        (copy / name).mkdir(parents=True)
        module = f"origin = {name!r}, {name == 'code'}\n"
        (copy / name / f"module_in_{Path(name).name}.py").write_text(module)
    return copy


def set_up(
    copy: Path, pythons: dict[str, str], **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the set-up where no other Pythons are found than these scripts."""
    commands = copy.parent / "bin"
    shutil.rmtree(commands, ignore_errors=True)
    commands.mkdir()
    for name, body in pythons.items():
        (commands / name).write_text(f"#!/bin/sh\n{body}\n")
        (commands / name).chmod(0o755)
    for name in ("dirname", "sh"):
        (commands / name).symlink_to(shutil.which(name))
    return subprocess.run(
        [commands / "sh", "tools/environment.sh", "requirements.txt"],
        cwd=copy,
        env={"PATH": str(commands), **variables},
        capture_output=True,
        text=True,
    )


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one line that a failed set-up ends with."""
    assert done.returncode
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    return line


FAKE_PYTHONS = {
    "python3.13": "exit 1",  # pyenv leaves commands that are there and do not run
    "python3.12": 'case "$3" in *ensurepip*) exit 1;; *) echo 3.12;; esac',
    "python3.11": "exit 1",
    "python3": "echo 3.9",
    "python": "echo 2.7",
}


@pytest.mark.parametrize(
    ("python", "expected"),
    [
        ("python3.11-not-here", ["python3.11-not-here not found"]),
        ("python3", ["python3 is Python 3.9", "make PYTHON=/path/to/python"]),
        ("python3.13", ["python3.13 does not run"]),
        ("python3.12", ["install its venv module: apt install python3.12-venv"]),
        ("", ["none of Python 3.13 3.12 3.11", "python3.12 has no venv module: apt install "]),
        ("", ["python3 is Python 3.9", "python is Python 2.7", "make PYTHON=/path/to/python"]),
    ],
)
def test_unusable_python_is_named(copy: Path, python: str, expected: list[str]) -> None:
    message = complaint(set_up(copy, FAKE_PYTHONS, PYTHON=python))
    assert [text for text in expected if text not in message] == []
    assert not (copy / ".venv").exists()


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        ("3.11 3.12 3.13", "python3.13"),
        ("3.11 3.12", "python3.12"),
        ("3.11", "python3.11"),
        ("3", "python3"),
    ],
)
def test_the_newest_python_is_taken(copy: Path, there: str, taken: str) -> None:
    said = 'case "$3" in *version*) echo {};; *ensurepip*) ;; *) echo "${{0##*/}} $@";; esac'
    pythons = {f"python{v}": said.format("3.12" if v == "3" else v) for v in there.split()}
    done = set_up(copy, pythons)
    assert done.stdout == f"{taken} -I tools/environment.py requirements.txt\n"


def test_full_disk_is_named(copy: Path) -> None:
    small = "import shutil, types; shutil.disk_usage = lambda path: types.SimpleNamespace(free=3e9)"
    script = copy / "tools" / "environment.py"
    script.write_text(script.read_text().replace("\nROOT =", f"\n{small}\nROOT ="))
    message = complaint(set_up(copy, {"python3": REAL}))
    assert "only 3 GB free" in message
    assert "needs 8 GB" in message


def test_unknown_build_of_pytorch_is_named(copy: Path) -> None:
    message = complaint(set_up(copy, {"python3": REAL}, TORCH="gpu"))
    assert "TORCH=gpu is no build of PyTorch; cpu and cuda are" in message


class Index(http.server.SimpleHTTPRequestHandler):
    """Serves a folder without a word."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Silence(socketserver.BaseRequestHandler):
    """Takes a request and never answers."""

    def handle(self) -> None:
        """Wait longer than anybody should."""
        time.sleep(60)


@contextmanager
def listening(handler: type[socketserver.BaseRequestHandler]) -> Iterator[str]:
    """Serve on a free port; yield the address."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads, server.block_on_close = True, False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def wheel(folder: Path, version: str) -> None:
    """Make an empty PyTorch."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"torch-{version}.dist-info"
    with zipfile.ZipFile(folder / f"torch-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr("torch/__init__.py", "")
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


def offer(copy: Path, address: str) -> dict[str, str]:
    """Let PyTorch's own index be that address; return settings by which pip looks nowhere else."""
    listed = copy / ".binder" / "requirements.txt"
    text = re.sub(r"https://\S+", address, listed.read_text())
    listed.write_text(text)
    wheel(copy.parent / "usual", "2.13.0")
    usual = str(copy.parent / "usual")
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": usual, "PIP_CONFIG_FILE": os.devnull}


def installed_torch(copy: Path) -> list[str]:
    return [path.name for path in copy.glob(".venv/lib/python*/site-packages/torch-*")]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the usual build is the small one")
def test_the_small_pytorch_is_taken_from_its_own_index(copy: Path) -> None:
    index = copy.parent / "index"
    wheel(index / "torch", "2.13.0+cpu")
    with listening(functools.partial(Index, directory=str(index))) as address:
        settings = offer(copy, address)
        del settings["PIP_NO_INDEX"]  # it would forbid this index, too
        done = set_up(copy, {"python3": REAL}, **settings)
        assert done.returncode == 0, done.stderr
        assert "PyTorch: without graphics cards" in done.stdout
        assert installed_torch(copy) == ["torch-2.13.0+cpu.dist-info"]
    # Once it is there, nobody is asked, and nothing is said.
    done = set_up(copy, {"python3": REAL}, **settings)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the usual build is the small one")
@pytest.mark.parametrize("what", ["never answers", "has nothing"])
def test_an_index_that_cannot_be_used_costs_seconds(copy: Path, what: str) -> None:
    handler = Silence if what == "never answers" else functools.partial(Index, directory=str(copy))
    with listening(handler) as address:
        settings = offer(copy, address)
        began = time.monotonic()
        done = set_up(copy, {"python3": REAL}, **settings)
        assert time.monotonic() - began < 60  # with pip's own retries it would be minutes
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("PyTorch")]
    assert "cannot be reached, so the usual build" in line
    assert installed_torch(copy) == ["torch-2.13.0.dist-info"]


@pytest.mark.slow
def test_the_build_for_graphics_cards_is_a_choice(copy: Path) -> None:
    settings = offer(copy, REFUSING)
    wheel(copy.parent / "usual", "2.13.0+cpu")  # pip would prefer it
    # What is set for other programs does no harm.
    elsewhere = copy.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "json.py").write_text("raise RuntimeError('not this one')")
    settings |= {"PIP_USER": "1", "PIP_TARGET": str(elsewhere), "PYTHONPATH": str(elsewhere)}
    settings |= {"LANG": "C", "CDPATH": str(copy.parent)}
    done = set_up(copy, {"python3": REAL}, TORCH="cuda", **settings)
    assert done.returncode == 0, done.stderr
    assert installed_torch(copy) == ["torch-2.13.0.dist-info"]
    # The choice stays until another one is made.
    assert set_up(copy, {"python3": REAL}, **settings).stdout == ""
    assert json.loads((copy / ".venv/made.json").read_text())["torch"] == "cuda"


@pytest.mark.slow
def test_an_interrupted_installation_is_not_taken_for_a_complete_one(copy: Path) -> None:
    settings = offer(copy, REFUSING)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", copy / ".venv"], check=True)
    (copy / ".venv" / "left").touch()
    done = set_up(copy, {"python3": REAL}, **settings)
    assert done.returncode == 0, done.stderr
    assert not (copy / ".venv" / "left").exists()
    # A change of what is asked for brings it up to date.
    (copy / "constraints.txt").write_text("torch==2.13.0\n# another day\n")
    done = set_up(copy, {"python3": REAL}, **settings)
    assert done.stdout.startswith("The requirements have changed")
    assert set_up(copy, {"python3": REAL}, **settings).stdout == ""


@pytest.mark.slow
def test_two_installations_at_once_wait_for_each_other(copy: Path) -> None:
    settings = offer(copy, REFUSING)
    with ThreadPoolExecutor() as pool, (copy / "tools" / "environment.py").open() as script:
        fcntl.flock(script, fcntl.LOCK_EX)
        second = pool.submit(set_up, copy, {"python3": REAL}, **settings)
        time.sleep(2)
        assert not second.done() and not (copy / ".venv").exists()
        fcntl.flock(script, fcntl.LOCK_UN)
    assert second.result().returncode == 0, second.result().stderr
    assert second.result().stdout.startswith("Waiting for another `make`")
    assert installed_torch(copy)


@pytest.mark.slow
def test_a_copied_environment_runs_what_it_lies_beside(copy: Path) -> None:
    settings = offer(copy, REFUSING)
    assert set_up(copy, {"python3": REAL}, **settings).returncode == 0
    # Reached by a link it has not moved: a benchmark builds a copy of the repository so.
    linking = copy.parent / "linking"
    shutil.copytree(copy, linking, ignore=shutil.ignore_patterns(".venv"))
    (linking / ".venv").symlink_to(copy / ".venv")
    assert set_up(linking, {"python3": REAL}, **settings).stdout == ""
    assert module_origin(linking) == linking / "code"

    other = copy.parent / "somewhere else"
    shutil.copytree(copy, other, symlinks=True)
    done = set_up(other, {"python3": REAL}, **settings)
    assert done.returncode == 0, done.stderr
    assert f"was made as {copy / '.venv'}: mending" in done.stdout
    assert set_up(other, {"python3": REAL}, **settings).stdout == ""
    assert module_origin(other) == other / "code"
    # Its commands are its own; pip's is one.
    said = subprocess.run([other / ".venv/bin/pip", "--version"], capture_output=True, text=True)
    assert str(other / ".venv") in said.stdout, said.stderr
    assert str(other / ".venv") in (other / ".venv/bin/activate").read_text()
    # And the first one is as it was.
    said = subprocess.run([copy / ".venv/bin/pip", "--version"], capture_output=True, text=True)
    assert str(copy / ".venv") in said.stdout, said.stderr


def module_origin(folder: Path) -> Path:
    """Say where the environment of a copy finds the repository's code."""
    program = "import module_in_code, module_in__ext; print(module_in_code.__file__)"
    command = [folder / ".venv/bin/python", "-I", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Path(done.stdout.strip()).parent


def test_looking_up_a_name_has_a_limit_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    location = ROOT / "tools" / "environment.py"
    spec = importlib.util.spec_from_file_location("environment", location)
    environment = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(environment)
    given_up = threading.Event()

    def look_up(*_: object, **__: object) -> None:
        given_up.wait()
        raise OSError

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    began = time.monotonic()
    assert not environment.answers("https://example.invalid/simple")
    assert time.monotonic() - began < 20
    given_up.set()
