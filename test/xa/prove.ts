/** Proves of a script that a client cannot tell a prepared local transaction from a committed one, but by reading behind it. */
import type { ExecutionContext } from 'ava';
import type { PostgresMajor } from '../../examples/support/postgres-server.ts';
import { emptied } from '../sql/emptied.ts';
import { startMesh, NOTHING_LEFT, type Mesh, type MeshOptions } from '../sql-e2e/mesh.ts';
import type { Script } from '../sql-e2e/prove.ts';
import { openWire } from '../sql-e2e/wire-client.ts';
import { DATA, RESET_SEQUENCES, SCHEMA, TABLES } from '../undo/statements.ts';

/** How the database of the sidecar is configured. */
export type Way = 'xa' | 'escalate';

const MORE = `
CREATE TABLE bare (v int);
INSERT INTO bare VALUES (1), (2);
CREATE TABLE heap (v int);
CREATE TABLE home (id int PRIMARY KEY);
CREATE TABLE late (id int PRIMARY KEY, parent int REFERENCES home DEFERRABLE INITIALLY DEFERRED);
CREATE FUNCTION idle() RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1';
CREATE FUNCTION spend(amount int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN
  UPDATE bare SET v = v - amount; RAISE NOTICE 'spent %', amount; RETURN amount;
END $$;
`;
const MORE_DATA = `${emptied(['bare', 'late'])} INSERT INTO bare VALUES (1), (2);`;

/** A mesh over the tables of the statement shapes, and a table without a key, which no image can name the rows of. */
export async function startXaMesh(major: PostgresMajor, way: Way, more: Partial<MeshOptions> = {}): Promise<Mesh> {
  return startMesh({
    major,
    schema: `${SCHEMA} ${DATA} ${RESET_SEQUENCES}; ${MORE}`,
    tables: [...TABLES, 'bare', 'late'],
    ...more,
    database: { ...(way === 'xa' ? { mode: 'xa' } : { escalate: 'xa' }), ...more.database },
  });
}

/** Puts all rows of both databases back. */
export async function reset(mesh: Mesh): Promise<void> {
  await Promise.all([mesh.owner, mesh.twin].map((client) => client.query(`${DATA} ${RESET_SEQUENCES}; ${MORE_DATA}`)));
}

/** The prepared transactions of the server, by name. */
export async function preparedNames(mesh: Mesh): Promise<readonly string[]> {
  const { rows } = await mesh.owner.query<{ gid: string }>('SELECT gid FROM pg_prepared_xacts ORDER BY prepared');
  return rows.map(({ gid }) => gid);
}

/**
 * Runs the script directly once, and through the sidecar once for each outcome. The client must get the same lines. Nobody sees its
 * changes before the end; a commit leaves what a direct one leaves, a rollback nothing. `prepared`: how many local transactions of it
 * are prepared.
 */
export async function proveScript(
  t: ExecutionContext,
  mesh: Mesh,
  name: string,
  { script, prepared }: { readonly script: Script; readonly prepared: number },
): Promise<void> {
  const before = await mesh.dump();
  const expected = await over(mesh.direct, script, 'no-such-gid');
  const after = await mesh.dump(mesh.twin);
  for (const outcome of ['rollback', 'commit'] as const) {
    const gid = await mesh.begin();
    t.deepEqual(await over(mesh.through, script, gid), expected, name);
    t.deepEqual(await mesh.dump(), before, `${name}: seen before its end`);
    t.is((await preparedNames(mesh)).length, prepared, name);
    await mesh.end(gid, outcome);
    t.deepEqual(await mesh.dump(), outcome === 'rollback' ? before : after, `${outcome}: ${name}`);
    t.deepEqual(await preparedNames(mesh), [], name);
    t.is(await mesh.leftovers(), NOTHING_LEFT, name);
    await reset(mesh);
  }
}

async function over(config: Mesh['through'], script: Script, gid: string): Promise<readonly string[]> {
  await using wire = await openWire(config);
  const lines = await script(wire, gid);
  return lines.map((line) => line.replaceAll(gid, 'GID'));
}
