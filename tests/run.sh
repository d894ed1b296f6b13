#!/bin/bash
# All tests: installs what is missing, builds with the address and undefined-behaviour sanitizers,
# runs the unit tests, each fuzz target for 20 seconds, then the end-to-end tests.
set -euo pipefail
cd "$(dirname "$0")/.."

sh deploy/install.sh deploy/packages.txt deploy/packages-test.txt
cmake --preset dev >/dev/null
cmake --build --preset dev
ctest --preset dev -j2

cmake --preset fuzz >/dev/null
cmake --build --preset fuzz --target fuzz
CAIRN_FUZZ_BUILT=1 ctest --preset fuzz -j4

if compgen -G 'tests/e2e/test_*.py' >/dev/null; then
    CAIRN_BINARY=$PWD/build/dev/cairn /usr/bin/python3 -m unittest discover -v -s tests/e2e
fi
echo "All tests passed."
