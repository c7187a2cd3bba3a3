#!/usr/bin/env bash
# Runs the whole suite, on SQLite and on PostgreSQL, on a bare Debian machine with a Rust toolchain.
# Installs what is missing (postgresql, python3), starts a PostgreSQL cluster of its own on a free
# loopback port in a temporary folder, and takes both away again.
#
#   tests/run.sh [arguments for cargo test or cargo nextest run]
#
# FEED_CORPUS: folder of statement files of other projects (default ../shared/corpora); tests that need
# it say so in one line where it is absent. TEST_PG_URL: a server to use instead of an own one.
# TEST_CITUS_URL: the coordinator of a Citus cluster, whose database has the extension; without it the tests on
# several nodes say in one line that they are skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '== %s\n' "$*"; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

postgres_bin() {
  local folder
  folder=$(find /usr/lib/postgresql -maxdepth 2 -name bin -type d 2>/dev/null | sort -V | tail -n 1)
  if [ -z "$folder" ] && command -v initdb >/dev/null; then folder=$(dirname "$(command -v initdb)"); fi
  printf '%s' "$folder"
}

install_missing() {
  local missing=()
  [ -n "$(postgres_bin)" ] || [ -n "${TEST_PG_URL:-}" ] || missing+=(postgresql)
  command -v python3 >/dev/null || missing+=(python3)
  command -v openssl >/dev/null || missing+=(openssl)
  command -v cc >/dev/null || missing+=(gcc libc6-dev)
  [ ${#missing[@]} = 0 ] && return
  say "installing ${missing[*]}"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
}

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# The server refuses to run as root: then it runs as the user its package made.
as_postgres() {
  if [ "$(id -u)" != 0 ]; then "$@"; return; fi
  if command -v runuser >/dev/null; then runuser -u postgres -- "$@"; else su postgres -s /bin/bash -c "$(printf '%q ' "$@")"; fi
}

cluster=
bin=
stop() {
  [ -n "$cluster" ] || return 0
  say "stopping PostgreSQL"
  as_postgres "$bin/pg_ctl" -D "$cluster/data" -m fast -w stop >/dev/null 2>&1 || true
  rm -rf "$cluster"
}
trap stop EXIT
trap 'exit 130' INT TERM

start_postgres() {
  bin=$(postgres_bin)
  cluster=$(mktemp -d "${TMPDIR:-/tmp}/jintuo-pg.XXXXXX")
  [ "$(id -u)" != 0 ] || chown postgres "$cluster"
  local port
  port=$(free_port)
  say "starting $("$bin/postgres" --version) on 127.0.0.1:$port"
  as_postgres "$bin/initdb" --data-checksums -D "$cluster/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 >"$cluster.log" 2>&1 \
    || { cat "$cluster.log"; exit 1; }
  rm -f "$cluster.log"
  as_postgres "$bin/pg_ctl" -D "$cluster/data" -w -t 60 -l "$cluster/log" \
    -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=200" \
    start >/dev/null || { cat "$cluster/log"; exit 1; }
  export TEST_PG_URL="postgres://postgres@127.0.0.1:$port/postgres"
}

install_missing
export FEED_CORPUS="${FEED_CORPUS:-$PWD/../shared/corpora}"
[ -n "${TEST_PG_URL:-}" ] || start_postgres

if cargo nextest --version >/dev/null 2>&1; then
  say "cargo nextest run"
  cargo nextest run --no-fail-fast "$@"
  say "cargo test --doc"
  cargo test --doc
else
  say "cargo test"
  cargo test --no-fail-fast "$@"
fi
say "all tests passed"
