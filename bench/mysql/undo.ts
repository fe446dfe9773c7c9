/** What a captured change costs a client of MariaDB: an update inside a global transaction beside the same outside of one, both through the sidecar. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startMariadb, type MariadbServer } from '../../examples/support/mariadb-server.ts';
import { ProgramMissing } from '../../examples/support/programs.ts';
import { initialiseDatabase } from '../../proxy/mysql/setup/init.ts';
import { connectCoordinator } from '../../src/client/connect.ts';
import { alternate, askLoad, startChild, startSidecarChild, type Part, type Result } from '../measure.ts';
import type { Load, LoadAnswer } from './load-process.ts';

const CLIENTS = 16;
const SECONDS = 2;
const WARM_UP_SECONDS = 4;
const ROUNDS = 5;
const TARGET = 2.2;
const TARGET_CLASSIC = 1;
const UPDATE = 'update account set balance = balance + 1 where id = ?';

/** The sequence that interceptors at the driver's level use: a round trip each. */
const CLASSIC_TEXTS = [
  'begin',
  'select id, balance, note from account where id = ? for update',
  'update account set balance = balance + 1 where id = ?',
  'select id, balance, note from account where id = ?',
  `insert into classic_undo (gid, images) values ('classic', '{"before":[?,1],"after":[?,2]}')`,
  `insert into classic_lock (lock_key, gid) values ('account:?', 'classic') on duplicate key update gid = values(gid)`,
  'commit',
];
const CLASSIC = CLASSIC_TEXTS.map((text) => [text]);

const IMAGE = `select concat(id, ',', balance, ',', if(note is null, 'N', hex(note))), concat(id) from account where id = ? for update`;

/** What a captured update says to the server, in as many writes, with nobody between: no sidecar can be faster that says it. */
const BY_HAND = [
  [
    'begin',
    `select state from atomesh.branch_state where gid = 'by-hand' and resource = 'bench' lock in share mode`,
    IMAGE,
    'update account set balance = balance + 1 where id = ?',
    IMAGE,
  ],
  [
    `insert into atomesh.undo_record (gid, resource, position, server, body, seal) values
      ('by-hand', 'bench', uuid_short() & 0x00ffffffffffffff, @@server_id, '${'x'.repeat(250)}', repeat('x', 32))`,
    `insert into atomesh.row_lock (relation, lock_key, gid, resource) values
      ('bench.account', concat('?,', uuid_short()), 'by-hand', 'bench')`,
    'commit',
  ],
];

/** The same within the server, without a word between its statements: what their work alone takes. */
const PROCEDURE = `create procedure by_hand(one int) begin
    declare found, before_image, after_image text;
    start transaction;
    select state into found from atomesh.branch_state where gid = 'by-hand' and resource = 'bench' lock in share mode;
    select concat(id, ',', balance, ',', if(note is null, 'N', hex(note))) into before_image from account where id = one for update;
    update account set balance = balance + 1 where id = one;
    select concat(id, ',', balance, ',', if(note is null, 'N', hex(note))) into after_image from account where id = one for update;
    insert into atomesh.undo_record (gid, resource, position, server, body, seal) values
      ('by-hand', 'bench', uuid_short() & 0x00ffffffffffffff, @@server_id, concat(before_image, after_image, repeat('x', 150)), repeat('x', 32));
    insert into atomesh.row_lock (relation, lock_key, gid, resource) values
      ('bench.account', concat(one, ',', uuid_short()), 'by-hand', 'bench');
    commit;
  end`;
const WITHIN = [['call by_hand(?)']];

const SCHEMA = `create database bench; use bench;
  create table account (id int primary key, balance bigint not null, note text);
  insert into account select seq, 0, md5(seq) from seq_1_to_200000;
  create table classic_undo (id bigint auto_increment primary key, gid varchar(128) not null, images longtext not null);
  create table classic_lock (lock_key varchar(255) primary key, gid varchar(128) not null);`;

async function run(): Promise<readonly Result[]> {
  try {
    await using server = await startMariadb();
    return await measure(server);
  } catch (error) {
    if (!(error instanceof ProgramMissing)) throw error;
    console.log(`mysql-undo: not measured: ${error.message}`);
    return [];
  }
}

