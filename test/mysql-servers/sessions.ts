/** What clients do: every part of the protocol that they can be made to speak. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Readable } from 'node:stream';
import mysql from 'mysql2/promise';
import { programOf } from '../../examples/support/programs.ts';
import { CAPABILITY, type Capabilities } from '../../proxy/mysql/wire/capabilities.ts';
import type { Command } from '../../proxy/mysql/wire/commands.ts';
import { LAST_STATEMENT } from '../../proxy/mysql/wire/execute.ts';
import type { Parameter } from '../../proxy/mysql/wire/query.ts';
import { decodePrepareOk } from '../../proxy/mysql/wire/rows.ts';
import { TYPE } from '../../proxy/mysql/wire/values.ts';
import { rawClient, type RawClient } from './raw-client.ts';

/** A table with a column of nearly every type, two rows in it, and a procedure with two results. */
export const SCHEMA = `create database k; use k;
create table every (
  id int primary key auto_increment, t tinyint, tu tinyint unsigned, s smallint, m mediumint, i int unsigned, b bigint,
  bu bigint unsigned, f float, d double, n decimal(65,30), bits bit(40), y year, da date, ti time(6), dt datetime(6),
  ts timestamp null, c char(10), v varchar(200), bl longblob, tx longtext, e enum('x','y'), st set('p','q'), j json, g point
);
insert into every values (1, -128, 255, -32768, -8388608, 4294967295, -9223372036854775808, 18446744073709551615, 1.5,
  -2.25e100, 12345678901234567890.123456789, b'1010', 2024, '2024-02-29', '-838:59:59', '2024-02-29 23:59:59.123456',
  '2024-02-29 12:00:00', 'char', 'ünïcode', x'00ff', repeat('t', 70000), 'y', 'p,q', '{"a": [1, null]}', point(1, 2));
insert into every (id) values (2);
update every set da = '2024-01-01', ti = '00:00:00', dt = '2024-01-01 00:00:00' where id = 2;
create procedure twice(in x int) begin select x, 'one'; select * from every where id < x; end;`;

/** The command-line client, with statements on its standard input. Resolves with its exit code. */
export async function commandLine(port: number, user: string, statements: string): Promise<number> {
  const client = spawn(
    await programOf('mariadb', 'mariadb-client'),
    [
      '--no-defaults',
      '--force',
      '--local-infile=1',
      '--max-allowed-packet=64M',
      '--skip-ssl',
      '--column-type-info',
      '-h127.0.0.1',
      `-P${port}`,
      `-u${user}`,
      'k',
    ],
    { stdio: ['pipe', 'ignore', 'ignore'] },
  );
  const over = once(client, 'exit');
  client.stdin.end(statements);
  const [code] = (await over) as [number | null];
  return code ?? -1;
}

/** A driver: text and binary, several results, a file, users and errors. */
export async function driver(port: number, user: string): Promise<void> {
  const options = { host: '127.0.0.1', port, user, database: 'k', multipleStatements: true, supportBigNumbers: true };
  const connection = await mysql.createConnection({ ...options, connectAttributes: { program_name: 'atomesh' } });
  const refused = (work: Promise<unknown>): Promise<unknown> => work.catch(() => undefined);
  await connection.query('select * from every; select 1 as one; do 1; select 2');
  await connection.execute('select * from every where id < ? order by id', [10]);
  await connection.execute('select ?, ?, ?, ?, ?', ['text', 1.5, null, Buffer.alloc(300, 1), new Date(0)]);
  await connection.execute('insert into every (v, bl) values (?, ?)', ['from the driver', Buffer.alloc(70_000, 2)]);
  await connection.query('call twice(3)');
  await connection.execute('call twice(?)', [3]);
  await refused(connection.query('selekt 1'));
  await refused(connection.execute('select * from nowhere'));
  await refused(connection.query('select 1; select * from nowhere; select 2'));
  await connection.ping();
  await connection.query({
    sql: 'load data local infile "rows.csv" into table every fields terminated by "," (v)',
    infileStreamFactory: () =>
      Readable.from(['one\ntwo\n', 'x'.repeat(100), '\nthree\n'].map((part) => Buffer.from(part))),
  } as mysql.QueryOptions);
  await connection.query("set session_track_transaction_info = 'CHARACTERISTICS', session_track_schema = on");
  await connection.query(
    'set autocommit = 0; set autocommit = 1; begin; update every set t = 1 where id = 1; rollback; use k',
  );
  await connection.query({ sql: 'select * from every limit 2', rowsAsArray: true });
  await connection.query("select repeat('x', 17000000) as large, 1 as small");
  await connection.execute("select repeat('y', 16777212) as exact, 1 as small");
  await connection.query(`select length('${'z'.repeat(17_000_000)}')`);
  await connection.changeUser({ user, database: 'k' });
  await connection.reset();
  await connection.query('kill connection connection_id()').catch(() => undefined);
  connection.destroy();
}

