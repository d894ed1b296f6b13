#!/bin/bash
# All benchmarks. Each comparison starts both sides itself, in one run, and prints ratios.
#
#   tests/bench/run.sh [lookup|watchers|idle|instances|filter|checks|kv|dns|pool|group|client|failover|outage|restart|large|mirror|wan]...
set -euo pipefail
cd "$(dirname "$0")/../.."

sh deploy/install.sh deploy/packages.txt tests/bench/packages.txt
cmake --preset release >/dev/null
cmake --build --preset release
gcc -O2 -o build/release/bare_httpd tests/bench/bare_httpd.c -lmicrohttpd
gcc -O2 -D_GNU_SOURCE -o build/release/watch_client tests/bench/watch_client.c
gcc -O2 -D_GNU_SOURCE -o build/release/check_target tests/bench/check_target.c
gcc -O2 -D_GNU_SOURCE -o build/release/wan_router tests/wan/router.c
gcc -O2 -D_GNU_SOURCE -I. -Ibuild/release -o build/release/mirror_bench tests/bench/mirror.c \
    agent/squeeze.c build/release/libcatalog.a build/release/proto/libproto.a \
    build/release/libbase.a -lprotobuf-c -lpcre2-8 -ljansson -lz -lm -lpthread

names=("$@")
[ ${#names[@]} -gt 0 ] || names=(lookup watchers idle instances filter checks kv dns pool group client failover outage restart large mirror wan)
for name in "${names[@]}"; do
    if [ "$name" = dns ]; then
        tests/bench/dns.sh --cairn build/release/cairn
    elif [ "$name" = pool ]; then
        /usr/bin/python3 tests/bench/pool.py --cairn build/release/cairn
        /usr/bin/python3 tests/bench/pool.py --cairn build/release/cairn --encrypt --idle
        /usr/bin/python3 tests/bench/pool.py --cairn build/release/cairn --members 50 --idle \
            --only cairn
    elif [ "$name" = client ]; then
        /usr/bin/python3 tests/bench/client.py --cairn build/release/cairn
    elif [ "$name" = failover ]; then
        /usr/bin/python3 tests/bench/failover.py --cairn build/release/cairn
    elif [ "$name" = wan ]; then
        /usr/bin/python3 tests/bench/wan.py --cairn build/release/cairn \
            --router build/release/wan_router
    elif [ "$name" = outage ]; then
        /usr/bin/python3 tests/bench/outage.py --cairn build/release/cairn
    elif [ "$name" = restart ]; then
        /usr/bin/python3 tests/bench/restart.py --cairn build/release/cairn
        /usr/bin/python3 tests/bench/restart.py --cairn build/release/cairn --killed
    elif [ "$name" = large ]; then
        /usr/bin/python3 tests/bench/large.py --cairn build/release/cairn
    elif [ "$name" = mirror ]; then
        build/release/mirror_bench
    elif [ "$name" = group ]; then
        /usr/bin/python3 tests/bench/group.py --cairn build/release/cairn
    else
        /usr/bin/python3 tests/bench/bench.py --cairn build/release/cairn \
            --bare build/release/bare_httpd --watch-client build/release/watch_client \
            --check-target build/release/check_target "$name"
    fi
done
