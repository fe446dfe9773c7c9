/** A server of the original DTM, from a binary that the user brings, to compare with: https://github.com/dtm-labs/dtm. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort } from '../../examples/support/free-port.ts';
import type { PostgresServer } from '../../examples/support/postgres-server.ts';
import { until } from '../../examples/support/until.ts';

export interface DtmServer extends AsyncDisposable {
  /** Its HTTP API. */
  readonly port: number;
}

/** Starts `binary` with its default store, or over a database of its own in `postgres`. Its files are in `folder`. */
export async function startDtm(binary: string, folder: string, postgres?: PostgresServer): Promise<DtmServer> {
  await mkdir(folder, { recursive: true });
  const port = await freePort();
  const config = ['LogLevel: warn', `HttpPort: ${port}`, `GrpcPort: ${await freePort()}`, 'Store:'];
  if (postgres === undefined) {
    config.push('  Driver: boltdb');
  } else {
    await postgres.run('postgres', 'create database dtm');
    await postgres.run('dtm', TABLES);
    const { user } = postgres;
    config.push('  Driver: postgres', '  Host: 127.0.0.1', `  Port: ${postgres.port}`, `  User: ${user}`, '  Db: dtm');
    // Without any password its driver takes the next word of the connection string for one; the server asks for none.
    config.push('  Password: none');
    // DTM takes a connection for each request, as many as it may; the server here has room for fewer than its default.
    config.push('  MaxOpenConns: 90', '  MaxIdleConns: 90');
  }
  const path = join(folder, 'dtm.yml');
  await writeFile(path, `${config.join('\n')}\n`);
  const child = spawn(binary, ['-c', path], { cwd: folder, stdio: 'ignore' });
  const exit = once(child, 'exit');
  const server: DtmServer = {
    port,
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await exit.catch(() => undefined);
    },
  };
  try {
    await Promise.race([
      until('DTM answers', async () => ((await isUp(port)) ? true : undefined)),
      exit.then(([code]) => Promise.reject(new Error(`${binary} ended with ${String(code)}`))),
    ]);
    return server;
  } catch (error) {
    await server[Symbol.asyncDispose]();
    throw error;
  }
}

async function isUp(port: number): Promise<boolean> {
  return fetch(`http://127.0.0.1:${port}/api/ping`).then(
    ({ ok }) => ok,
    () => false,
  );
}

/** What DTM 1.19 asks of its tables: the columns and constraints that its statements name (svr/storage/sql/sql.go). */
const TABLES = `
  create table trans_global (
    id bigserial primary key, gid varchar(128) not null unique, trans_type varchar(45) not null, status varchar(45) not null,
    query_prepared varchar(1024) not null, protocol varchar(45) not null, create_time timestamptz(0), update_time timestamptz(0),
    finish_time timestamptz(0), rollback_time timestamptz(0), options varchar(1024) default '', custom_data varchar(1024) default '',
    next_cron_interval int, next_cron_time timestamptz(0), owner varchar(128) not null default '', ext_data text,
    result varchar(1024) default '', rollback_reason varchar(1024) default '');
  create index on trans_global (owner);
  create index on trans_global (status, next_cron_time);
  create table trans_branch_op (
    id bigserial primary key, gid varchar(128) not null, url varchar(1024) not null, data text, bin_data bytea,
    branch_id varchar(128) not null, op varchar(45) not null, status varchar(45) not null, finish_time timestamptz(0),
    rollback_time timestamptz(0), create_time timestamptz(0), update_time timestamptz(0),
    constraint gid_branch_uniq unique (gid, branch_id, op));
  create table kv (
    id bigserial primary key, cat varchar(45) not null, k varchar(128) not null, v text, version bigint default 1,
    create_time timestamptz(0), update_time timestamptz(0), constraint uniq_k unique (cat, k));`;
