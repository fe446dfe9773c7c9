import test from 'ava';
import type { Outcome } from '../sql-e2e/mesh.ts';
import { CASES } from './cases.ts';
import { prove, reset, scriptOf, startTriggerMesh, type Way } from './mesh.ts';

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
