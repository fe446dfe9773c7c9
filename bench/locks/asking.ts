/**
 * What it costs to ask of each row whether an unfinished global transaction holds it, where nobody does: a change that is prepared beside one that
 * is not asked about, and a change outside any global transaction with `writersOutside: wait` beside one without. Nothing is promised of it.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPostgres } from '../../examples/support/postgres-server.ts';
import { initialiseDatabase } from '../../proxy/postgres/schema.ts';
import { connectCoordinator } from '../../src/client/connect.ts';
import { alternate, askLoad, startChild, startDatabaseSidecar, type Part, type Result } from '../measure.ts';
import type { SqlLoad, SqlLoadAnswer } from '../sql-load.ts';

const CLIENTS = 16;
const SECONDS = 2;
const WARM_UP_SECONDS = 3;
const ROUNDS = 5;
/** No condition goes into changes of a table with row-level security, which a superuser does not notice. */
const SCHEMA = `
  create table account (id int primary key, balance bigint not null, note text);
  insert into account select id, 0, md5(id::text) from generate_series(1, 10000) id;
  create table guarded (like account including all);
  insert into guarded select * from account;
  alter table guarded enable row level security;`;

/** Costs of the condition of row locks. */
export const askingPart: Part = { name: 'asking', run };

async function run(): Promise<readonly Result[]> {
  const folder = await mkdtemp(join(tmpdir(), 'atomesh-bench-'));
  try {
    // How long the disk takes is the same on both sides, and as long as the disk pleases.
    await using postgres = await startPostgres({ settings: { synchronous_commit: 'off' } });
    await postgres.run('postgres', SCHEMA);
    await initialiseDatabase({ connectionString: postgres.url('postgres') });
    await using coordinator = await startChild('coordinator-process.ts', join(folder, 'bench.db'));
    const url = `http://127.0.0.1:${coordinator.port}`;
    await using plain = await startDatabaseSidecar(postgres.port, { url });
    await using waiting = await startDatabaseSidecar(postgres.port, { url }, { writersOutside: 'wait' });
    await using preparing = await startDatabaseSidecar(postgres.port, { url }, { mode: 'xa' });
    await using load = await startChild('sql-load.ts');
    const measure = (port: number, options: Partial<SqlLoad>): Promise<SqlLoadAnswer> =>
      askLoad<SqlLoadAnswer>(load, {
        port,
        database: 'postgres',
        clients: CLIENTS,
        seconds: SECONDS,
        prepare: [],
        work: [],
        ...options,
      } satisfies SqlLoad);
    const work = [update('account')];
    for (const port of [plain.port, waiting.port]) await measure(port, { work, seconds: WARM_UP_SECONDS });
    const many = await alternate(ROUNDS, {
      plain: async () => (await measure(plain.port, { work })).perSecond,
      asked: async () => (await measure(waiting.port, { work })).perSecond,
    });
    const one = await alternate(ROUNDS, {
      plain: async () => (await measure(plain.port, { work, clients: 1 })).medianMs,
      asked: async () => (await measure(waiting.port, { work, clients: 1 })).medianMs,
    });
    const client = connectCoordinator({ url, timeoutMs: 5_000 });
    try {
      const { gid } = await client.begin({ timeoutMs: 600_000 });
      const inBlock = async (table: string, seconds = SECONDS): Promise<number> =>
        (
          await measure(preparing.port, {
            seconds,
            clients: 1,
            prepare: [`set atomesh.gid = '${gid}'`],
            // Nothing is left prepared, which would take one place of the server each.
            work: [command('begin'), update(table), command('rollback')],
          })
        ).medianMs;
      for (const table of ['account', 'guarded']) await inBlock(table, WARM_UP_SECONDS);
      const prepared = await alternate(ROUNDS, {
        plain: () => inBlock('guarded'),
        asked: () => inBlock('account'),
      });
      await client.abort(gid, {});
      return [
        compared(`update without a gid, ${CLIENTS} clients, writersOutside: wait against pass`, many, '1/s'),
        compared('update without a gid, 1 client, time with writersOutside: wait against pass', one, 'ms'),
        compared('block with an update in mode xa, 1 client, time against one that is not asked about', prepared, 'ms'),
      ];
    } finally {
      await client.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function update(table: string): SqlLoad['work'][number] {
  return { text: `update ${table} set balance = balance + 1 where id = $1`, hasParameter: true };
}

function command(text: string): SqlLoad['work'][number] {
  return { text, hasParameter: false };
}

interface Compared {
  readonly plain: number;
  readonly asked: number;
}

function compared(name: string, { plain: baseline, asked: value }: Compared, unit: string): Result {
  return { name, value, unit, baseline, ratio: value / baseline, pass: true };
}
