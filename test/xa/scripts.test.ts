import test from 'ava';
import { proveScript, startXaMesh, type Way } from './prove.ts';
import { SCRIPTS } from './scripts.ts';

const STAGES: readonly (readonly [way: Way, major: 14 | 18])[] = [
  ['xa', 18],
  ['xa', 14],
  ['escalate', 18],
];

for (const [way, major] of STAGES) {
  test.serial(
    `a prepared local transaction looks like a committed one to its client, and ends with its gid (${way}, PostgreSQL ${major})`,
    async (t) => {
      await using mesh = await startXaMesh(major, way);
      for (const [name, script] of Object.entries(SCRIPTS)) await proveScript(t, mesh, name, script);
    },
  );
}
