/** A database whose tables have triggers of ours: changes by any statement, their rollback, and what is left. */
import pg from 'pg';
import { startPostgres, type PostgresMajor, type PostgresServer } from '../../examples/support/postgres-server.ts';
import type { Finisher } from '../../proxy/branch/finish.ts';
import { createFinisher } from '../../proxy/postgres/finish.ts';
import { initialiseDatabase } from '../../proxy/postgres/schema.ts';
import { installTriggers } from '../../proxy/postgres/triggers/install.ts';
import type { Gid } from '../../src/contract/transaction.ts';
import { openLog } from '../../src/platform/log.ts';

/** The participant's name in these tests. */
export const RESOURCE = 'shop/db';

export interface Stage extends AsyncDisposable {
  readonly url: string;
  readonly server: PostgresServer;
  readonly finisher: Finisher;
  /** A connection past any sidecar. */
  readonly client: pg.Client;
  open(): Promise<pg.Client>;
  /** Every row of every table of the schema `public`, by table. */
  digest(): Promise<Readonly<Record<string, readonly string[]>>>;
  /** How many records and locks there are. */
  leftovers(): Promise<string>;
}

const servers = new Map<PostgresMajor, Promise<PostgresServer>>();
let databases = 0;

/** Stops the servers that this process has started. */
export async function stopServers(): Promise<void> {
  for (const server of servers.values()) await (await server)[Symbol.asyncDispose]();
}

/** A database of its own with that schema. `installs: false`: without triggers yet. */
export async function openStage(
  major: PostgresMajor,
  schema: string,
  { installs = true }: { readonly installs?: boolean } = {},
): Promise<Stage> {
  const starting = servers.get(major) ?? startPostgres({ major });
  servers.set(major, starting);
  const server = await starting;
  databases += 1;
  const name = `t${databases}`;
  await server.run('postgres', `CREATE DATABASE ${name}`);
  const url = server.url(name);
  await initialiseDatabase({ connectionString: url });
  await server.run(name, schema);
  if (installs) await installTriggers({ connectionString: url }, { except: [] });
  const clients: pg.Client[] = [];
  const open = async (): Promise<pg.Client> => {
    const client = new pg.Client({ connectionString: url });
    client.on('error', () => undefined);
    clients.push(client);
    await client.connect();
    return client;
  };
  const client = await open();
  const finisher = createFinisher({
    connection: { connectionString: url },
    log: openLog('test', 'silent'),
    lockTimeoutMs: 200,
  });
  return {
    url,
    server,
    finisher,
    client,
    open,
    digest: () => digest(client),
    async leftovers() {
      const { rows } = await client.query<{ left: string }>(
        "SELECT concat((SELECT count(*) FROM atomesh.undo_record), ' records, ', (SELECT count(*) FROM (SELECT FROM atomesh.row_lock UNION ALL SELECT FROM atomesh.parent_claim) AS l), ' locks') AS left",
      );
      return rows[0]?.left ?? '';
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(clients.map((each) => each.end().catch(() => undefined)));
      await finisher.close();
    },
  };
}

/** What `leftovers` says when nothing is left. */
export const NOTHING_LEFT = '0 records, 0 locks';

async function digest(client: pg.Client): Promise<Readonly<Record<string, readonly string[]>>> {
  const { rows: tables } = await client.query<{ name: string }>(
    `SELECT c.oid::regclass::text AS name FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' ORDER BY 1`,
  );
  const found: Record<string, readonly string[]> = {};
  for (const { name } of tables) {
    const { rows } = await client.query<{ images: readonly string[] }>(
      `SELECT array(SELECT x.*::text FROM ONLY ${name} AS x ORDER BY 1) AS images`,
    );
    found[name] = rows[0]?.images ?? [];
  }
  return found;
}

/** Tells the triggers of the open local transaction what it belongs to, as a sidecar does. */
export async function enter(client: pg.Client, gid: string, rowsMax = 1_000): Promise<void> {
  await client.query('SELECT atomesh.enter_capture($1, $2, $3, $4, false)', [gid, RESOURCE, rowsMax, []]);
}

/** Runs statements in one local transaction of the gid, which commits. */
export async function change(client: pg.Client, gid: Gid, ...statements: readonly string[]): Promise<void> {
  await client.query('BEGIN');
  try {
    await enter(client, gid);
    for (const sql of statements) await client.query(sql);
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK');
    throw error;
  }
}
