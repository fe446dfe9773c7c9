import test from 'ava';
import { INSERTS, JOINED_REALM, JOINS, MERGES, TABLE_KINDS, UPSERTS, WITHS } from './joined-statements.ts';
import { openWorld, proveShape } from './prove-shape.ts';

const GROUPS = {
  'UPDATE … FROM and DELETE … USING': JOINS,
  'INSERT … SELECT and every form of ON CONFLICT': INSERTS,
  'DO UPDATE of the rows of a query': UPSERTS,
  MERGE: MERGES,
  'several changes in one WITH': WITHS,
  'partitions, inheritance, tables without a primary key and with triggers that do not fire': TABLE_KINDS,
} as const;

for (const major of [14, 18] as const) {
  test(`a change of several tables answers as without a sidecar and is undone or kept exactly on PostgreSQL ${major}`, async (t) => {
    await using world = await openWorld(major, JOINED_REALM);
    for (const [name, shapes] of Object.entries(GROUPS)) {
      const these = shapes.filter((shape) => shape.from === undefined || major >= shape.from);
      for (const shape of these)
        await proveShape(t, world, shape).catch((error: Error) => t.fail(`${shape.sql}: ${error.message}`));
      t.log(`${name}: ${these.length}`);
    }
  });
}
