import test from 'ava';
import { newGid } from '../../src/platform/random.ts';
import { CASES, DATA, SCHEMA } from './cases.ts';
import { NOTHING_LEFT, RESOURCE, change, openStage, stopServers } from './stage.ts';

test.after.always(stopServers);

for (const major of [14, 18] as const) {
  test(`whatever changed the rows, a rollback leaves what was there before, on PostgreSQL ${major}`, async (t) => {
    await using stage = await openStage(major, `${SCHEMA} ${DATA}`);
    const before = await stage.digest();
    for (const [title, ...statements] of CASES) {
      const gid = newGid();
      await change(stage.client, gid, ...statements);
      const { result, detail } = await stage.finisher.rollback(gid, RESOURCE);
      t.is(result, 'success', `${title}: ${detail}`);
      t.deepEqual(await stage.digest(), before, title);
      t.is(await stage.leftovers(), NOTHING_LEFT, title);
    }
  });
}