/** Flags that change the form of answers, and so the path through the machine. */
export const VARIANTS: Readonly<Record<string, Capabilities>> = {
  'nothing new': 0n,
  'as MySQL has it':
    CAPABILITY.longPassword | CAPABILITY.deprecateEof | CAPABILITY.sessionTrack | CAPABILITY.multiResults,
  'end of rows by EOF': CAPABILITY.sessionTrack | CAPABILITY.mariadbBulk | CAPABILITY.mariadbCacheMetadata,
  everything:
    CAPABILITY.deprecateEof |
    CAPABILITY.sessionTrack |
    CAPABILITY.connectAttributes |
    CAPABILITY.pluginAuthLength |
    CAPABILITY.multiStatements |
    CAPABILITY.multiResults |
    CAPABILITY.psMultiResults |
    CAPABILITY.queryAttributes |
    CAPABILITY.mariadbProgress |
    CAPABILITY.mariadbBulk |
    CAPABILITY.mariadbExtendedMetadata |
    CAPABILITY.mariadbCacheMetadata |
    CAPABILITY.mariadbBulkUnitResults,
};

/** What no driver does: cursors, long data, bulk rows, pipelines, and the rarer commands. */
export async function rareCommands(port: number, user: string, wanted: Capabilities): Promise<void> {
  const client = await rawClient(port, user, wanted, 'k');
  try {
    await client.ask(query(client, 'select * from every'));
    await cursor(client);
    await longData(client);
    if ((client.capabilities & CAPABILITY.mariadbBulk) !== 0n) await bulkRows(client);
    await client.ask({ kind: 'field-list', table: Buffer.from('every'), wildcard: Buffer.from('%') });
    await client.ask({ kind: 'field-list', table: Buffer.from('nowhere'), wildcard: Buffer.from('') });
    for (const kind of ['statistics', 'process-info', 'debug', 'ping'] as const) await client.ask({ kind });
    for (const option of [0, 1, 0, 7]) await client.ask({ kind: 'set-option', option });
    await client.ask(query(client, 'select 1; selekt; select 2'));
    await client.ask(query(client, 'call twice(2)'));
    await client.ask({ kind: 'init-db', schema: Buffer.from('k') });
    await client.ask({ kind: 'init-db', schema: Buffer.from('nowhere') });
    await client.ask({ kind: 'process-kill', connectionId: 4_000_000_000 });
    await client.ask({ kind: 'other', code: 0x0f, data: Buffer.alloc(0) });
    await client.ask(query(client, 'alter table every add column if not exists extra int, algorithm=copy'));
    await client.ask({ kind: 'reset-connection' });
    await client.ask({
      kind: 'change-user',
      user: Buffer.from(user),
      authResponse: Buffer.alloc(0),
      database: Buffer.from('k'),
      charset: 45,
      plugin: Buffer.from('client_nobody_knows'),
      attributes: (client.capabilities & CAPABILITY.connectAttributes) === 0n ? undefined : [],
    });
    // Many at once, with such as are not answered between them.
    await client.ask(
      query(client, 'select 1'),
      { kind: 'ping' },
      { kind: 'stmt-close', statement: 12_345 },
      query(client, 'selekt'),
      query(client, 'select * from every'),
      { kind: 'statistics' },
    );
  } finally {
    client.close();
  }
}

