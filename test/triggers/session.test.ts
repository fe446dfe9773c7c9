import test from 'ava';
import { NOTHING_LEFT, type Outcome } from '../sql-e2e/mesh.ts';
import { openWire, say } from '../sql-e2e/wire-client.ts';
import { CASES } from './cases.ts';
import { commented, prove, reset, scriptOf, startTriggerMesh, type Way } from './mesh.ts';

for (const major of [14, 18] as const) {
  test(`a client hears and leaves the same with triggers as without a sidecar, on PostgreSQL ${major}`, async (t) => {
    await using mesh = await startTriggerMesh(major);
    await reset(mesh);
    for (const [index, [title, ...statements]] of CASES.entries()) {
      const isEven = (index + major / 2) % 2 === 0;
      const way: Way = isEven ? 'simple' : 'extended';
      // Rollbacks of all of them are in restore.test.ts too.
      const outcomes: readonly Outcome[] = isEven ? ['rollback'] : ['commit'];
      await prove(t, mesh, { title: `${title} (${way})`, script: scriptOf(way, statements), outcomes });
    }
  });
}

for (const way of ['simple', 'extended'] as const) {
  test(`a COPY by itself is not kept when its global transaction is over already, by the ${way} protocol`, async (t) => {
    await using mesh = await startTriggerMesh(18);
    await reset(mesh);
    const before = await mesh.dump();
    const gid = await mesh.begin();
    await mesh.coordinator.abort(gid, {});
    await mesh.over(gid);
    await using wire = await openWire(mesh.through);
    const text = commented('COPY made (a) FROM STDIN', gid);
    if (way === 'simple') wire.send(say.query(text));
    else wire.send(say.parse(text), say.bind(), say.execute(), say.sync);
    await wire.answers.has('copy-in');
    const rest = way === 'simple' ? [] : [say.sync];
    wire.send({ kind: 'copy-data', data: Buffer.from('901\n') }, { kind: 'copy-done' }, ...rest);
    const lines = await wire.answers.ready(1);
    t.regex(lines.join('\n'), /error ERROR 40000/);
    t.deepEqual(await mesh.dump(), before);
    t.is(await mesh.leftovers(), NOTHING_LEFT);
  });
}
