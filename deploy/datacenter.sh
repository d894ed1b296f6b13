#!/bin/bash
# A datacenter on this machine: 3 servers and 50 client agents, each on a host of its own (a network
# namespace behind a bridge). Shows in a live table how a host that is cut off leaves DNS and comes
# back, how one whose agent is killed does, and one that leaves.
#
# Usage, as root: deploy/datacenter.sh [--clients N] [--cairn FILE] [--keep]
#   --clients N    so many client agents
#   --cairn FILE   this program instead of a release build
#   --keep         leave everything running until Enter is pressed, and say how to reach it
set -euo pipefail
cd "$(dirname "$0")/.."

cairn=
arguments=()
while [ $# -gt 0 ]; do
    case $1 in
    --keep) arguments+=(--keep) ;;
    --clients) arguments+=(--clients "${2:?a number}") && shift ;;
    --cairn) cairn=${2:?a file} && shift ;;
    *)
        sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2
        exit 2
        ;;
    esac
    shift
done

if [ "$(id -u)" -ne 0 ]; then
    echo "Network namespaces need root: sudo deploy/datacenter.sh" >&2
    exit 1
fi
sh deploy/install.sh deploy/packages.txt deploy/packages-test.txt
if [ -z "$cairn" ]; then
    cmake --preset release >/dev/null
    cmake --build --preset release --target cairn
    cairn=build/release/cairn
fi
exec /usr/bin/python3 deploy/datacenter.py --cairn "$cairn" "${arguments[@]}"
