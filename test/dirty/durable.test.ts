import test from 'ava';
import { beginWith, codeOf, setUp, stored, valueOf, answerAll } from '../runner/bench.ts';

for (const [who, owner] of [
  ['itself after a restart', 'me'],
  ['another coordinator', 'you'],
] as const) {
  test(`a decision about a dirty branch is saved before the branch is called, and carried out by ${who}`, async (t) => {
    const before = setUp();
    const gid = await beginWith(before, ['a']);
    valueOf(await before.runner.abort(gid, {}));
    await before.pass(0);
    before.calls[0]?.answer('dirty', 'row 7 was changed');
    await before.pass(0);
    const writes = before.writes.length;
    valueOf(await before.settle(before.runner.resolve(gid, { how: 'keep-current', by: 'ann' })));
    t.deepEqual(before.writes.slice(writes), ['aborting now']);
    t.like(before.calls, [{ operation: 'rollback', resolution: 'keep-current' }]);
    // It never answers: whoever comes next calls with the same decision.
    const after = setUp({ store: before.store, owner }, before.time);
    after.runner.start();
    await after.pass(owner === 'me' ? 0 : 75_000);
    t.like(after.calls, [{ operation: 'rollback', resolution: 'keep-current' }]);
    t.is(codeOf(await after.settle(after.runner.resolve(gid, { how: 'keep-current' }))), 'ok');
    t.is(codeOf(await after.settle(after.runner.resolve(gid, { how: 'apply-before' }))), 'BRANCH_NOT_DIRTY');
    await answerAll(after);
    t.like(await stored(after, gid), {
      status: 'failed',
      branches: [{ resolutions: [{ how: 'keep-current', by: 'ann', outcome: 'done' }] }],
    });
    t.is(codeOf(await after.settle(after.runner.resolve(gid, { how: 'keep-current' }))), 'ok');
  });
}
