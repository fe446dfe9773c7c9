#!/usr/bin/env bash
# The codec of the MySQL protocol on what a real MariaDB says to real clients; the server comes from the operating system's packages:
# `npm test` has to pass without it. Each test starts a server of its own in a temporary folder. Fails when it is missing: nothing is
# skipped. The last line counts the tests.
set -euo pipefail
cd "$(dirname "$0")/../.."

PATH=$PWD/node_modules/.bin:$PATH:/usr/sbin
for program in mariadbd:mariadb-server mariadb:mariadb-client; do
  command -v "${program%%:*}" >/dev/null || {
    echo "mysql-servers: there is no ${program%%:*}; on Debian: apt-get install ${program##*:}" >&2
    exit 1
  }
done

log=$(mktemp)
trap 'rm -f "$log"' EXIT
# The runner's own count is left out: whoever adds up all counts would have it twice.
counted='^[[:space:]]*([0-9]+) tests? passed[[:space:]]*$'
ava --config test/mysql-servers/ava.config.js --no-color | tee "$log" | sed -E "/$counted/d"
echo "mysql-servers: $(sed -n -E "s/$counted/\1/p" "$log") passed, 0 failed"
