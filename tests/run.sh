#!/bin/bash
# All tests: installs what is missing, builds with the address and undefined-behaviour sanitizers,
# runs the unit tests, then the simulators in a fast build, each fuzz target for 20 seconds, and at
# last the end-to-end tests and the recipes.
set -euo pipefail
cd "$(dirname "$0")/.."

sh deploy/install.sh deploy/packages.txt deploy/packages-test.txt
cmake --preset dev >/dev/null
cmake --build --preset dev
ctest --preset dev -j2

cmake --preset sim >/dev/null
cmake --build --preset sim
ctest --preset sim -j2

cmake --preset fuzz >/dev/null
cmake --build --preset fuzz --target fuzz
CAIRN_FUZZ_BUILT=1 ctest --preset fuzz -j4

# Three modules at a time, because they mostly wait. Who fails is shown whole.
run_module() {
    local folder=${1%/*} module=${1##*/} status=0
    local log=$PWD/build/e2e/$module.log
    (cd "$folder" && CAIRN_BINARY=$PWD/../../build/dev/cairn /usr/bin/python3 -m unittest -v "$module") \
        >"$log" 2>&1 || status=$?
    if ((status != 0)); then cat "$log"; fi
    echo "$module: $(grep '^Ran ' "$log"), $(tail -n 1 "$log")"
    return $status
}
export -f run_module
mkdir -p build/e2e
printf '%s\n' tests/e2e/test_*.py tests/recipes/test_*.py | sed 's/\.py$//' |
    xargs -P 3 -I {} bash -c 'run_module {}'
echo "All tests passed."
