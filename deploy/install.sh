#!/bin/sh
# Installs the Debian packages named in the files, one a line, that are not installed yet.
# Usage: deploy/install.sh FILE...
set -eu

if [ $# -eq 0 ]; then
    echo "usage: $0 FILE..." >&2
    exit 2
fi
if ! command -v dpkg-query >/dev/null; then
    echo "$0: this is not Debian; install these yourself:" >&2
    sed 's/#.*//' "$@" >&2
    exit 1
fi

missing=
count=0
for package in $(sed 's/#.*//' "$@"); do
    count=$((count + 1))
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    if [ "$status" != installed ]; then
        missing="$missing $package"
    fi
done
if [ -z "$missing" ]; then
    echo "Packages: all $count are installed."
    exit 0
fi

as_root=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "$0: needs root or sudo to install:$missing" >&2
        exit 1
    fi
    as_root="sudo"
fi
echo "Packages: installing$missing"
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get -q update
$as_root apt-get -q install -y --no-install-recommends $missing
