#!/bin/bash
# All tests: installs what is missing, builds with the address and undefined-behaviour sanitizers,
# runs the unit tests, then the end-to-end tests against that build.
set -euo pipefail
cd "$(dirname "$0")/.."

sh deploy/install.sh deploy/packages.txt deploy/packages-test.txt
cmake --preset dev >/dev/null
cmake --build --preset dev
ctest --preset dev -j2

if compgen -G 'tests/e2e/test_*.py' >/dev/null; then
    CAIRN_BINARY=$PWD/build/dev/cairn /usr/bin/python3 -m unittest discover -v -s tests/e2e
fi
CAIRN_BINARY=$PWD/build/dev/cairn /usr/bin/python3 -m unittest discover -v -s tests/recipes
echo "All tests passed."
