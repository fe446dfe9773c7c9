#!/usr/bin/env bash
# The drivers' own test suites, first against PostgreSQL itself, then against the sidecar in front of it. Whatever passes
# directly must pass through the sidecar: without a gid it is invisible. Differences that are allowed stand in allowed.txt,
# each with its reason.
#
# Needs the Debian packages that .ci/run installs. Uses a cluster and a sidecar of its own in a temporary folder.
# Arguments: the suites to run (pq pgx sqlalchemy tools), all of them by default. The last line counts the tests.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/atomesh-drivers-XXXXXX")
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
gocode=/usr/share/gocode/src/github.com
suites=("$@")
[ ${#suites[@]} -gt 0 ] || suites=(pq pgx sqlalchemy tools)
# So many tests pass directly at the least: a suite that does not run proves nothing.
declare -A least=([pq]=200 [pgx]=400 [sqlalchemy]=400 [tools]=9)
server_pid=
sidecar_pid=

say() { printf 'drivers: %s\n' "$*"; }
fail() {
  say "$*"
  exit 1
}

clean_up() {
  local code=$?
  # SIGQUIT ends PostgreSQL at once; the sidecar has no sessions left and ends in order.
  if [ -n "$sidecar_pid" ]; then kill -TERM "$sidecar_pid" 2>/dev/null && wait "$sidecar_pid" || true; fi
  if [ -n "$server_pid" ]; then kill -QUIT "$server_pid" 2>/dev/null && wait "$server_pid" || true; fi
  if [ "$code" -eq 0 ]; then
    rm -rf "$work"
  else
    say "logs are left in $work"
  fi
}
trap clean_up EXIT

free_port() {
  "$root/node_modules/.bin/node" -e 'const s=require("node:net").createServer().listen(0,"127.0.0.1",()=>{console.log(s.address().port);s.close()})'
}

# PostgreSQL refuses to run as root. `exec`, so that the pid is the server's; the callers put it into a subshell.
as_server() {
  if [ "$(id -u)" -eq 0 ]; then exec setpriv --reuid nobody --regid nogroup --clear-groups "$@"; else exec "$@"; fi
}

start_server() {
  [ -n "$bin" ] || fail 'there is no PostgreSQL server (Debian: postgresql)'
  mkdir "$work/data"
  chmod 711 "$work"
  [ "$(id -u)" -ne 0 ] || chown nobody "$work/data"
  (as_server "$bin/initdb" -D "$work/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync >"$work/initdb.log")
  server_port=$(free_port)
  as_server "$bin/postgres" -D "$work/data" -p "$server_port" -h 127.0.0.1 -k '' -c fsync=off -c max_connections=200 \
    -c max_prepared_transactions=50 >"$work/server.log" 2>&1 &
  server_pid=$!
  for _ in $(seq 300); do
    "$bin/pg_isready" -q -h 127.0.0.1 -p "$server_port" && break
    kill -0 "$server_pid" 2>/dev/null || fail "PostgreSQL did not start: $(tail -3 "$work/server.log")"
    sleep 0.1
  done
  local psql=("$bin/psql" -X -q -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$server_port" -U postgres)
  "${psql[@]}" -d postgres <<'SQL'
create role pqgotest superuser login;
create database pqgotest owner pqgotest;
create database pgx_test;
create database satest;
SQL
  "${psql[@]}" -d pgx_test -c 'create extension hstore' -c 'create extension ltree' -c 'create domain uint64 as numeric(20,0)'
  "${psql[@]}" -d satest -c 'create schema test_schema' -c 'create extension hstore'
}

start_sidecar() {
  sidecar_port=$(free_port)
  cat >"$work/sidecar.yaml" <<YAML
service: drivers
coordinator: { url: http://127.0.0.1:1 }
control: { listen: 127.0.0.1:0 }
admin: { listen: 127.0.0.1:0 }
log: { level: warn }
databases:
  - name: suites
    listen: 127.0.0.1:$sidecar_port
    upstream: postgres://127.0.0.1:$server_port/postgres
    credentials: { user: postgres }
YAML
  local atomesh=("$root/node_modules/.bin/node" "$root/cli/main.ts")
  "${atomesh[@]}" db init --config "$work/sidecar.yaml"
  # Started without a shell in between, so that the pid is the sidecar's.
  "${atomesh[@]}" sidecar --config "$work/sidecar.yaml" >"$work/sidecar.out" 2>"$work/sidecar.log" &
  sidecar_pid=$!
  for _ in $(seq 300); do
    grep -q '^atomesh sidecar ready' "$work/sidecar.out" && return
    kill -0 "$sidecar_pid" 2>/dev/null || fail "the sidecar did not start: $(tail -3 "$work/sidecar.log")"
    sleep 0.1
  done
  fail 'the sidecar did not become ready within 30 s'
}

# Each suite writes the names of its passed tests, one a line, and all it has to say into a log.

go_suite() { # folder log package…
  local folder=$1 log=$2
  shift 2
  # The sources are Debian's and older than modules; one package after another, so that the order is always the same.
  (cd "$folder" && GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE="$work/gocache" GOFLAGS= \
    timeout 900 /usr/bin/go test -count=1 -p 1 -vet=off -v "$@") >"$log" 2>&1 || true
  awk '
    $1 == "---" && $2 == "PASS:" { names[++count] = $3 }
    $1 == "ok" || $1 == "FAIL" || $1 == "?" { if (NF > 1) { for (i = 1; i <= count; i++) print $2 ":" names[i]; count = 0 } }
  ' "$log"
}

run_pq() { # port log
  PGHOST=127.0.0.1 PGPORT=$1 PGUSER=pqgotest PGDATABASE=pqgotest PGSSLMODE=disable \
    go_suite "$gocode/lib/pq" "$2" . ./hstore
}

run_pgx() { # port log
  local database="host=127.0.0.1 port=$1 user=postgres database=pgx_test sslmode=disable"
  PGX_TEST_DATABASE=$database PGX_TEST_CONN_STRING=$database PGX_TEST_TCP_CONN_STRING=$database \
    go_suite "$gocode/jackc" "$2" ./pgx/v4 ./pgx/v4/pgxpool ./pgx/v4/stdlib ./pgconn
}

run_sqlalchemy() { # port log
  local folder="$work/sqlalchemy"
  rm -rf "$folder"
  cp -r "$here/sqlalchemy" "$folder"
  (cd "$folder" && PYTHONDONTWRITEBYTECODE=1 timeout 900 /usr/bin/python3 -m pytest -q -rA \
    --dburi "postgresql+psycopg2://postgres@127.0.0.1:$1/satest" test_suite.py) >"$2" 2>&1 || true
  sed -n 's/^PASSED //p' "$2"
}

# shellcheck source=tools.sh
. "$here/tools.sh"

start_server
start_sidecar
passed=0
failed=0
for suite in "${suites[@]}"; do
  started=$SECONDS
  "run_$suite" "$server_port" "$work/$suite-direct.log" | sort -u >"$work/$suite-direct.txt"
  [ "$(wc -l <"$work/$suite-direct.txt")" -ge "${least[$suite]}" ] ||
    fail "fewer than ${least[$suite]} tests of $suite pass directly: $(tail -20 "$work/$suite-direct.log")"
  direct=$((SECONDS - started))
  "run_$suite" "$sidecar_port" "$work/$suite-sidecar.log" | sort -u >"$work/$suite-sidecar.txt"
  kill -0 "$sidecar_pid" 2>/dev/null || fail "the sidecar has ended: $(tail -20 "$work/sidecar.log")"
  sed -n "s/^$suite \([^ ]*\) .*/\1/p" "$here/allowed.txt" | sort -u >"$work/$suite-allowed.txt"
  comm -23 "$work/$suite-direct.txt" "$work/$suite-sidecar.txt" | comm -23 - "$work/$suite-allowed.txt" >"$work/$suite-lost.txt"
  count=$(comm -12 "$work/$suite-direct.txt" "$work/$suite-sidecar.txt" | wc -l)
  lost=$(wc -l <"$work/$suite-lost.txt")
  say "$suite: $(wc -l <"$work/$suite-direct.txt") tests pass directly (${direct} s), $count of them through the sidecar ($((SECONDS - started - direct)) s)"
  [ "$lost" -eq 0 ] || sed "s/^/drivers: $suite: does not pass through the sidecar: /" "$work/$suite-lost.txt"
  passed=$((passed + count))
  failed=$((failed + lost))
done
say "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
