import test, { type ExecutionContext } from 'ava';
import { LOCALS, openScripts, WAYS, type Local, type Scripts, type Way } from '../sql-e2e/matrix.ts';
import { NOTHING_LEFT, type Mesh } from '../sql-e2e/mesh.ts';
import { SHAPES, type Shape } from '../undo/statements.ts';
import { preparedNames, reset, startXaMesh } from './prove.ts';

interface Proof {
  readonly mesh: Mesh;
  readonly through: Scripts;
  readonly direct: Scripts;
}

/** The client sees what it sees without a sidecar; nobody else sees anything before the end. */
async function prove(
  t: ExecutionContext,
  { mesh, through, direct }: Proof,
  how: { readonly shape: Shape; readonly way: Way; readonly local: Local; readonly outcome: 'commit' | 'rollback' },
): Promise<void> {
  const { shape, way, local, outcome } = how;
  const name = `${way}, ${local}: ${shape.sql}`;
  const before = await mesh.dump();
  const expected = await direct.run(shape, way, local, 'no-such-gid');
  const after = await mesh.dump(mesh.twin);
  const gid = await mesh.begin();
  t.deepEqual(await through.run(shape, way, local, gid), expected, name);
  t.deepEqual(await mesh.dump(), before, `${name}: seen before its end`);
  await mesh.end(gid, outcome);
  t.deepEqual(await mesh.dump(), outcome === 'rollback' ? before : after, `${outcome}: ${name}`);
  t.deepEqual(await preparedNames(mesh), [], name);
  t.is(await mesh.leftovers(), NOTHING_LEFT, name);
  await reset(mesh);
}

test.serial(
  'in mode xa every shape of change is answered, kept and undone, in every way that drivers have',
  async (t) => {
    await using mesh = await startXaMesh(18, 'xa');
    await using through = await openScripts(mesh.through);
    await using direct = await openScripts(mesh.direct);
    const shapes = SHAPES.filter(({ from = 0 }) => from <= 18);
    const ways = WAYS.flatMap((way) => LOCALS.map((local) => ({ way, local })));
    // Each shape by one of the ways, each way with some of the shapes.
    for (const [index, shape] of shapes.entries()) {
      const { way, local } = ways[index % ways.length] as (typeof ways)[number];
      await prove(
        t,
        { mesh, through, direct },
        { shape, way, local, outcome: index % 3 === 0 ? 'commit' : 'rollback' },
      );
    }
  },
);
