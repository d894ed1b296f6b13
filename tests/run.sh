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

# Three modules at a time, because they mostly wait; those that take longest begin first. Who fails is
# shown whole, and all who failed once more at the very end.
run_module() {
    local folder=${1%/*} module=${1##*/} status=0
    local log=$PWD/build/e2e/$module.log
    (cd "$folder" && CAIRN_BINARY=$PWD/../../build/dev/cairn /usr/bin/python3 -m unittest -v "$module") \
        >"$log" 2>&1 || status=$?
    if ((status != 0)); then
        cat "$log"
        { echo "$module:" && { grep -E '^(FAIL|ERROR): |^[A-Za-z.]+(Error|imeout|Exception)' "$log" ||
            tail -n 3 "$log"; } | cut -c 1-300; } >"$PWD/build/e2e/$module.failed"
    fi
    echo "$module: $(grep '^Ran ' "$log"), $(tail -n 1 "$log")"
    return $status
}
export -f run_module
longest="pool checks wan outage commands restart hostile start recovery mirror duties blocking client telemetry process"
rm -rf build/e2e
mkdir -p build/e2e
modules() {
    for name in $longest; do echo "tests/e2e/test_$name"; done
    printf '%s\n' tests/e2e/test_*.py tests/recipes/test_*.py | sed 's/\.py$//'
}
if ! modules | awk '!seen[$0]++' | xargs -P 3 -I {} bash -c 'run_module {}'; then
    echo "These modules failed:"
    cat build/e2e/*.failed
    exit 1
fi
echo "All tests passed."
