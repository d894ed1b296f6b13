#!/bin/bash
# Real clients against the real program: installs what is missing of them, runs the tests of each.
#
#   tests/clients/run.sh [NAME]...      NAME is that of a test_NAME.py; without one, all of them
#
# What is no Debian package goes into build/clients: nothing else of the machine is changed. A test
# whose client is not there says so and is skipped: npm and Go (1.23.8 or later) are used where they
# are, and not installed. CAIRN_BINARY names another program than that of the dev preset.
set -euo pipefail
cd "$(dirname "$0")/../.."

names=("$@")
if [ ${#names[@]} -eq 0 ]; then
    for file in tests/clients/test_*.py; do
        name=$(basename "$file" .py)
        names+=("${name#test_}")
    done
fi
wanted() {
    [[ " ${names[*]} " == *" $1 "* ]]
}

sh deploy/install.sh deploy/packages.txt deploy/packages-test.txt tests/clients/packages.txt
if [ -z "${CAIRN_BINARY:-}" ]; then
    cmake --preset dev >/dev/null
    cmake --build --preset dev --target cairn
    CAIRN_BINARY=$PWD/build/dev/cairn
fi
export CAIRN_BINARY

at=$PWD/build/clients
mkdir -p "$at"

if wanted py_consul && ! "$at/venv/bin/python" -c 'import consul' 2>/dev/null; then
    /usr/bin/python3 -m venv "$at/venv"
    "$at/venv/bin/pip" --disable-pip-version-check -q install 'py-consul==1.8.0'
fi

if wanted npm_consul && command -v npm >/dev/null; then
    mkdir -p "$at/npm"
    cp tests/clients/npm/package.json tests/clients/npm/package-lock.json \
        tests/clients/npm/client.js "$at/npm/"
    if ! [ -d "$at/npm/node_modules/consul" ]; then
        (cd "$at/npm" && npm ci --no-audit --no-fund --loglevel=error)
    fi
fi

go_is_new_enough() {
    local have
    have=$(go env GOVERSION 2>/dev/null) || return 1
    printf '1.23.8\n%s\n' "${have#go}" | sort -V -C
}
if go_is_new_enough; then
    export GOMODCACHE=$at/go/modules GOCACHE=$at/go/cache GOFLAGS='-modcacherw -mod=readonly'
    export GOTOOLCHAIN=local
    if wanted go_api; then
        (cd tests/clients/go && go build -o "$at/go-client" .)
        (cd tests/clients/go && go test -c -o "$at/go-testserver" .)
    fi
    if wanted prometheus; then
        (cd tests/clients/prometheus && go build -o "$at/prometheus-discovery" .)
    fi
fi

failed=()
for name in "${names[@]}"; do
    python=/usr/bin/python3
    # Two clients are Python modules of one name: this one has an environment of its own.
    [ "$name" != py_consul ] || python=$at/venv/bin/python
    echo "== $name"
    (cd tests/clients && "$python" -W ignore::DeprecationWarning -m unittest -v "test_$name") ||
        failed+=("$name")
done
if [ ${#failed[@]} -gt 0 ]; then
    echo "Failed: ${failed[*]}"
    exit 1
fi
echo "All clients passed."
