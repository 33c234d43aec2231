#!/bin/bash
# Shows a function wake, answer, grow and rest on this machine, and prints what each request took: `make demo` builds
# what it needs and runs it. What `catnap dev` says of itself is indented.
set -euo pipefail
cd "$(dirname "$0")/.."

export PATH=${CARGO_TARGET_DIR:-target}/debug:$PATH
# The replicas are started in the manifest's folder, so a relative PATH would not do.
PATH=$(realpath "${PATH%%:*}"):${PATH#*:}
work=$(mktemp -d)
said=$work/said
: >"$said"

# Port 0: the system chooses a free one, and the first line tells it.
catnap dev --filename examples/hello/demo.yaml --listen 127.0.0.1:0 >"$said" 2>&1 &
catnap=$!
finish() {
    kill "$catnap" 2>/dev/null || true
    wait "$catnap" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

shown=0
# Shows what catnap has said since the last time.
show() {
    local lines
    lines=$(wc -l <"$said")
    sed -n "$((shown + 1)),${lines}s/^/      /p" "$said"
    shown=$lines
}

# await SECONDS PATTERN: waits until what catnap says from now on holds the pattern.
await() {
    local until=$((SECONDS + $1)) from=$((shown + 1))
    until tail -n "+$from" "$said" | grep -q -E "$2"; do
        if ! kill -0 "$catnap" 2>/dev/null || [ "$SECONDS" -ge "$until" ]; then
            show
            echo "catnap did not say: $2" >&2
            exit 1
        fi
        sleep 0.1
    done
}

# requests PATH: requests at once, as many as the path says in brackets; prints status and milliseconds of each.
requests() {
    curl --no-progress-meter --max-time 30 --parallel --parallel-immediate --parallel-max 100 \
        --output /dev/null --write-out '%{http_code} %{time_total}\n' "$address$1" |
        awk '{ printf "%s %.1f\n", $1, $2 * 1000 }'
}

await 20 'listens on http'
address=$(sed -n -E '1s/.*(http:\/\/[0-9.:]+).*/\1/p' "$said")
await 20 '^zero'
show

echo "1. A cold request: no replica runs."
requests / >"$work/cold"
await 20 '^ready'
show

echo "2. Ten warm ones, one after the other."
for _ in {1..10}; do requests /; done >"$work/warm"

echo "3. A burst: 20 requests at once of 300 ms each; a replica takes at most 5 at once."
requests '/sleep?ms=300&number=[1-20]' >"$work/burst"
await 20 '^ready [2-9]'
show

echo "4. Nothing: after 3 s without a request it rests."
await 60 '^zero'
show

echo "5. A cold burst: 20 requests at once, and no replica runs."
requests '/sleep?ms=300&number=[1-20]' >"$work/cold-burst"
show

# row NAME FILE: status, and the spread of the times.
row() {
    sort --numeric-sort --key 2 "$2" | awk -v name="$1" '
        { status[$1]++; time[NR] = $2 }
        END {
            for (code in status) answers = answers sprintf("%s x%d ", code, status[code])
            printf "%-34s %-10s %9.1f %9.1f %9.1f\n", name, answers, time[1], time[int((NR + 1) / 2)], time[NR]
        }'
}
echo
printf '%-34s %-10s %9s %9s %9s\n' "milliseconds" answers least median most
row "cold, from zero replicas" "$work/cold"
row "warm" "$work/warm"
row "burst of 20 x 300 ms, one replica" "$work/burst"
row "burst of 20 x 300 ms, none" "$work/cold-burst"

if [ "$(cat "$work"/{cold,warm,burst,cold-burst} | grep -c '^200 ')" -ne 51 ]; then
    echo "a request was not answered with 200" >&2
    exit 1
fi
