"""Makes .venv hold exactly what the requirements ask for; does nothing if it already does.

Called by environment.sh, which finds the Python. Only the standard library is there yet.
The note of what was made is written last, so an interrupted installation is never taken for a
complete one.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
MADE = VENV / "made.json"
# Measured: what .venv takes with each build of PyTorch, and what pip needs meanwhile.
SIZE_GB = {"cpu": 3.8, "cuda": 7.6}
NEEDED_GB = {"cpu": 8, "cuda": 16}


def main(requirements: list[str]) -> None:
    """Bring .venv to what the files ask for, besides what was asked for earlier."""
    made = read_note()
    if made and made["place"] != str(VENV.resolve()):
        mend(made["place"])
        made["place"] = str(VENV.resolve())
        MADE.write_text(json.dumps(made), encoding="utf-8")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    build = os.environ.get("TORCH") or (made["torch"] if made else "cpu")
    if build not in SIZE_GB:
        stop(f"TORCH={build} is no build of PyTorch; cpu and cuda are")
    if made and (made["python"], made["torch"]) != (version, build):
        made = None
    wanted = {
        "python": version,
        "torch": build,
        "requirements": sorted({*requirements, *(made["requirements"] if made else ())}),
        "place": str(VENV.resolve()),
    }
    wanted["digest"] = digest(wanted["requirements"])
    if made == wanted:
        return
    if made:
        print("The requirements have changed: bringing .venv up to date.", flush=True)
        MADE.unlink()
    else:
        create(build)
    install(wanted["requirements"], build, quiet=bool(made))
    MADE.write_text(json.dumps(wanted), encoding="utf-8")


def wait_for_others() -> None:
    """Lock this script until the process ends: two installations at once would spoil .venv."""
    lock = os.open(__file__, os.O_RDONLY)  # never closed
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("Waiting for another `make`, which is at work on .venv.", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError:  # a file system without locks
        pass


def read_note() -> dict | None:
    """Return what .venv was made as, or None if there is nothing that works."""
    try:
        subprocess.run([PYTHON, "-I", "-c", ""], check=True, capture_output=True)
        return json.loads(MADE.read_text(encoding="utf-8"))
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None


def digest(requirements: list[str]) -> str:
    """Digest everything that says what belongs into .venv, this script included."""
    files = [ROOT / name for name in (*requirements, "constraints.txt")]
    return hashlib.sha256(b"\0".join(p.read_bytes() for p in [*files, Path(__file__)])).hexdigest()


def create(build: str) -> None:
    """Make an empty environment, if there is room for a full one."""
    shutil.rmtree(VENV, ignore_errors=True)  # whatever an interrupted installation left
    free = shutil.disk_usage(ROOT).free / 2**30
    if free < NEEDED_GB[build]:
        stop(f"only {free:.0f} GB free in {ROOT}, the installation needs {NEEDED_GB[build]} GB")
    print("Installing into .venv, once; this takes a few minutes.", flush=True)
    run(sys.executable, "-I", "-m", "venv", str(VENV), fault="no environment could be made")


def install(requirements: list[str], build: str, quiet: bool) -> None:
    """Install the pinned packages, and the repository's own code by reference."""
    # Without a version, the newest: a workflow tries whether the book holds with that, too.
    listed = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    pin = re.search(r"^torch(?:==(\S+))?$", listed, re.M)[1]
    exact = []
    if build == "cuda":
        # Equal as a text: `==` would also take the build without graphics cards.
        exact = [f"torch==={pin}"] if pin else []
    elif sys.platform == "linux":  # elsewhere, the usual build is the small one
        small_torch(f"torch=={pin}+cpu" if pin else "torch")
    files = [word for name in requirements for word in ("--requirement", name)]
    show = ["--quiet"] if quiet else ["--progress-bar=on"]
    pip(*show, *files, *exact, "--constraint", "constraints.txt")
    # Relative, so that a repository which is copied or moved never runs another one's code.
    (packages,) = VENV.glob("lib/python*/site-packages")
    paths = [os.path.relpath(ROOT / name, packages) for name in ("code", "book/_ext")]
    (packages / "bnnbook.pth").write_text("\n".join(paths) + "\n", encoding="utf-8")


def small_torch(requirement: str) -> None:
    """Install PyTorch's build without graphics cards from its own index, if that answers."""
    installed = requirement.replace("==", "-") + ".dist-info"
    if any(VENV.glob(f"lib/python*/site-packages/{installed}")):
        return
    # Binder takes the same; its file is the only one that names the address.
    listed = (ROOT / ".binder" / "requirements.txt").read_text(encoding="utf-8")
    index = re.search(r"^--extra-index-url (\S+)$", listed, re.M)[1]
    small, large = f"{SIZE_GB['cpu']} GB installed in all", f"{SIZE_GB['cuda']} GB"
    if answers(index):
        print(
            f"PyTorch: without graphics cards, {small}; with them {large}: make TORCH=cuda",
            flush=True,
        )
        if pip("--no-deps", "--index-url", index, requirement, needed=False):
            return
    print(
        f"PyTorch: its index of builds without graphics cards ({small}) cannot be reached, so the "
        f"usual build, which on most machines is the one with them ({large})",
        flush=True,
    )


def answers(index: str) -> bool:
    """Whether a package index can be reached; looking up a name has no time limit of its own."""
    found = []

    def ask() -> None:
        try:
            with urllib.request.urlopen(f"{index}/torch/", timeout=5) as answer:
                found.append(answer.status == 200)
        except (OSError, ValueError):
            pass

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(timeout=6)
    return any(found)


def mend(old: str) -> None:
    """Let a copied or moved environment's commands start its own Python, not that of `old`."""
    print(f".venv was made as {old}: mending its commands.", flush=True)
    run(sys.executable, "-I", "-m", "venv", "--without-pip", str(VENV), fault="no mending .venv")
    # As pip writes it where a path has spaces: a shell starts Python, to which this is a string.
    head = f"#!/bin/sh\n'''exec' \"{PYTHON}\" \"$0\" \"$@\"\n' '''\n".encode()
    for script in (VENV / "bin").iterdir():
        if script.is_symlink():
            continue
        lines = script.read_bytes().split(b"\n")
        if lines[0].startswith(b"#!/bin/sh") and lines[1].startswith(b"'''exec'"):
            rest = lines[3:]
        elif lines[0].startswith(b"#!") and b"/bin/python" in lines[0]:
            rest = lines[1:]
        else:
            continue
        script.write_bytes(head + b"\n".join(rest))


def pip(*arguments: str, needed: bool = True) -> bool:
    """Install; wheels only, so that nobody needs a compiler."""
    command = (PYTHON, "-I", "-m", "pip", "install", "--disable-pip-version-check")
    fault = "the installation failed (network, disk, or no wheel for this machine: see above)"
    return run(*command, "--only-binary", ":all:", *arguments, fault=fault if needed else None)


def run(*command: str | Path, fault: str | None) -> bool:
    """Run a command in the repository; if it fails, stop with the fault, or return False."""
    # A reader's setting that makes pip install elsewhere is for other environments.
    inherited = {k: v for k, v in os.environ.items() if k not in ("PIP_TARGET", "PIP_PREFIX")}
    done = subprocess.run(command, cwd=ROOT, env=inherited | {"PIP_USER": "0"})
    if done.returncode and fault:
        stop(f"{fault}; try again")
    return not done.returncode


def stop(message: str) -> NoReturn:
    """End with one line."""
    sys.exit(f"error: {message}")


if __name__ == "__main__":
    wait_for_others()
    main(sys.argv[1:])
