#!/bin/sh
# Fetches promtool, Prometheus' own reader of rules, out of Debian's package `prometheus` into the user's cache, where the chart's
# tests look for it. The package itself is not installed: it would start a server.
set -eu

tools=${XDG_CACHE_HOME:-$HOME/.cache}/catnap/tools
if command -v promtool >/dev/null 2>&1 || [ -x "$tools/promtool" ]; then
    exit 0
fi
mkdir -p "$tools"
folder=$(mktemp -d "$tools/promtool-XXXXXX")
trap 'rm -rf "$folder"' EXIT
cd "$folder"
# Lists of packages that are missing or old are fetched, where one may.
apt-get download -qq prometheus || { apt-get update -qq && apt-get download -qq prometheus; }
dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x ./usr/bin/promtool
mv usr/bin/promtool "$tools/promtool"
