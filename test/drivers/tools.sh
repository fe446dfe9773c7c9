# PostgreSQL's own programs, for run.sh, which has set bin and work: psql, pg_dump, pg_restore and pgbench in all its modes.
# shellcheck shell=bash

# Says everything that psql can say: errors, notices, COPY both ways, portions, cursors, descriptions, prepared statements, pipelines.
tools_script() {
  cat <<'SQL'
\set VERBOSITY verbose
\set ECHO queries
create table item (id int primary key, name text not null, price numeric(10,2) default 1.5);
\copy item (id, name) from pstdin with (format csv)
\d+ item
copy item to stdout (format csv, header);
\copy (select * from item order by id) to stdout
select * from item where id = 2 \gdesc
select $1::int + $2::int as sum \bind 2 3 \g
\set FETCH_COUNT 2
select * from item order by id;
\unset FETCH_COUNT
begin;
savepoint a;
insert into item values (1, 'twice');
rollback to a;
declare c cursor for select id from item order by id;
fetch 2 from c;
commit;
select nope;
selec;
insert into item values (9) ;
drop table if exists nowhere;
do $$ begin raise notice 'hello'; raise warning 'careful' using hint = 'so'; end $$;
select 1 as a \; select 2 as b;
prepare p (int) as select name from item where id = $1;
execute p (3);
deallocate p;
listen here;
notify here, 'payload';
set datestyle = 'German';
show datestyle;
discard all;
\timing off
select 'the end';
SQL
}

# pid of the notification, and the random key of newer dumps.
tools_masked() {
  sed -E -e 's/process with PID [0-9]+/process with PID N/' -e '/^\\(un)?restrict /d'
}

# One line for each thing that worked: its name, and the digest of what it said, which must be the same directly and through the sidecar.
tools_digest() { # name
  printf '%s %s\n' "$1" "$(tools_masked | sha256sum | cut -c1-16)"
}

run_tools() { # port log
  export PGHOST=127.0.0.1 PGPORT=$1 PGUSER=postgres PGOPTIONS= PGSSLMODE=disable LC_ALL=C.UTF-8
  local log=$2 mode name
  local psql=("$bin/psql" -X -q -A -t -v ON_ERROR_STOP=1)
  : >"$log"
  for name in tools restored; do
    "${psql[@]}" -d postgres -c "drop database if exists $name" -c "create database $name" >>"$log" 2>&1 || return 0
  done
  tools_script >"$work/tools.sql"
  seq 5 | sed 's/.*/&,item &/' | "$bin/psql" -X -d tools -f "$work/tools.sql" >"$work/tools.out" 2>&1 || true
  cat "$work/tools.out" >>"$log"
  grep -q 'the end' "$work/tools.out" && tools_digest psql <"$work/tools.out"

  "$bin/pgbench" -i -q -s 1 -d tools >>"$log" 2>&1 || return 0
  "$bin/pg_dump" -d tools 2>>"$log" | tools_digest pg_dump
  rm -rf "$work/tools.dir"
  "$bin/pg_dump" -Fd -j 2 -f "$work/tools.dir" -d tools >>"$log" 2>&1 && echo pg_dump-parallel
  "$bin/pg_dump" -Fc -f "$work/tools.dump" -d tools >>"$log" 2>&1 &&
    "$bin/pg_restore" -j 2 -d restored "$work/tools.dump" >>"$log" 2>&1 &&
    "$bin/pg_dump" -d restored 2>>"$log" | tools_digest pg_restore

  for mode in simple extended prepared; do
    "${psql[@]}" -d tools -c 'truncate pgbench_history' >>"$log" 2>&1
    "$bin/pgbench" -n -M "$mode" -c 4 -t 50 -d tools >>"$log" 2>&1 || continue
    name=$("${psql[@]}" -d tools -c "select count(*), sum(delta) - (select sum(abalance) from pgbench_accounts) from pgbench_history")
    printf 'pgbench-%s %s\n' "$mode" "$name"
    "${psql[@]}" -d tools -c 'update pgbench_accounts set abalance = 0 where abalance <> 0' >>"$log" 2>&1
  done
  printf '\\startpipeline\nselect 1;\ninsert into pgbench_history (tid, bid, aid, delta) values (1, 1, 1, 1);\nselect 2;\n\\endpipeline\n' >"$work/pipeline.sql"
  for mode in extended prepared; do
    "$bin/pgbench" -n -M "$mode" -c 2 -t 50 -f "$work/pipeline.sql" -d tools >>"$log" 2>&1 && echo "pgbench-pipeline-$mode"
  done
  return 0
}