async function measure(server: MariadbServer): Promise<readonly Result[]> {
  const folder = await mkdtemp(join(tmpdir(), 'atomesh-bench-'));
  try {
    await server.run(SCHEMA);
    await initialiseDatabase({ host: '127.0.0.1', port: server.port, user: server.user });
    await server.run(`insert into atomesh.branch_state (gid, resource, state) values ('by-hand', 'bench', 'active')`);
    await server.run(`use bench; ${PROCEDURE}`);
    await using coordinator = await startChild('coordinator-process.ts', join(folder, 'bench.db'));
    const url = `http://127.0.0.1:${coordinator.port}`;
    const database = {
      engine: 'mysql',
      name: 'bench',
      listen: '127.0.0.1:0',
      upstream: `mysql://127.0.0.1:${server.port}/bench`,
      credentials: { user: server.user },
    };
    await using sidecar = await startSidecarChild({ coordinator: { url }, databases: [database] });
    await using load = await startChild('mysql/load-process.ts');
    const client = connectCoordinator({ url, timeoutMs: 5_000 });
    const plain = (options: Partial<Load>): Promise<LoadAnswer> =>
      askLoad(load, { port: sidecar.port, clients: 1, seconds: SECONDS, kind: 'prepared', sql: UPDATE, ...options });
    const captured = async (options: Partial<Load>): Promise<LoadAnswer> => {
      // A global transaction for each client, as in life.
      const begun = Array.from({ length: options.clients ?? 1 }, () => client.begin({ timeoutMs: 600_000 }));
      const gids = (await Promise.all(begun)).map(({ gid }) => gid);
      const answer = await plain({ ...options, first: gids.map((gid) => `set @atomesh_gid = '${gid}'`) });
      await Promise.all(gids.map((gid) => client.submit(gid)));
      await Promise.all(gids.map((gid) => client.read(gid, 60_000)));
      return answer;
    };
    try {
      const results: Result[] = [];
      // Written through at each commit, as anybody with money runs it; then without the wait for the disk, so that the work is left.
      for (const [disk, flush] of [
        ['written through at each commit', 1],
        ['no wait for the disk', 0],
      ] as const) {
        await server.run(`set global innodb_flush_log_at_trx_commit = ${flush}`);
        for (const kind of ['prepared', 'text'] as const) {
          results.push(...(await beside({ kind, clients: 1 }, disk, { plain, captured })));
        }
        results.push(...(await byHand(disk, (options) => plain({ ...options, port: server.port }))));
        results.push(...(await beside({ kind: 'prepared', clients: CLIENTS }, disk, { plain, captured })));
      }
      return results;
    } finally {
      await client.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** How far the number is from what the server itself makes of it. */
async function byHand(disk: string, run: Measured): Promise<readonly Result[]> {
  const rates = await alternate(ROUNDS, {
    plain: async () => (await run({ kind: 'text' })).perSecond,
    said: async () => (await run({ texts: BY_HAND })).perSecond,
    within: async () => (await run({ texts: WITHIN })).perSecond,
  });
  return (
    [
      ['what a captured one says, by hand', rates.said],
      ['a stored procedure that does the same', rates.within],
    ] as const
  ).map(([what, baseline]) => ({
    name: `plain update, 1 client, ${disk}, no sidecar, against ${what}`,
    value: rates.plain,
    unit: '1/s',
    baseline,
    ratio: rates.plain / baseline,
    pass: true,
  }));
}

type Measured = (options: Partial<Load>) => Promise<LoadAnswer>;

async function beside(
  options: Pick<Load, 'kind' | 'clients'>,
  disk: string,
  { plain, captured }: { readonly plain: Measured; readonly captured: Measured },
): Promise<readonly Result[]> {
  // A sidecar runs for days: what is measured is compiled code.
  await captured({ ...options, seconds: WARM_UP_SECONDS });
  const rates = await alternate(ROUNDS, {
    plain: async () => (await plain(options)).perSecond,
    captured: async () => (await captured(options)).perSecond,
    classic: async () => (await plain({ ...options, texts: CLASSIC })).perSecond,
  });
  const ratio = rates.plain / rates.captured;
  const clients = options.clients === 1 ? '1 client' : `${options.clients} clients`;
  const gain = rates.captured / rates.classic;
  return [
    {
      name: `plain update, ${options.kind}, ${clients}, ${disk}, against a captured one (at most)`,
      value: rates.plain,
      unit: '1/s',
      baseline: rates.captured,
      ratio,
      target: TARGET,
      pass: ratio <= TARGET,
    },
    {
      name: `captured update, ${options.kind}, ${clients}, ${disk}, against the classic sequence`,
      value: rates.captured,
      unit: '1/s',
      baseline: rates.classic,
      ratio: gain,
      target: TARGET_CLASSIC,
      pass: gain >= TARGET_CLASSIC,
    },
  ];
}

export const mysqlUndoPart: Part = { name: 'mysql-undo', run };
