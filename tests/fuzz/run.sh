#!/bin/bash
# Fuzzes one target for so many seconds. What it finds is kept in build/fuzz-corpus and is the
# start of the next run; an input that fails is left in build/fuzz-finds. The tree stays as it is.
#
#   tests/fuzz/run.sh TARGET SECONDS     a target is a file tests/fuzz/TARGET.c
#
# At the end a line tells CPU seconds, executions and the size of the corpus.
set -euo pipefail
if [[ $# != 2 || ! $2 =~ ^[1-9][0-9]*$ ]]; then
    echo "usage: tests/fuzz/run.sh TARGET SECONDS" >&2
    ls "$(dirname "$0")" | sed -n 's/^\(.*_fuzz\)\.c$/  \1/p' >&2
    exit 2
fi
cd "$(dirname "$0")/../.."
target=$1 seconds=$2
if [[ ! -f tests/fuzz/$target.c ]]; then
    echo "run.sh: there is no target '$target'" >&2
    exit 2
fi
program=build/fuzz/tests/fuzz/$target
if [[ ! -x $program || -z ${CAIRN_FUZZ_BUILT:-} ]]; then
    cmake --preset fuzz >/dev/null
    cmake --build --preset fuzz --target "$target" >/dev/null
fi

found=build/fuzz-corpus/$target
log=build/fuzz-$target.log
mkdir -p "$found" build/fuzz-finds
options=(-max_total_time="$seconds" -max_len=4096 -timeout=25 -print_final_stats=1
    -artifact_prefix=build/fuzz-finds/"$target"-)
if [[ -f tests/fuzz/dict/$target.dict ]]; then
    options+=(-dict=tests/fuzz/dict/"$target".dict)
fi
status=0
TIMEFORMAT='%U %S'
cpu=$({ time "$program" "${options[@]}" "$found" "tests/fuzz/corpus/$target" >"$log" 2>&1; } 2>&1) ||
    status=$?
if ((status != 0)); then
    tail -n 60 "$log"
fi
cpu=$(awk '{ printf "%.1f", $1 + $2 }' <<<"$cpu")
execs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -n 1)
echo "$target: $cpu CPU s, ${execs:-0} executions, corpus of $(ls "$found" | wc -l), exit $status"
exit "$status"
