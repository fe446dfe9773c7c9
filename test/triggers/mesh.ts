/** A mesh whose sidecar leaves the images to triggers, and clients of which every answer is compared. */
import type { ExecutionContext } from 'ava';
import type pg from 'pg';
import type { PostgresMajor } from '../../examples/support/postgres-server.ts';
import { installTriggers } from '../../proxy/postgres/triggers/install.ts';
import { startSidecar } from '../../proxy/proxy.ts';
import { NOTHING_LEFT, startMesh, type Mesh, type Outcome } from '../sql-e2e/mesh.ts';
import { openWire, say, type WireClient } from '../sql-e2e/wire-client.ts';
import { DATA, SCHEMA, TABLES } from './cases.ts';

/** Starts it, over the tables of `cases.ts`. */
export async function startTriggerMesh(major: PostgresMajor): Promise<Mesh> {
  return startMesh({
    major,
    schema: `${SCHEMA} ${DATA}`,
    tables: TABLES,
    lockTimeoutMs: 500,
    database: { capture: 'triggers', escalate: 'xa' },
    startSidecar: async (options, log) => {
      const [database] = options.databases;
      await installTriggers({ connectionString: `${database?.upstream.replace('//', '//postgres@')}` }, { except: [] });
      return startSidecar(options, log);
    },
  });
}

/** Puts all rows and sequences of both databases back, as no TRUNCATE could: that takes half a second. */
export async function reset(mesh: Mesh): Promise<void> {
  const deletions = TABLES.map((table) => `DELETE FROM ${table};`).join(' ');
  const sequences = `SELECT setval('audit_id_seq', 1, false), setval('made_id_seq', 1, false);`;
  const sql = `SET session_replication_role = replica; ${deletions} ${sequences} ${DATA}; SET session_replication_role = origin`;
  await Promise.all([mesh.owner, mesh.twin].map((client) => client.query(sql)));
}

/** The protocol that a text goes by. */
export type Way = 'simple' | 'extended';
/** What a client does with its session; answers every line that it got. */
export type Script = (wire: WireClient, gid: string) => Promise<readonly string[]>;

/** A text with the comment that names a gid. */
export const commented = (sql: string, gid: string): string => `/*atomesh_gid='${gid}'*/ ${sql}`;

/** Sends a text, and answers the lines. */
export async function tell(wire: WireClient, way: Way, text: string): Promise<readonly string[]> {
  return way === 'simple' ? wire.ask(say.query(text)) : wire.ask(...say.run(text), say.sync);
}

/** In one block, or by itself where it is one statement. */
export function scriptOf(way: Way, statements: readonly string[]): Script {
  return async (wire, gid) => {
    const texts = statements.length === 1 ? statements : ['BEGIN', ...statements, 'COMMIT'];
    const lines: string[] = [];
    for (const [index, text] of texts.entries())
      lines.push(...(await tell(wire, way, index === 0 ? commented(text, gid) : text)));
    return lines;
  };
}

async function over(config: pg.ClientConfig, script: Script, gid: string): Promise<readonly string[]> {
  await using wire = await openWire(config);
  return (await script(wire, gid)).map((line) => line.replaceAll(gid, 'GID'));
}

/** The script gets the same lines as without a sidecar, leaves the same rows, and each outcome leaves what it must. */
export async function prove(
  t: ExecutionContext,
  mesh: Mesh,
  {
    title,
    script,
    outcomes,
  }: { readonly title: string; readonly script: Script; readonly outcomes: readonly Outcome[] },
): Promise<void> {
  const before = await mesh.dump();
  const expected = await over(mesh.direct, script, 'no-such-gid');
  const after = await mesh.dump(mesh.twin);
  for (const outcome of outcomes) {
    const gid = await mesh.begin();
    t.deepEqual(await over(mesh.through, script, gid), expected, title);
    t.deepEqual(await mesh.dump(), after, title);
    await mesh.end(gid, outcome);
    t.deepEqual(await mesh.dump(), outcome === 'rollback' ? before : after, `${outcome}: ${title}`);
    t.is(await mesh.leftovers(), NOTHING_LEFT, title);
    // What was restored may lie in another order.
    await reset(mesh);
  }
}
