#!/bin/bash
# Three regions on this machine: a, b and c, each with 3 servers and 2 client agents, joined by a wide
# area network of 80 ms (tests/wan). A live table shows who answers what, while commands at the prompt
# kill regions and cut links: type help.
#
# Usage, as root: deploy/regions.sh [--cairn FILE] [--script FILE]
#   --cairn FILE    this program instead of a release build
#   --script FILE   its lines are the commands, without a prompt; - is the standard input
set -euo pipefail
cd "$(dirname "$0")/.."

cairn=
arguments=()
while [ $# -gt 0 ]; do
    case $1 in
    --script) arguments+=(--script "${2:?a file}") && shift ;;
    --cairn) cairn=${2:?a file} && shift ;;
    *)
        sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2
        exit 2
        ;;
    esac
    shift
done

if [ "$(id -u)" -ne 0 ]; then
    echo "Network namespaces need root: sudo deploy/regions.sh" >&2
    exit 1
fi
sh deploy/install.sh deploy/packages.txt deploy/packages-test.txt
if [ -z "$cairn" ]; then
    cmake --preset release >/dev/null
    cmake --build --preset release --target cairn
    cairn=build/release/cairn
fi
mkdir -p build
gcc -O2 -D_GNU_SOURCE -o build/wan_router tests/wan/router.c
exec /usr/bin/python3 deploy/regions.py --cairn "$cairn" --router build/wan_router "${arguments[@]}"
