#!/bin/sh
# Finds a Python that the book runs on; with it, environment.py makes .venv, mends it, or does nothing.
#
# Usage: tools/environment.sh REQUIREMENTS...
# PYTHON names another Python; TORCH=cuda takes PyTorch's build for graphics cards.
#
# Every fault that a reader can mend gets one line that says how.
set -eu
unset CDPATH PYTHONHOME PYTHONPATH PYTHONSTARTUP # another program's settings
cd "$(dirname "$0")/.."

versions="3.13 3.12 3.11" # for which the packages are pinned and everything is tested; newest first
python=${PYTHON:-}

stop() {
    echo "error: $1" >&2
    exit 1
}

# A command of that name may be there and not run: pyenv leaves such.
version_of() {
    "$1" -I -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

is_wanted() {
    case " $versions " in *" $1 "*) true ;; *) false ;; esac
}

has_venv() {
    "$1" -I -c 'import ensurepip, venv' 2>/dev/null
}

if [ -n "$python" ]; then
    another="name one of Python $versions: make PYTHON=/path/to/python"
    command -v "$python" >/dev/null || stop "$python not found; $another"
    found=$(version_of "$python") || stop "$python does not run; $another"
    is_wanted "$found" || stop "$python is Python $found, which the book is not tested with; $another"
    has_venv "$python" ||
        stop "$python cannot make environments; install its venv module: apt install python$found-venv"
elif [ -f .venv/made.json ] && is_wanted "$(version_of .venv/bin/python)"; then
    python=.venv/bin/python
else
    seen=
    for version in $versions 3 ''; do
        found=$(version_of "python$version") || continue
        if ! is_wanted "$found"; then
            seen="$seen; python$version is Python $found"
        elif has_venv "python$version"; then
            python=python$version
            break
        else
            seen="$seen; python$version has no venv module: apt install python$found-venv"
        fi
    done
    [ -n "$python" ] ||
        stop "found none of Python $versions$seen. Install one (apt install python3 python3-venv; \
brew install python@3.13; or https://www.python.org/downloads), or say where it is: \
make PYTHON=/path/to/python"
fi
exec "$python" -I tools/environment.py "$@"
