#!/usr/bin/env bash
# Mutation testing of the checkers and the waits: does a test fail for every small change of their code?
# mutmut lives in .mutmut, is no dependency of the project, and works on a copy of the tree in there.
#   bash tools/mutate.sh [NAME...]    NAME: only these mutants, for example "suites.checks.recall*"
# Ends with the counts and the names of what survived; `bash tools/mutate.sh --show NAME` prints one mutant.
# What was killed is remembered as long as its code is unchanged; FRESH=1 forgets it. JOBS=N at once (default: cores).
set -euo pipefail
cd "$(dirname "$0")/.."

MUTMUT_VERSION=3.8.1
HOME_FOLDER=$PWD/.mutmut
PYTHON=$PWD/.venv/bin/python

[ -x "$PYTHON" ] || { echo "mutate: no environment yet; run: make setup" >&2; exit 1; }
if [ ! -d "$HOME_FOLDER/lib-$MUTMUT_VERSION" ]; then
    echo "mutate: installing mutmut $MUTMUT_VERSION in .mutmut"
    "$PYTHON" -m pip install --quiet --disable-pip-version-check --target "$HOME_FOLDER/lib.new" \
        "mutmut==$MUTMUT_VERSION"
    # The project's own pytest has the plugins that its options name.
    rm -rf "$HOME_FOLDER"/lib.new/{pytest,_pytest,pluggy,iniconfig}*
    mv "$HOME_FOLDER/lib.new" "$HOME_FOLDER/lib-$MUTMUT_VERSION"
fi
export PYTHONPATH=$HOME_FOLDER/lib-$MUTMUT_VERSION

tree=$HOME_FOLDER/tree
mkdir -p "$tree"
if [ "${1:-}" = --show ]; then
    cd "$tree" && exec "$PYTHON" -m mutmut show "${2:?which mutant}"
fi
[ -z "${FRESH:-}" ] || rm -rf "$tree/mutants"
for part in conftest.py pyproject.toml fixtures suites tools; do
    rm -rf "${tree:?}/$part"
    cp -rp "$part" "$tree/"
done
cd "$tree"
"$PYTHON" -m mutmut run --max-children "${JOBS:-$(nproc)}" "$@"
"$PYTHON" -m mutmut export-cicd-stats
cat mutants/mutmut-cicd-stats.json
echo
"$PYTHON" -m mutmut results
