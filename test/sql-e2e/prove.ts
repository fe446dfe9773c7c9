/** Proves that a client cannot tell a sidecar from none: the same script over both connections, line by line, and the rows behind it. */
import type { ExecutionContext } from 'ava';
import type { PostgresMajor } from '../../examples/support/postgres-server.ts';
import { DATA, RESET_SEQUENCES, SCHEMA, TABLES } from '../undo/statements.ts';
import { NOTHING_LEFT, startMesh, type Mesh } from './mesh.ts';
import { openWire, type WireClient } from './wire-client.ts';

/** What a client does with its session. It may name the gid; answers every line that it got. */
export type Script = (wire: WireClient, gid: string) => Promise<readonly string[]>;

/** A mesh over the tables of the statement shapes. */
export async function startShopMesh(major: PostgresMajor, lockTimeoutMs?: number): Promise<Mesh> {
  return startMesh({
    major,
    schema: `${SCHEMA} ${DATA} ${RESET_SEQUENCES}`,
    tables: TABLES,
    ...(lockTimeoutMs === undefined ? {} : { lockTimeoutMs }),
  });
}

/**
 * Meshes that the tests of a file share, one for each version: started when first asked for, with all rows as at first each time,
 * and stopped when the file is through, which `atEnd` tells. For tests that run one after another and leave no lock behind.
 */
export function sharedShopMeshes(atEnd: (stop: () => Promise<void>) => void): (major: PostgresMajor) => Promise<Mesh> {
  const meshes = new Map<PostgresMajor, Promise<Mesh>>();
  atEnd(async () => {
    for (const mesh of meshes.values()) await (await mesh)[Symbol.asyncDispose]();
  });
  return async (major) => {
    const starting = meshes.get(major) ?? startShopMesh(major);
    meshes.set(major, starting);
    const mesh = await starting;
    await reset(mesh);
    return mesh;
  };
}

/** Puts all rows of both databases back. */
export async function reset(mesh: Mesh): Promise<void> {
  await Promise.all([mesh.owner, mesh.twin].map((client) => client.query(`ROLLBACK; ${DATA} ${RESET_SEQUENCES}`)));
}

/**
 * Runs the script directly once, and through the sidecar once for each outcome. The client must get the same lines, the rows must
 * be the same before the end and after a commit, and a rollback must leave no trace.
 */
export async function proveScript(t: ExecutionContext, mesh: Mesh, name: string, script: Script): Promise<void> {
  const before = await mesh.dump();
  const expected = await over(mesh.direct, script, 'no-such-gid');
  const after = await mesh.dump(mesh.twin);
  for (const outcome of ['rollback', 'commit'] as const) {
    const gid = await mesh.begin();
    t.deepEqual(await over(mesh.through, script, gid), expected, name);
    t.deepEqual(await mesh.dump(), after, name);
    await mesh.end(gid, outcome);
    t.deepEqual(await mesh.dump(), outcome === 'rollback' ? before : after, `${outcome}: ${name}`);
    t.is(await mesh.leftovers(), NOTHING_LEFT, name);
    await reset(mesh);
  }
}

async function over(config: Mesh['through'], script: Script, gid: string): Promise<readonly string[]> {
  await using wire = await openWire(config);
  const lines = await script(wire, gid);
  return lines.map((line) => line.replaceAll(gid, 'GID'));
}

/** A text with the comment that names a gid. */
export function commented(sql: string, gid: string): string {
  return `${sql} /*atomesh_gid='${gid}'*/`;
}
