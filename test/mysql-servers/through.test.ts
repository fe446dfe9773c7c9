import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { promisify } from 'node:util';
import test from 'ava';
import mysql from 'mysql2/promise';
import { startMariadb, type MariadbServer } from '../../examples/support/mariadb-server.ts';
import { programOf } from '../../examples/support/programs.ts';
import { until } from '../../examples/support/until.ts';
import { sidecarOptions } from '../../proxy/options.ts';
import { startSidecar } from '../../proxy/proxy.ts';
import { openLog } from '../../src/platform/log.ts';
import { CAPABILITY } from '../../proxy/mysql/wire/capabilities.ts';
import { decodeError } from '../../proxy/mysql/wire/outcome.ts';
import type { Command } from '../../proxy/mysql/wire/commands.ts';
import { parseMark, type Mark } from '../../src/contract/transaction.ts';
import { startListening, type Listening } from './listening.ts';
import { rawClient } from './raw-client.ts';
import { SCHEMA, VARIANTS, commandLine, driver, rareCommands } from './sessions.ts';

const run = promisify(execFile);
let server: MariadbServer;
let sidecar: Listening;

test.before(async () => {
  server = await startMariadb(['--log-bin', '--server-id=1']);
  await server.run(
    'set global max_allowed_packet = 67108864, global progress_report_time = 1, global local_infile = 1',
  );
  const procedureAt = SCHEMA.indexOf('create procedure');
  await server.run(SCHEMA.slice(0, procedureAt));
  await server.run(`use k; ${SCHEMA.slice(procedureAt)}`);
  // A table for each test that counts rows: they run side by side.
  for (const name of ['t', 'inside', 'gone', 'late'])
    await server.run(`create table k.${name} (id int primary key, a int)`);
  sidecar = await startListening({ to: server.port });
});
test.after.always(async () => {
  await sidecar?.[Symbol.asyncDispose]();
  await server?.[Symbol.asyncDispose]();
});

const query = (text: string): Command => ({ kind: 'query', attributes: undefined, text: Buffer.from(text) });

function open(options: mysql.ConnectionOptions = {}, to = sidecar): Promise<mysql.Connection> {
  return mysql.createConnection({ host: '127.0.0.1', port: to.port, user: server.user, database: 'k', ...options });
}

async function valueOf(connection: mysql.Connection, sql: string): Promise<unknown> {
  const [rows] = await connection.query({ sql, rowsAsArray: true });
  return (rows as unknown as readonly (readonly unknown[])[])[0]?.[0];
}

test('drivers and the command line find a server behind the sidecar that is as it is without', async (t) => {
  await using own = await startListening({ to: server.port });
  await t.notThrowsAsync(driver(own.port, server.user));
  t.is(await commandLine(own.port, server.user, 'select * from every; call twice(2); selekt; select 1;'), 0);
  for (const capabilities of Object.values(VARIANTS)) {
    await t.notThrowsAsync(rareCommands(own.port, server.user, capabilities));
  }
  t.deepEqual(own.counts, {});
});

test('a replica reads the log of the server through the sidecar', async (t) => {
  const owner = await open({ port: server.port });
  await owner.query('flush binary logs');
  const name = String(await valueOf(owner, 'show binary logs'));
  const binlog = await programOf('mariadb-binlog', 'mariadb-client');
  const read = async (port: number): Promise<string> => {
    const remote = ['--no-defaults', '--read-from-remote-server', '-h127.0.0.1', `-P${port}`, `-u${server.user}`];
    const { stdout } = await run(binlog, [...remote, '--skip-ssl', name], { maxBuffer: 1 << 26 });
    return stdout;
  };
  const direct = await read(server.port);
  t.regex(direct, /create database k/i);
  t.is(await read(sidecar.port), direct);
  await owner.end();
});

test('a sidecar starts with such a database alone, and counts its sessions', async (t) => {
  const anywhere = { listen: '127.0.0.1:0' };
  const options = sidecarOptions.parse({
    service: 'shop',
    coordinator: { url: 'http://127.0.0.1:1' },
    control: anywhere,
    admin: anywhere,
    databases: [
      { engine: 'mysql', name: 'db', ...anywhere, upstream: `mysql://127.0.0.1:${server.port}/k`, mode: 'none' },
    ],
  });
  const whole = await startSidecar(options, openLog('test', 'silent'));
  const connection = await open({ port: whole.ports.databases['db'] ?? 0 });
  t.is(await valueOf(connection, 'select 7'), 7);
  await t.throwsAsync(connection.query("delete from t /*atomesh_gid='g1'*/"), { message: /atomesh/ });
  const metrics = await (await fetch(`http://127.0.0.1:${whole.ports.admin}/metrics`)).text();
  t.regex(metrics, /atomesh_sql_sessions\{database="db"\} 1/);
  t.regex(metrics, /atomesh_sql_statements_total\{database="db",event="refused"\} 1/);
  await connection.end();
  await whole.close(1_000);
});