async function cursor(client: RawClient): Promise<void> {
  const statement = await prepare(client, 'select * from every where id > ?');
  await client.ask(execute(statement, [integer(0)], { flags: 1 }));
  await client.ask({ kind: 'stmt-fetch', statement, rows: 1 });
  await client.ask({ kind: 'stmt-fetch', statement, rows: 100 });
  await client.ask({ kind: 'stmt-fetch', statement, rows: 100 });
  await client.ask(execute(statement, [integer(0)], { flags: 1, sendsTypes: false }));
  await client.ask({ kind: 'stmt-reset', statement });
  await client.ask({ kind: 'stmt-fetch', statement, rows: 1 });
  // Twice, so that a server which leaves known definitions out does it.
  await client.ask(execute(statement, [integer(1)]));
  await client.ask(execute(statement, [integer(1)], { sendsTypes: false }));
  await client.ask({ kind: 'stmt-close', statement }, { kind: 'ping' });
  await client.ask({ kind: 'stmt-reset', statement });
}

async function longData(client: RawClient): Promise<void> {
  const statement = await prepare(client, 'insert into every (v, bl, s) values (?, ?, ?)');
  const data = Buffer.alloc(50_000, 7);
  await client.ask(
    { kind: 'stmt-send-long-data', statement, parameter: 1, data },
    { kind: 'stmt-send-long-data', statement, parameter: 1, data },
    execute(statement, [
      text('long'),
      { ...text(''), type: { code: TYPE.blob, flags: 0 }, value: undefined },
      integer(1),
    ]),
  );
  await client.ask(execute(statement, [text('short'), { ...text('s') }, { ...integer(1), value: null }]));
}

async function bulkRows(client: RawClient): Promise<void> {
  const statement = await prepare(client, 'insert into every (v, s) values (?, ?)');
  const types = [
    { code: TYPE.varString, flags: 0 },
    { code: TYPE.longlong, flags: 0 },
  ];
  const eight = Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]);
  const rows = [
    [Buffer.from('bulk'), eight],
    ['null', 'default'],
    [Buffer.from('more'), eight],
  ] as const;
  await client.ask({ kind: 'stmt-bulk-execute', statement, flags: 128, types, rows });
  await client.ask({ kind: 'stmt-bulk-execute', statement, flags: 64 | 128, types, rows });
  // The statement is prepared and run at once: its number is not known yet.
  await client.ask(
    { kind: 'stmt-prepare', text: Buffer.from('select id, v from every limit 2') },
    execute(LAST_STATEMENT, []),
  );
  await client.ask({ kind: 'stmt-prepare', text: Buffer.from('selekt') }, execute(LAST_STATEMENT, []));
}

async function prepare(client: RawClient, statement: string): Promise<number> {
  const [answer] = await client.ask({ kind: 'stmt-prepare', text: Buffer.from(statement) });
  const prepared = answer === undefined ? undefined : decodePrepareOk(answer);
  if (prepared?.kind !== 'prepare-ok') throw new Error(`not prepared: ${answer?.toString('latin1')}`);
  return prepared.statement;
}

function query(client: RawClient, statement: string): Command {
  const hasAttributes = (client.capabilities & CAPABILITY.queryAttributes) !== 0n;
  return { kind: 'query', attributes: hasAttributes ? [] : undefined, text: Buffer.from(statement) };
}

function execute(
  statement: number,
  parameters: readonly Parameter[],
  options: { readonly flags?: number; readonly sendsTypes?: boolean } = {},
): Command {
  const hasParameters = parameters.length > 0;
  return {
    kind: 'stmt-execute',
    statement,
    flags: options.flags ?? 0,
    iterations: 1,
    parameters: hasParameters ? parameters : undefined,
    sendsTypes: hasParameters && (options.sendsTypes ?? true),
  };
}

function integer(value: number): Parameter {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(BigInt(value));
  return { type: { code: TYPE.longlong, flags: 0 }, name: Buffer.alloc(0), value: bytes };
}

function text(value: string): Parameter {
  return { type: { code: TYPE.varString, flags: 0 }, name: Buffer.alloc(0), value: Buffer.from(value) };
}
