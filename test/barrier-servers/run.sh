#!/usr/bin/env bash
# The barrier, and the examples that need it, on real MariaDB and Redis servers, which come from the operating system's packages:
# `npm test` has to pass without them. Each test starts servers of its own in a temporary folder. Fails when a server is missing:
# nothing is skipped. The last line counts the tests.
set -euo pipefail
cd "$(dirname "$0")/../.."

PATH=$PWD/node_modules/.bin:$PATH:/usr/sbin
for server in mariadbd:mariadb-server redis-server:redis-server; do
  command -v "${server%%:*}" >/dev/null || {
    echo "barrier: there is no ${server%%:*}; on Debian: apt-get install ${server##*:}" >&2
    exit 1
  }
done

log=$(mktemp)
trap 'rm -f "$log"' EXIT
# The runner's own count is left out: whoever adds up all counts would have it twice.
counted='^[[:space:]]*([0-9]+) tests? passed[[:space:]]*$'
ava --config test/barrier-servers/ava.config.js --no-color | tee "$log" | sed -E "/$counted/d"
echo "barrier: $(sed -n -E "s/$counted/\1/p" "$log") passed, 0 failed"
