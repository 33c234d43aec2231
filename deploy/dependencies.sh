#!/bin/sh
# Installs what building (`build`), the demonstration (`demo`), the test cluster (`cluster`), benchmarks (`bench`), counts of
# what a request costs (`counts`) and tests with third parties (`peers`) need on Debian, as root; as anybody else, says what
# is missing and how to get it. Rust and Go are taken as given and only looked for.
set -eu

missing=""
packages=""

# need COMMAND-OR-FILE PACKAGE
need() {
    case $1 in
    /*) [ -e "$1" ] && return 0 ;;
    *) command -v "$1" >/dev/null 2>&1 && return 0 ;;
    esac
    missing="$missing $1"
    case " $packages " in *" $2 "*) ;; *) packages="$packages $2" ;; esac
}

tool() {
    command -v "$1" >/dev/null 2>&1 && return 0
    echo "missing: $1 ($2)" >&2
    exit 1
}

# Programs of the system are in sbin, which is not on everybody's PATH.
PATH=$PATH:/usr/sbin:/sbin

for group in "$@"; do
    case $group in
    build)
        tool cargo "https://rustup.rs"
        need cc gcc
        need /usr/include/stdio.h libc6-dev
        # One test uses up the ports of a network of its own.
        need unshare util-linux
        need ip iproute2
        ;;
    demo)
        need curl curl
        ;;
    cluster)
        tool go "https://go.dev/dl, 1.26 or later"
        need ip iproute2
        need nsenter util-linux
        need runc runc
        need nft nftables
        need iptables iptables
        need conntrack conntrack
        need socat socat
        need /usr/lib/cni/bridge containernetworking-plugins
        need /etc/ssl/certs/ca-certificates.crt ca-certificates
        ;;
    bench)
        need taskset util-linux
        need strace strace
        need nginx nginx-light
        need haproxy haproxy
        ;;
    counts)
        need taskset util-linux
        need strace strace
        need valgrind valgrind
        ;;
    peers)
        tool go "https://go.dev/dl, 1.26 or later"
        need curl curl
        need wrk wrk
        need h2load nghttp2-client
        need slowhttptest slowhttptest
        need node nodejs
        need /usr/bin/python3 python3
        need /usr/lib/python3/dist-packages/requests python3-requests
        need /usr/lib/python3/dist-packages/httpx python3-httpx
        need /usr/lib/python3/dist-packages/h2 python3-h2
        need /usr/lib/python3/dist-packages/websockets python3-websockets
        ;;
    *)
        echo "usage: $0 [build] [demo] [cluster] [bench] [counts] [peers]" >&2
        exit 2
        ;;
    esac
done

[ -n "$missing" ] || exit 0
if [ "$(id -u)" -ne 0 ]; then
    echo "missing:$missing" >&2
    echo "run as root: apt-get update && apt-get install --yes --no-install-recommends$packages" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086 # a list of words
apt-get install --yes -qq --no-install-recommends $packages
