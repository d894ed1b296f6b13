#!/bin/bash
# Questions a second against Knot DNS, both with the same records, 2 UDP workers and EDNS 1232, the
# client on the same machine: read the ratio, not the numbers.
#
#   tests/bench/dns.sh --cairn build/release/cairn [--seconds 3] [--rounds 5] [--instances 10]
#
# Needs knot, dnsperf, dig and curl. Rounds alternate between the two, and the medians are compared,
# because the machine is never quiet. Exits 1 when a ratio is under 0.6.
set -euo pipefail

cairn='' seconds=3 rounds=5 instances=10
while [ $# -gt 0 ]; do
    case $1 in
    --cairn) cairn=$2 ;;
    --seconds) seconds=$2 ;;
    --rounds) rounds=$2 ;;
    --instances) instances=$2 ;;
    *) sed -n '2,/^set/{/^set/d;p}' "$0"; exit 2 ;;
    esac
    shift 2
done
[ -n "$cairn" ] || { echo "dns.sh: --cairn is needed" >&2; exit 2; }

dir=$(mktemp -d)
pids=()
clean_up() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$dir"
}
trap clean_up EXIT

free_port() {
    python3 -c 'import socket
s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# The zone that the front end makes of the same instances.
write_zone() {
    echo '$ORIGIN consul.'
    echo '$TTL 0'
    echo '@ SOA ns hostmaster 1 3600 600 86400 0'
    echo '@ NS ns'
    echo 'ns A 127.0.0.1'
    for ((i = 0; i < instances; i++)); do
        third=$((i / 250)) fourth=$((i % 250 + 1))
        hex=$(printf '0a01%02x%02x' $third $fourth)
        echo "web.service A 10.1.$third.$fourth"
        echo "web.service SRV 1 1 $((8000 + i)) $hex.addr.dc1"
        echo "$hex.addr.dc1 A 10.1.$third.$fourth"
    done
}

start_knot() {
    knot_port=$(free_port)
    write_zone >"$dir/consul.zone"
    cat >"$dir/knot.conf" <<CONF
server:
    rundir: $dir
    listen: 127.0.0.1@$knot_port
    udp-workers: 2
    tcp-workers: 1
    background-workers: 1
    udp-max-payload: 1232
database:
    storage: $dir/db
log:
  - target: stderr
    any: error
template:
  - id: default
    storage: $dir
    journal-content: none
    zonefile-load: whole
zone:
  - domain: consul.
    file: consul.zone
CONF
    knotd -c "$dir/knot.conf" 2>"$dir/knot.log" &
    pids+=($!)
}

start_cairn() {
    our_port=$(free_port)
    http_port=$(free_port)
    "$cairn" agent -dev -node=bench -bind=127.0.0.1 -dns-port="$our_port" \
        -http-port="$http_port" >"$dir/cairn.log" 2>&1 &
    pids+=($!)
    local url=http://127.0.0.1:$http_port/v1
    until curl -sf "$url/status/leader" | grep -q :; do sleep 0.1; done
    for ((i = 0; i < instances; i++)); do
        local third=$((i / 250)) fourth=$((i % 250 + 1))
        curl -sf -X PUT "$url/catalog/register" -d "{\"Node\": \"node$i\",
            \"Address\": \"10.0.$third.$fourth\", \"Service\": {\"ID\": \"web-$i\",
            \"Service\": \"web\", \"Address\": \"10.1.$third.$fourth\", \"Port\": $((8000 + i))},
            \"Check\": {\"CheckID\": \"web-$i\", \"Name\": \"web\", \"Status\": \"passing\",
            \"ServiceID\": \"web-$i\"}}" >/dev/null
    done
}

answers() { # port type
    dig @127.0.0.1 -p "$1" +noall +answer +bufsize=1232 +time=1 +tries=1 web.service.consul "$2" |
        sort -k5
}

wait_for() { until [ -n "$(answers "$1" A 2>/dev/null | grep -v '^;')" ]; do sleep 0.1; done; }

same_records() {
    for type in A SRV; do
        if ! diff <(answers "$knot_port" $type) <(answers "$our_port" $type) >"$dir/diff"; then
            echo "dns.sh: the two answer $type differently:" >&2
            cat "$dir/diff" >&2
            exit 1
        fi
    done
}

run() { # port type: questions a second
    echo "web.service.consul $2" >"$dir/questions"
    dnsperf -s 127.0.0.1 -p "$1" -d "$dir/questions" -l "$seconds" -c 8 -T 1 -q 200 -e \
        2>/dev/null | awk '/Queries per second/ { print int($4) }'
}

median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

start_knot
start_cairn
wait_for "$knot_port"
wait_for "$our_port"
same_records
status=0
for type in A SRV; do
    : >"$dir/knot.$type"
    : >"$dir/ours.$type"
    for ((round = 0; round < rounds; round++)); do
        run "$knot_port" $type >>"$dir/knot.$type"
        run "$our_port" $type >>"$dir/ours.$type"
    done
    knot=$(median <"$dir/knot.$type")
    ours=$(median <"$dir/ours.$type")
    ratio=$(awk -v a="$ours" -v b="$knot" 'BEGIN { printf "%.2f", a / b }')
    echo "$type: knot $knot/s, ours $ours/s, ratio $ratio" \
        "(knot $(tr '\n' ' ' <"$dir/knot.$type"), ours $(tr '\n' ' ' <"$dir/ours.$type"))"
    awk -v r="$ratio" 'BEGIN { exit r < 0.6 }' || status=1
done
exit $status
