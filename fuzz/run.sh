#!/usr/bin/env bash
# Fuzzes the parsers one after the other: fuzz/run.sh [SECONDS [PARSER...]]. What breaks a promise is kept, and its path printed.
# Inputs that were found before are tried first; `seeds` holds what to begin with. `fuzz/run.sh locked` only checks the lock file.
set -euo pipefail
cd "$(dirname "$0")"

if [[ ${1:-} == locked ]]; then
    # Whether its lock file is that of the crates it tries.
    exec cargo metadata --quiet --locked --format-version 1 >/dev/null
fi
seconds=${1:-10}
shift || true

cargo build --quiet --profile fuzz
target=$(cargo metadata --quiet --format-version 1 --no-deps | sed -E 's/.*"target_directory":"([^"]*)".*/\1/')
host=$(rustc -vV | sed -n 's/^host: //p')
program=$target/$host/fuzz/catnap-fuzz

parsers=("$@")
if ((${#parsers[@]} == 0)); then
    # It takes the exit for a crash, and would leave a note of it here.
    mapfile -t parsers < <(PARSER=list "$program" -artifact_prefix="$target/" 2>/dev/null)
fi
for parser in "${parsers[@]}"; do
    found=$target/fuzz-corpus/$parser
    mkdir -p "$found"
    corpora=("$found")
    if [[ -d seeds/$parser ]]; then corpora+=("seeds/$parser"); fi
    echo "$parser: ${seconds} s"
    if ! PARSER=$parser "$program" -max_total_time="$seconds" -timeout=5 -rss_limit_mb=1024 -print_final_stats=1 \
        -artifact_prefix="$found.broken-" "${corpora[@]}" >"$found.log" 2>&1; then
        grep -E -A 3 'panicked|ERROR|Test unit written' "$found.log" | head -20
        echo "see $found.log; once more: PARSER=$parser $program FILE"
        exit 1
    fi
    grep -E 'stat::(number_of_executed_units|peak_rss_mb)|DONE' "$found.log" | sed 's/^/    /'
done