test('20 MB go through in both directions, in text and in binary', async (t) => {
  const connection = await open();
  const large = 'x'.repeat(20_000_000);
  t.is(await valueOf(connection, `select length('${large}')`), large.length);
  t.is(await valueOf(connection, "select repeat('y', 20000000)"), 'y'.repeat(20_000_000));
  const [rows] = await connection.execute('select ? as back', [large]);
  t.is((rows as unknown as readonly { readonly back: string }[])[0]?.back.length, large.length);
  await connection.end();
});

test('inside a global transaction what reads passes, and what could change something is refused, until the local transaction ends', async (t) => {
  await using own = await startListening({ to: server.port });
  const connection = await open({}, own);
  const refused = async (sql: string, values?: readonly number[]): Promise<void> => {
    const work = values === undefined ? connection.query(sql) : connection.execute(sql, [...values]);
    const error = await t.throwsAsync<Error & { readonly errno: number; readonly sqlState: string }>(
      work,
      undefined,
      sql,
    );
    t.deepEqual([error?.errno, error?.sqlState], [1235, '0A000']);
  };
  await connection.execute('insert into inside values (?, 0)', [1]);
  await refused("insert into inside values (2, 0) /*atomesh_gid='g1'*/");
  await connection.execute('insert into inside values (?, 0)', [3]);
  await connection.query("begin /*atomesh_gid='g1'*/");
  t.is(await valueOf(connection, 'select count(*) from inside for update'), 2);
  await refused('update inside set a = 1');
  await refused('insert into inside values (?, 0)', [4]);
  await refused('truncate inside');
  await connection.query('commit');
  await connection.execute('insert into inside values (?, 0)', [4]);
  await connection.query("set @atomesh_gid = 'g2'");
  await refused('delete from inside');
  await connection.query('start transaction');
  await connection.query('rollback');
  await refused('delete from inside');
  t.is(await valueOf(connection, 'select @atomesh_gid'), 'g2');
  await connection.execute('set @atomesh_gid = ?', [null]);
  await connection.query('delete from inside where id < 4');
  await connection.execute('set @atomesh_gid = ?', ['g3']);
  await refused('delete from inside');
  await connection.reset();
  await connection.query('delete from inside');
  await connection.end();
  t.is(own.counts['refused'], 7);
});

test('values that were sent ahead of a run that is refused do not stand in front of the next ones', async (t) => {
  const client = await rawClient(sidecar.port, server.user, CAPABILITY.deprecateEof, 'k');
  const failed = async (command: Command): Promise<boolean> => (await client.ask(command))[0]?.[0] === 0xff;
  const [prepared] = await client.ask({ kind: 'stmt-prepare', text: Buffer.from('insert into every (v) values (?)') });
  const statement = prepared?.readUInt32LE(1) ?? 0;
  const long = (text: string): Command => ({
    kind: 'stmt-send-long-data',
    statement,
    parameter: 0,
    data: Buffer.from(text),
  });
  const run: Command = {
    kind: 'stmt-execute',
    statement,
    flags: 0,
    iterations: 1,
    parameters: [{ type: { code: 253, flags: 0 }, name: Buffer.alloc(0), value: undefined }],
    sendsTypes: true,
  };
  t.false(await failed(query("begin /*atomesh_gid='g1'*/")));
  const [answer] = await client.ask(long('refused '), run);
  t.is(answer?.[0], 0xff);
  t.false(await failed(query('rollback')));
  t.is((await client.ask(long('kept'), run))[0]?.[0], 0);
  client.close();
  const owner = await open({ port: server.port });
  t.is(await valueOf(owner, "select group_concat(v) from every where v like '%kept%'"), 'kept');
  await owner.end();
});

