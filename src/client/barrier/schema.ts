/** The barrier's table, as DTM's own scripts make it (sqls/dtmcli.barrier.*.sql), and what cleaning up by age needs besides. */
import { tableName } from './rows.ts';

/**
 * DDL that makes the barrier's table where there is none, and brings one of DTM's up to date; may be run at any time. Statements end
 * with a semicolon and a line break. In PostgreSQL the constraint's name is part of the contract: the inserts name it. A barrier
 * belongs into the database of the data that it protects, so each database gets one.
 * Throws `CodedError` `BAD_REQUEST` when `table` is not `table` or `schema.table`.
 */
export function barrierSql(database: 'postgres' | 'mysql', options: { readonly table?: string } = {}): string {
  const table = tableName(options.table);
  const [first, second] = table.split('.');
  const schema = second === undefined ? undefined : first;
  return database === 'postgres' ? postgresSql(table, schema) : mysqlSql(table, schema);
}

// DTM leaves the times empty. A row without a time cannot be told to be old.
function postgresSql(table: string, schema: string | undefined): string {
  const index = `${table.split('.').at(-1)}_create_time`;
  return `${schema === undefined ? '' : `create schema if not exists ${schema};\n`}create sequence if not exists ${table}_seq;
create table if not exists ${table} (
  id bigint not null default nextval('${table}_seq'),
  trans_type varchar(45) default '',
  gid varchar(128) default '',
  branch_id varchar(128) default '',
  op varchar(45) default '',
  barrier_id varchar(45) default '',
  reason varchar(45) default '',
  create_time timestamp(0) with time zone default now(),
  update_time timestamp(0) with time zone default now(),
  primary key (id),
  constraint uniq_barrier unique (gid, branch_id, op, barrier_id)
);
alter table ${table} alter column create_time set default now(), alter column update_time set default now();
create index if not exists ${index} on ${table} (create_time, id);
`;
}

// utf8mb4_bin: the default collation takes gids that differ in case only for the same.
function mysqlSql(table: string, schema: string | undefined): string {
  return `${schema === undefined ? '' : `create database if not exists ${schema} default character set utf8mb4;\n`}create table if not exists ${table} (
  id bigint primary key auto_increment,
  trans_type varchar(45) default '',
  gid varchar(128) default '',
  branch_id varchar(128) default '',
  op varchar(45) default '',
  barrier_id varchar(45) default '',
  reason varchar(45) default '' comment 'the operation that wrote this row',
  create_time datetime default now(),
  update_time datetime default now(),
  key (create_time),
  key (update_time),
  unique key (gid, branch_id, op, barrier_id)
) engine = InnoDB default character set utf8mb4 collate utf8mb4_bin;
`;
}
