/** Sends one statement in every way that drivers have, as a script that runs alike through the sidecar and without one. */
import pg from 'pg';
import type { FrontendMessage } from '../../proxy/postgres/wire/messages.ts';
import type { Shape } from '../undo/statements.ts';
import { openWire, record, say, type Value, type WireClient } from './wire-client.ts';

/** How the statement is sent. */
export const WAYS = ['simple', 'extended', 'named', 'pipeline', 'prepared before'] as const;
export type Way = (typeof WAYS)[number];

/** What makes the local transaction, and how the gid comes into it. */
export const LOCALS = ['comment', 'set_config in a block', 'comment on BEGIN', 'session variable'] as const;
export type Local = (typeof LOCALS)[number];

/** The two connections that scripts run over. */
export interface Scripts extends AsyncDisposable {
  readonly client: pg.Client;
  /** Runs one script to its end and answers every line that the client received. */
  run(shape: Shape, way: Way, local: Local, gid: string): Promise<string[]>;
}

/** Opens both connections. */
export async function openScripts(config: pg.ClientConfig): Promise<Scripts> {
  const client = new pg.Client(config);
  await client.connect();
  const answers = record(client);
  const wire = await openWire(config);
  return {
    client,
    async run(shape, way, local, gid) {
      if (way === 'pipeline') return normal(await pipeline(wire, shape, local, gid), gid);
      if (way === 'prepared before') return normal(await preparedBefore(wire, shape, local, gid), gid);
      answers.take();
      await (way === 'named' ? named(client, shape, local, gid) : once(client, shape, way, local, gid));
      return normal(answers.take(), gid);
    },
    async [Symbol.asyncDispose]() {
      await client.end();
      await wire[Symbol.asyncDispose]();
    },
  };
}

/** The gid is another each time, and rows come in no promised order. */
function normal(lines: readonly string[], gid: string): string[] {
  const named = lines.map((line) => line.replaceAll(gid, 'GID'));
  const sorted: string[] = [];
  let rows: string[] = [];
  for (const line of named) {
    if (line.startsWith('row ')) rows.push(line);
    else {
      sorted.push(...rows.toSorted(), line);
      rows = [];
    }
  }
  return sorted;
}

function commented(sql: string, gid: string): string {
  return `${sql} /*atomesh_gid='${gid}'*/`;
}

/** What leads up to the statement, and what ends it. */
function around(local: Local, gid: string): { readonly before: readonly string[]; readonly after: readonly string[] } {
  switch (local) {
    case 'comment':
      return { before: [], after: [] };
    case 'set_config in a block':
      return { before: ['BEGIN', `SELECT set_config('atomesh.gid', '${gid}', true)`], after: ['COMMIT'] };
    case 'comment on BEGIN':
      return { before: [commented('BEGIN', gid)], after: ['COMMIT'] };
    case 'session variable':
      return { before: [`SET atomesh.gid = '${gid}'`], after: ['RESET atomesh.gid'] };
  }
}

async function once(
  client: pg.Client,
  shape: Shape,
  way: 'simple' | 'extended',
  local: Local,
  gid: string,
): Promise<void> {
  const { before, after } = around(local, gid);
  for (const text of before) await client.query(text);
  const sql = local === 'comment' ? commented(shape.sql, gid) : shape.sql;
  const query =
    way === 'simple'
      ? { text: withLiterals({ ...shape, sql }) }
      : { text: sql, values: [...(shape.parameters ?? [])], queryMode: 'extended' };
  await client.query(query as pg.QueryConfig);
  for (const text of after) await client.query(text);
}

const RUNS = 7;

/** Six runs that are rolled back, and one that stays: from the sixth on the server may use a generic plan. */
async function named(client: pg.Client, shape: Shape, local: Local, gid: string): Promise<void> {
  const { before, after } = around(local, gid);
  const sql = local === 'comment' ? commented(shape.sql, gid) : shape.sql;
  const query = { name: `n${(names += 1)}`, text: sql, values: [...(shape.parameters ?? [])] };
  const isBlock = before.some((text) => text.startsWith('BEGIN'));
  if (!isBlock) for (const text of before) await client.query(text);
  for (let run = 1; run < RUNS; run += 1) {
    for (const text of isBlock ? before : ['BEGIN']) await client.query(text);
    await client.query(query);
    await client.query('ROLLBACK');
  }
  if (isBlock) for (const text of before) await client.query(text);
  await client.query(query);
  for (const text of after) await client.query(text);
}

let names = 0;

/** The statement and two others in one pipeline; in a block its BEGIN too, as pgjdbc sends it. */
async function pipeline(wire: WireClient, shape: Shape, local: Local, gid: string): Promise<string[]> {
  const { before, after } = around(local, gid);
  const sql = local === 'comment' ? commented(shape.sql, gid) : shape.sql;
  const steps: FrontendMessage[] = [
    ...before.flatMap((text) => say.run(text)),
    ...say.run(sql, valuesOf(shape)),
    ...say.run('UPDATE lonely SET v = v + $1 RETURNING v', [10]),
    ...say.run('SELECT count(*), sum(v) FROM lonely'),
    say.sync,
  ];
  const lines = await wire.ask(...steps);
  for (const text of after) lines.push(...(await wire.ask(...say.run(text), say.sync)));
  return lines;
}

/** Prepared and described while nothing is known of a gid, as pgx and lib/pq do; bound and executed inside one. */
async function preparedBefore(wire: WireClient, shape: Shape, local: Local, gid: string): Promise<string[]> {
  const { before, after } = around(local, gid);
  const sql = local === 'comment' ? commented(shape.sql, gid) : shape.sql;
  const lines = await wire.ask(say.parse(sql, 's'), say.describe('s', 'statement'), say.sync);
  for (const text of before) lines.push(...(await wire.ask(say.query(text))));
  lines.push(...(await wire.ask(say.bind(valuesOf(shape), 's'), say.describe(), say.execute(), say.sync)));
  for (const text of after) lines.push(...(await wire.ask(say.query(text))));
  lines.push(...(await wire.ask(say.close('s'), say.sync)));
  return lines;
}

function valuesOf({ parameters = [] }: Shape): readonly Value[] {
  return parameters as readonly Value[];
}

/** The same statement with its parameters written out. */
function withLiterals({ sql, parameters = [] }: Shape): string {
  if (parameters.length === 0) return sql;
  return sql.replace(/\$(\d+)/g, (_, number: string) => {
    const value = valuesOf({ sql, parameters })[Number(number) - 1];
    return value === null || value === undefined ? 'NULL' : pg.escapeLiteral(String(value));
  });
}
