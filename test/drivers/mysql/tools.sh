#!/usr/bin/env bash
# What MariaDB's own programs hear of a server, one line for each thing that worked: `tools.sh <port> <user> <password> <database> <file>`.
# The file is a list of `number,text`.
set -uo pipefail
user=$2 database=$4 file=$5
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export MYSQL_HOST=127.0.0.1 MYSQL_TCP_PORT=$1 MYSQL_PWD=$3
# The connection's options, behind `--no-defaults`, which has to be the first.
login=(--no-defaults "--user=$user" --host=127.0.0.1 "--port=$1" --protocol=tcp --skip-ssl)
mariadb=(mariadb "${login[@]}" --local-infile=1 --force --show-warnings --comments -vvv)

# Numbers of connections and times are never the same.
digest() { # name
  printf '= %s %s\n' "$1" "$(sed -E -e 's/\([0-9.]+ sec\)//; s/(Connection id:[[:space:]]+)[0-9]+/\1N/; s/^(Uptime|Threads):.*//; s/^-- Host:.*//; s/^TCP port:.*//' -e '/Dump completed/d' | sha256sum | cut -c1-16)"
}

mariadb "${login[@]}" -e 'drop database if exists tools_talk; create database tools_talk'
cat >"$work/script.sql" <<'SQL'
use tools_talk;
create table item (id int auto_increment primary key, name varchar(40) not null, price decimal(10,2) default 1.5, at timestamp(3) not null default '2020-01-01', raw blob, j json, g geometry) engine=InnoDB;
insert into item (name) values ('a'), ('b€'), ('quo''te');
insert into item (id, name) values (1, 'twice');
update item set price = 2, raw = x'00ff0a0d', j = '{"a": 1}', g = point(1, 2) where id = 2;
replace into item (id, name) values (1, 'replaced');
insert ignore into item (id, name) values (1, null);
show warnings;
select * from item order by id;
select * from item order by id \G
selec;
select nope from item;
delimiter //
create procedure twice(in n int) begin select n; select n * 2; signal sqlstate '01000' set message_text = 'careful'; end //
create function plus(n int) returns int deterministic return n + 1 //
create trigger before_item before insert on item for each row set new.name = upper(new.name) //
call twice(4) //
delimiter ;
select plus(1), /*! 2, */ /*M!100000 3, */ -- a comment
  4;
create view names as select name from item;
prepare p from 'select ? + 1';
set @n = 1;
execute p using @n;
deallocate prepare p;
begin; delete from item; rollback; select row_count(), found_rows(), last_insert_id();
handler item open; handler item read first; handler item close;
lock tables item write; unlock tables;
get diagnostics @conditions = number;
analyze table item; check table item; checksum table item;
help 'contents';
status
xa start 'x'; insert into item (name) values ('prepared'); xa end 'x'; xa prepare 'x'; xa recover; xa commit 'x';
insert into item (name) values ('returned') returning id, name;
kill query 4294967295;
select 'the end';
SQL
# Errors go to the other stream, behind which the answers may lie in a buffer.
"${mariadb[@]}" <"$work/script.sql" >"$work/out" 2>"$work/errors"
cat "$work/errors" >>"$work/out"
grep -q 'the end' "$work/out" && digest 'mariadb, a script' <"$work/out"
printf "create table if not exists tools_talk.list (n int, t text);\nload data local infile '%s' into table tools_talk.list fields terminated by ',';\nselect count(*), sum(n) from tools_talk.list;\n" "$file" |
  "${mariadb[@]}" 2>&1 | sed "s|$file|file|" | digest 'mariadb, a local file'
for option in --quick --xml --html --vertical '--table --column-type-info' --compress; do
  # shellcheck disable=SC2086 -- one or two options
  mariadb "${login[@]}" $option -e 'select * from item; select seq, md5(seq) from seq_1_to_5000' tools_talk 2>&1 | digest "mariadb $option"
done
mariadb-show "${login[@]}" --keys tools_talk item 2>&1 | digest mariadb-show
cp "$file" "$work/list.csv"
mariadb-import "${login[@]}" --local --fields-terminated-by=, --delete tools_talk "$work/list.csv" 2>&1 | digest mariadb-import
mariadb-check "${login[@]}" --databases tools_talk 2>&1 | digest mariadb-check
mariadb-dump "${login[@]}" --single-transaction --routines --triggers --hex-blob tools_talk >"$work/dump.sql" 2>"$work/errors" && digest mariadb-dump <"$work/dump.sql"
mariadb-dump "${login[@]}" --lock-all-tables --skip-extended-insert tools_talk 2>&1 | digest 'mariadb-dump, all tables locked'
mariadb "${login[@]}" -e 'drop database if exists tools_again; create database tools_again' &&
  mariadb "${login[@]}" tools_again <"$work/dump.sql" &&
  mariadb-dump "${login[@]}" --routines --triggers tools_again 2>&1 | sed 's/tools_again/tools_talk/' | digest 'the dump, read again'
mariadb-slap "${login[@]}" --create-schema=tools_slap --auto-generate-sql --auto-generate-sql-load-type=mixed --concurrency=8 \
  --number-of-queries=800 >"$work/out" 2>&1 && echo '= mariadb-slap'
mariadb-admin "${login[@]}" ping 2>&1 | digest mariadb-admin
mariadb "${login[@]}" -e 'drop database if exists tools_talk; drop database if exists tools_again'
printf '= the end of %s\n' "$database"
