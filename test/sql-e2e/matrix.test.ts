import test, { type ExecutionContext } from 'ava';
import type { PostgresMajor } from '../../examples/support/postgres-server.ts';
import { DATA, RESET_SEQUENCES, SCHEMA, SHAPES, TABLES, type Shape } from '../undo/statements.ts';
import { INSERTS, JOINED_REALM, JOINS, MERGES, TABLE_KINDS, UPSERTS, WITHS } from '../undo/joined-statements.ts';
import type { Realm } from '../undo/prove-shape.ts';
import { LOCALS, openScripts, WAYS, type Local, type Scripts, type Way } from './matrix.ts';
import { NOTHING_LEFT, startMesh, type Mesh } from './mesh.ts';

const REALM: Realm = { schema: SCHEMA, data: DATA, tables: TABLES, resetSequences: RESET_SEQUENCES };

const OUTCOMES = ['rollback', 'commit'] as const;

interface Proof {
  readonly realm: Realm;
  readonly mesh: Mesh;
  readonly through: Scripts;
  readonly direct: Scripts;
}

async function startProof(major: PostgresMajor, realm: Realm = REALM): Promise<Proof & AsyncDisposable> {
  const mesh = await startMesh({ major, schema: `${realm.schema} ${realm.data}`, tables: realm.tables });
  const through = await openScripts(mesh.through);
  const direct = await openScripts(mesh.direct);
  await mesh.owner.query(realm.resetSequences);
  await mesh.twin.query(realm.resetSequences);
  return {
    realm,
    mesh,
    through,
    direct,
    async [Symbol.asyncDispose]() {
      await through[Symbol.asyncDispose]();
      await direct[Symbol.asyncDispose]();
      await mesh[Symbol.asyncDispose]();
    },
  };
}

/** The client sees what it sees without a sidecar; commit keeps exactly that, rollback leaves no trace. */
async function prove(t: ExecutionContext, proof: Proof, shape: Shape, way: Way, local: Local): Promise<void> {
  const { mesh, through, direct, realm } = proof;
  const { data, resetSequences } = realm;
  const name = `${way}, ${local}: ${shape.sql}`;
  const before = await mesh.dump();
  const expected = await direct.run(shape, way, local, 'no-such-gid');
  const after = await mesh.dump(mesh.twin);
  await mesh.twin.query(`${data} ${resetSequences}`);
  for (const outcome of OUTCOMES) {
    const gid = await mesh.begin();
    const answers = await through.run(shape, way, local, gid).catch((error: unknown) => String(error));
    t.deepEqual(answers, expected, name);
    t.deepEqual(await mesh.dump(), after, name);
    await mesh.end(gid, outcome);
    t.deepEqual(await mesh.dump(), outcome === 'rollback' ? before : after, `${outcome}: ${name}`);
    t.is(await mesh.leftovers(), NOTHING_LEFT, name);
    await mesh.owner.query(outcome === 'rollback' ? resetSequences : `${data} ${resetSequences}`);
  }
}

const shapesOf = (major: PostgresMajor, shapes: readonly Shape[] = SHAPES): readonly Shape[] =>
  shapes.filter((shape) => shape.from === undefined || major >= shape.from);

for (const major of [18, 14] as const) {
  test.serial(
    `every statement, however it is sent, is seen, kept and undone as without a sidecar on PostgreSQL ${major}`,
    async (t) => {
      t.timeout(120_000);
      await using proof = await startProof(major);
      for (const [index, shape] of shapesOf(major).entries()) {
        for (const [turn, way] of WAYS.entries()) {
          await prove(t, proof, shape, way, LOCALS[(index + turn) % LOCALS.length] ?? 'comment');
        }
      }
    },
  );
}

for (const major of [15, 16, 17] as const) {
  test.serial(
    `a sample of statements is seen, kept and undone as without a sidecar on PostgreSQL ${major}`,
    async (t) => {
      await using proof = await startProof(major);
      const sample = shapesOf(major).filter((_, index) => index % 7 === major % 7);
      for (const [index, shape] of sample.entries()) {
        const way = WAYS[index % WAYS.length] ?? 'simple';
        await prove(t, proof, shape, way, LOCALS[(index + major) % LOCALS.length] ?? 'comment');
      }
    },
  );
}

for (const major of [18, 14] as const) {
  test.serial(
    `a change of several tables, in one way or another, is seen, kept and undone as without a sidecar on PostgreSQL ${major}`,
    async (t) => {
      t.timeout(120_000);
      await using proof = await startProof(major, JOINED_REALM);
      const shapes = shapesOf(major, [...JOINS, ...INSERTS, ...UPSERTS, ...MERGES, ...WITHS, ...TABLE_KINDS]);
      for (const [index, shape] of shapes.entries()) {
        const way = WAYS[index % WAYS.length] ?? 'simple';
        await prove(t, proof, shape, way, LOCALS[(index + major) % LOCALS.length] ?? 'comment');
      }
    },
  );
}