test('a trace that is being served binds a statement, and one that is not is counted', async (t) => {
  const trace = '0af7651916cd43dd8448eb211c80319c';
  const mark = parseMark('of-trace') as Mark;
  await using own = await startListening({
    to: server.port,
    traces: { size: 1, markOf: (id) => (id === trace ? mark : undefined) },
  });
  const connection = await open({}, own);
  const comment = (id: string): string => `/*traceparent='00-${id}-b7ad6b7169203331-01'*/`;
  await t.throwsAsync(connection.query(`delete from t ${comment(trace)}`), { message: /atomesh/ });
  await connection.query(`delete from t ${comment(trace.replace('0af', '1af'))}`);
  await connection.query('delete from t');
  await connection.end();
  t.deepEqual(own.counts, { refused: 1, 'unknown-trace': 1, none: 1 });
});

test('a command that names a gid behind others of its pipeline is answered in its turn', async (t) => {
  const client = await rawClient(sidecar.port, server.user, CAPABILITY.deprecateEof, 'k');
  const answers = await client.ask(
    query('select 1'),
    query("delete from t /*atomesh_gid='g1'*/"),
    query('select 2'),
    query("select 3 /*atomesh_gid='g1'*/"),
    query('selekt'),
    { kind: 'ping' },
  );
  const errno = (payload: Buffer): number | undefined => {
    const error = decodeError(payload, client.capabilities);
    return error.kind === 'error' ? error.errno : undefined;
  };
  t.deepEqual(
    answers.map((payload) => (payload[0] === 0xff ? errno(payload) : payload[0])),
    [1, 1235, 1, 1, 1064, 0],
  );
  client.close();
});

test('a client that sends thousands of commands without reading gets all its answers', async (t) => {
  const client = await rawClient(sidecar.port, server.user, CAPABILITY.deprecateEof, 'k');
  const answers = await client.ask(...Array.from({ length: 5000 }, (): Command => ({ kind: 'ping' })));
  t.is(answers.length, 5000);
  client.close();
});

test('who reads slowly slows down the server, and the sidecar keeps little of it', async (t) => {
  const client = await open();
  const held = (): number => process.memoryUsage().arrayBuffers;
  const before = held();
  const rows = (client as unknown as { readonly connection: mysql.Connection }).connection.query(
    "select repeat('x', 1000000) from every a join every b join every c join every d limit 200",
  ) as never as {
    stream(): AsyncIterable<unknown>;
  };
  let count = 0;
  for await (const _ of rows.stream()) {
    count += 1;
    if (count !== 2) continue;
    // Meanwhile others are served.
    const other = await open();
    for (let left = 50; left > 0; left -= 1) await other.query('select 1');
    await other.end();
    t.true(held() - before < 100_000_000, `${held() - before} bytes are held`);
  }
  t.true(count > 2);
  await client.end();
});

test('a client whose connection the server kills hears of it; of one that is gone the server keeps nothing', async (t) => {
  const killed = await open();
  const owner = await open({ port: server.port });
  const id = Number(await valueOf(killed, 'select connection_id()'));
  const over = once((killed as unknown as { readonly connection: NodeJS.EventEmitter }).connection, 'error');
  await owner.query(`kill ${id}`);
  await over;
  const gone = await open();
  await gone.query('begin');
  await gone.query('insert into gone values (100, 0)');
  const thread = Number(await valueOf(gone, 'select connection_id()'));
  gone.destroy();
  await until('the server has ended the session', async () =>
    (await valueOf(owner, `select count(*) from information_schema.processlist where id = ${thread}`)) === 0
      ? true
      : undefined,
  );
  t.is(await valueOf(owner, 'select count(*) from gone where id = 100'), 0);
  await owner.end();
});

test('a listener that closes tells idle sessions, and lets a local transaction end', async (t) => {
  const own = await startListening({ to: server.port });
  const [idle, busy] = [await open({}, own), await open({}, own)];
  for (const each of [idle, busy]) each.on('error', () => undefined);
  await busy.query('begin');
  const closing = own.listener.close(20_000);
  await t.throwsAsync(
    until(
      'the idle session is over',
      async () => {
        await idle.query('select 1').catch((error: unknown) => {
          throw Object.assign(new Error(String(error)), { isOver: true });
        });
        return undefined;
      },
      { withinMs: 1 },
    ),
    { message: /shutting down|closed|ECONNRESET|EPIPE|lost/i },
  );
  await busy.query('insert into late values (200, 0)');
  await busy.query('commit');
  await closing;
  const owner = await open({ port: server.port });
  t.is(await valueOf(owner, 'select count(*) from late where id = 200'), 1);
  await owner.end();
  const late = connect(own.port, '127.0.0.1');
  await once(late, 'error');
});
