#!/bin/bash
# From a fresh Debian 12 to a service that is discovered and health-checked, in one command: builds
# the agent, starts it, registers a real web server, and shows how the server leaves DNS when it
# stops and returns when it starts.
#
# Usage: deploy/quickstart.sh [--keep] [--http-port N] [--dns-port N]
#   --keep   leave the agent and the web server running and say how to stop them
set -euo pipefail
cd "$(dirname "$0")/.."

keep=no
http_port=8500
dns_port=8600
while [ $# -gt 0 ]; do
    case $1 in
    --keep) keep=yes ;;
    --http-port) http_port=$2 && shift ;;
    --dns-port) dns_port=$2 && shift ;;
    *)
        sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2
        exit 2
        ;;
    esac
    shift
done

export no_proxy='*' # everything here is on this machine
agent_pid=
web_pid=
dir=
done=no

# The processes this script started, by their pid, and nothing else.
stop() {
    local pid=$1 i
    [ -n "$pid" ] || return 0
    kill "$pid" 2>/dev/null || true
    for i in $(seq 100); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.05
    done
    kill -9 "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
}

clean_up() {
    local status=$?
    trap - EXIT
    if [ "$status" -ne 0 ] && [ -n "$dir" ] && [ -s "$dir/agent.log" ]; then
        echo
        echo "FAILED. The end of the agent's log:"
        tail -n 40 "$dir/agent.log"
    fi
    if [ "$status" -eq 0 ] && [ "$done" = yes ] && [ "$keep" = yes ]; then
        exit 0
    fi
    stop "$web_pid"
    stop "$agent_pid"
    [ -z "$dir" ] || rm -rf "$dir"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() {
    echo
    echo "== $*"
}

# Shows a command as it can be typed, and runs it.
show() {
    printf '$'
    printf ' %q' "$@"
    printf '\n'
    "$@"
}

# wait_for SECONDS WHAT COMMAND...: until the command succeeds.
wait_for() {
    local seconds=$1 what=$2
    local deadline=$((SECONDS + seconds))
    shift 2
    until "$@" >/dev/null 2>&1; do
        if [ -n "$agent_pid" ] && ! kill -0 "$agent_pid" 2>/dev/null; then
            echo "The agent ended by itself while waiting for: $what" >&2
            exit 1
        fi
        if [ "$SECONDS" -ge "$deadline" ]; then
            echo "Not within $seconds s: $what" >&2
            exit 1
        fi
        sleep 0.1
    done
}

in_use() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

get() {
    curl -sSf --max-time 5 "http://127.0.0.1:$http_port$1"
}

ask() {
    dig @127.0.0.1 -p "$dns_port" +short +time=1 +tries=1 "$@"
}

has_leader() {
    get /v1/status/leader | grep -q :
}

in_dns() {
    ask web.service.consul A | grep -qx 127.0.0.1
}

not_in_dns() {
    local answer
    answer=$(ask web.service.consul A) && [ -z "$answer" ]
}

start_web() {
    python3 -m http.server "$web_port" --bind 127.0.0.1 --directory "$dir/site" \
        >"$dir/web.log" 2>&1 &
    web_pid=$!
    wait_for 10 "the web server answers" curl -sf "http://127.0.0.1:$web_port/"
}

say "1. Packages"
sh deploy/install.sh deploy/packages.txt

say "2. Building build/release/cairn"
cmake --preset release >/dev/null
cmake --build --preset release
ls -l build/release/cairn

say "3. Starting an agent: HTTP on port $http_port, DNS on port $dns_port"
for port in "$http_port" "$dns_port"; do
    if in_use "$port"; then
        echo "Port $port of 127.0.0.1 is in use (is another agent running?)." >&2
        echo "Stop that program, or choose others: $0 --http-port N --dns-port N" >&2
        exit 1
    fi
done
dir=$(mktemp -d)
mkdir "$dir/data" "$dir/site"
echo "Hello from the web service." >"$dir/site/index.html"
agent=(build/release/cairn agent -server -bootstrap-expect=1 -node=quickstart -bind=127.0.0.1
    "-data-dir=$dir/data" "-http-port=$http_port" "-dns-port=$dns_port")
echo "\$ ${agent[*]}"
"${agent[@]}" >"$dir/agent.log" 2>&1 &
agent_pid=$!
wait_for 15 "the agent has a leader" has_leader
echo "It leads its datacenter: $(get /v1/status/leader)"

say "4. Starting a web server and registering it, checked every second"
web_port=$(python3 -c 'import socket
s = socket.socket()
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])')
start_web
cat >"$dir/web.json" <<END
{
  "Name": "web",
  "Address": "127.0.0.1",
  "Port": $web_port,
  "Check": {"HTTP": "http://127.0.0.1:$web_port/", "Interval": "1s", "Timeout": "1s"}
}
END
cat "$dir/web.json"
show curl -sSf -X PUT --data-binary "@$dir/web.json" \
    "http://127.0.0.1:$http_port/v1/agent/service/register"
wait_for 10 "the web service is in DNS" in_dns

say "5. Asking for it"
show dig @127.0.0.1 -p "$dns_port" +noall +answer web.service.consul A
show dig @127.0.0.1 -p "$dns_port" +noall +answer +additional web.service.consul SRV
show curl -sSf "http://127.0.0.1:$http_port/v1/health/service/web?passing&pretty"
echo

say "6. Stopping the web server: it leaves DNS"
stop "$web_pid"
web_pid=
wait_for 10 "the web service leaves DNS" not_in_dns
show dig @127.0.0.1 -p "$dns_port" +noall +comments web.service.consul A
show curl -sSf "http://127.0.0.1:$http_port/v1/health/checks/web?pretty"
echo

say "7. Starting it again: it returns"
start_web
wait_for 10 "the web service returns to DNS" in_dns
show dig @127.0.0.1 -p "$dns_port" +noall +answer web.service.consul A

done=yes
if [ "$keep" = yes ]; then
    say "Done. The agent (pid $agent_pid) and the web server (pid $web_pid) keep running."
    echo "Log:  $dir/agent.log"
    echo "Stop: kill $agent_pid $web_pid; rm -rf $dir"
else
    say "Done. Stopping what was started."
fi
