#!/usr/bin/env bash
# Installs what is missing, and only that: Debian packages (as root) and the project's virtual environment in .venv.
# Quiet when nothing is to be done. PYTHON=/path/to/python chooses the interpreter (3.10 to 3.13).
# --print-packages names the Debian packages that are missing, on one line, and installs nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

UV_VERSION=0.13.9
STAMP=.venv/.set-up-from
CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt

die() { printf 'set-up: %s\n' "$*" >&2; exit 1; }
say() { printf 'set-up: %s\n' "$*"; }
# Debian keeps servers in /usr/sbin, which a user's PATH need not have.
has() { PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null 2>&1; }
fits() { "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; }

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.10}; do
        if fits "$candidate"; then command -v "$candidate"; return; fi
    done
}

missing_packages() {
    local python
    # The -core packages have the server without the service that Debian's mariadb-server would start on this machine.
    has mariadbd || has mysqld || echo mariadb-server-core
    has my_print_defaults || echo mariadb-client-core
    has fusermount3 || has fusermount || echo fuse3
    # For networks between hosts, which only root can make; without them the claims about partitions are unknown.
    if [ "$(id -u)" = 0 ]; then
        has ip || echo iproute2
        has iptables || echo iptables
    fi
    python=$(find_python)
    if [ -z "$python" ]; then
        echo python3 python3-venv
    else
        "$python" -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
        # The wheel that carries a redis-server exists for Python 3.11 alone.
        "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || has redis-server || echo redis-server
    fi
}

install_packages() {
    local packages="$*"
    has apt-get || die "missing: $packages (these are Debian's names; install them with your package manager)"
    if [ "$(id -u)" != 0 ]; then
        die "missing Debian packages; install them with: sudo apt-get install --no-install-recommends $packages"
    fi
    say "installing Debian packages: $packages"
    # shellcheck disable=SC2086
    {
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages </dev/null
    } >/tmp/milvus-juicefs-apt.log 2>&1 || {
        tail -n 20 /tmp/milvus-juicefs-apt.log >&2
        die "apt-get failed; its output is in /tmp/milvus-juicefs-apt.log"
    }
}

make_environment() {
    local python=$1
    say "making the virtual environment in .venv with $("$python" --version)"
    rm -rf .venv
    # uv trusts its own list of authorities; this machine's own list also knows the user's proxy, if there is one.
    [ -n "${SSL_CERT_FILE:-}" ] || [ ! -e "$CA_BUNDLE" ] || export SSL_CERT_FILE="$CA_BUNDLE"
    "$python" -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "uv==$UV_VERSION"
    # From elsewhere: where uv sees pyproject.toml it applies its overrides to this file too, and they undo the pins.
    (here=$PWD; cd / && "$here/.venv/bin/python" -m uv pip install --quiet --python "$here/.venv/bin/python" \
        --no-deps --require-hashes -r "$here/requirements.txt")
    wanted_stamp > "$STAMP"
}

wanted_stamp() { cat requirements.txt tools/setup.sh | sha256sum; }

# shellcheck disable=SC2046
packages=$(echo $(missing_packages))
case "${1:-}" in
    "") ;;
    --print-packages) echo "$packages"; exit ;;
    *) die "unknown argument: $1 (known: --print-packages)" ;;
esac
[ -z "$packages" ] || install_packages "$packages"

if [ ! -x .venv/bin/python ] || [ "$(cat "$STAMP" 2>/dev/null)" != "$(wanted_stamp)" ]; then
    python=$(find_python)
    [ -n "$python" ] || die "no Python 3.10 to 3.13 found; install one, or name it: PYTHON=/path/to/python make setup"
    make_environment "$python"
fi
