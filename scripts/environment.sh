# Sourced by scripts/test and scripts/demo: finds ComfyUI and builds .venv, once, for what they run.
# shellcheck shell=bash

cd "$(dirname "${BASH_SOURCE[0]}")/.."
VENV=$PWD/.venv
VENV_PYTHON=$VENV/bin/python
export PIP_DISABLE_PIP_VERSION_CHECK=1

say() { printf '\n== %s\n' "$*"; }
die() {
    printf '%s\n' "$*" >&2
    exit 1
}

# The first Python that the package supports: $PYTHON, else one on PATH.
find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python3.10}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    die "No Python 3.10 or newer found (tried ${PYTHON:-python3}). Install one, or set PYTHON to it."
}

# find_in_hosts FUNCTION: the folder that tests/host/hosts.py finds, or nothing.
find_in_hosts() {
    "$BASE_PYTHON" -B -c "import sys; sys.path.insert(0, 'tests/host'); import hosts
try: print(hosts.$1() or '')
except FileNotFoundError as problem: sys.exit(str(problem))"
}

# What the host needs to start, without its templates, help pages and front end (half a gigabyte).
# One environment serves both hosts: the newer one's requirements cover the older one.
write_host_requirements() {
    local host=${HOST:-$OLD_HOST}
    if [[ -n $host ]]; then
        grep -vE '^comfyui-(workflow-templates|embedded-docs|frontend-package)' "$host/requirements.txt"
    fi > "$VENV/host-requirements.txt"
}

pip_install() { "$VENV_PYTHON" -m pip install --quiet --constraint tests/constraints.txt "$@"; }

# OpenCV's full build needs libraries of a desktop; on a machine without them, its headless build.
check_opencv() {
    if ! "$VENV_PYTHON" -c 'import cv2' 2>/dev/null; then
        "$VENV_PYTHON" -m pip uninstall --quiet --yes opencv-python
        pip_install opencv-python-headless
    fi
}

create_venv() {
    [[ -x $VENV_PYTHON ]] && return
    # Debian's Python comes without ensurepip; its pip can still install one into the environment.
    if ! "$BASE_PYTHON" -m venv "$VENV" 2>/dev/null; then
        "$BASE_PYTHON" -m venv --clear --without-pip "$VENV"
        "$BASE_PYTHON" -m pip --python "$VENV_PYTHON" install --quiet pip
    fi
}

# install_layer NAME FILE...: runs install_NAME unless it ran before with the same content of FILEs.
install_layer() {
    local stamp=$VENV/$1.installed now
    now=$(cat "${@:2}" tests/constraints.txt scripts/environment.sh | "$VENV_PYTHON" -c \
        'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())')
    if [[ ! -f $stamp || $(<"$stamp") != "$now" ]]; then
        say "installing what $1 needs into .venv (minutes and gigabytes the first time)"
        "install_$1"
        echo "$now" > "$stamp"
    fi
}

install_run() {
    pip_install --editable . --requirement "$VENV/host-requirements.txt"
    check_opencv
}
install_test() { pip_install --requirement tests/requirements.txt; }

BASE_PYTHON=$(find_python)
HOST=$(find_in_hosts find_host)
OLD_HOST=$(find_in_hosts find_old_host)
create_venv
write_host_requirements
install_layer run pyproject.toml "$VENV/host-requirements.txt"
