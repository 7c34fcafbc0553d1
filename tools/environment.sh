#!/bin/sh
# Makes .venv hold what requirements.txt asks for; does nothing if it already does.
#
# Usage: tools/environment.sh PYTHON REQUIREMENTS
#
# Every fault that a reader can mend gets one line that says how. The stamp is written last, so an
# interrupted installation is never taken for a complete one.
set -eu
cd "$(dirname "$0")/.."
python=$1
requirements=$2
stamp=.venv/complete

stop() {
    echo "error: $1" >&2
    exit 1
}

wanted=$(cat "$requirements" requirements.txt pyproject.toml | cksum)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && [ -x .venv/bin/python ]; then
    exit 0
fi

# The version for which the pins were resolved, and with which everything is tested.
version=$(sed 's/^python-//' .binder/runtime.txt)
command -v "$python" >/dev/null ||
    stop "$python not found; install Python $version, or say where it is: make PYTHON=/path/to/python$version"
found=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) ||
    stop "$python does not run; say where Python $version is: make PYTHON=/path/to/python$version"
[ "$found" = "$version" ] ||
    stop "$python is Python $found, the book needs $version; name another: make PYTHON=/path/to/python$version"
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    stop "$python cannot make environments; install its venv module: apt install python$version-venv"

if [ -f "$stamp" ]; then
    echo "The requirements have changed: bringing .venv up to date."
    rm "$stamp"
    show=--quiet
else
    rm -rf .venv # whatever an interrupted installation left
    # The CPU build of PyTorch needs 4 GB installed (measured) and room for pip's downloads and
    # cache. PyTorch's default build for Linux brings several GB of CUDA libraries (estimated).
    case $requirements in
        .binder/*) needed=8 hint= ;;
        *) needed=16 hint=', or take the CPU build: make REQUIREMENTS=.binder/requirements.txt' ;;
    esac
    free=$(df -Pk . | awk 'NR == 2 { print int($4 / 1024 / 1024) }')
    [ "$free" -ge "$needed" ] ||
        stop "only $free GB free in $PWD, the installation needs $needed GB; make room$hint"
    echo "Installing into .venv, once; this takes a few minutes."
    "$python" -m venv .venv
    show=--progress-bar=on
fi
# Wheels only, so that a compiler is never needed; a platform without them fails at once.
.venv/bin/pip install --disable-pip-version-check "$show" --only-binary :all: -r "$requirements" ||
    stop "the installation failed (network, disk, or no wheel for this machine: see above); try again"
.venv/bin/pip install --disable-pip-version-check --quiet --no-deps --editable . ||
    stop "the package in code/ could not be installed, see above"
echo "$wanted" >"$stamp"
