/** A dirty branch from the command line: shown, decided about, recorded, and over; with a real coordinator, sidecar and database. */
import test, { type ExecutionContext } from 'ava';
import type { Gid } from '../../src/contract/transaction.ts';
import { run, type Ended } from '../cli/support.ts';
import { startMesh, NOTHING_LEFT, type Mesh } from '../sql-e2e/mesh.ts';
import { commented } from '../sql-e2e/prove.ts';

let mesh: Mesh;
test.before(async () => {
  mesh = await startMesh({
    major: 18,
    schema: 'CREATE TABLE item (id int PRIMARY KEY, qty int, note text);',
    tables: ['item'],
  });
});
test.after.always(() => mesh[Symbol.asyncDispose]());
test.beforeEach(async () => {
  await mesh.owner.query(`TRUNCATE item; INSERT INTO item VALUES (1, 10, 'one'), (2, 20, NULL)`);
});

function tx(t: ExecutionContext, ...words: readonly string[]): Promise<Ended> {
  return run(t, ['tx', ...words, '--url', `http://127.0.0.1:${mesh.line.port}`]);
}

/** A global transaction with a dirty branch. */
async function dirty(): Promise<Gid> {
  const gid = await mesh.begin();
  const client = await mesh.client();
  await client.query(commented('UPDATE item SET qty = qty + 1', gid));
  await mesh.owner.query(`UPDATE item SET note = 'mine' WHERE id = 2`);
  await mesh.coordinator.abort(gid, {});
  const view = await mesh.over(gid);
  if (!view.needsAttention) throw new Error(`${gid} is not dirty: ${JSON.stringify(view)}`);
  return gid;
}

const RESOLUTIONS = { 'apply-before': ['1|10|one', '2|20|'], 'keep-current': ['1|11|one', '2|21|mine'] } as const;

for (const [how, rows] of Object.entries(RESOLUTIONS)) {
  test.serial(`tx show says what is in the way, tx resolve --${how} ends it, and both are on record`, async (t) => {
    const gid = await dirty();
    const shown = await tx(t, 'show', gid);
    t.regex(shown.out, /branch 01 is dirty: the row was changed by somebody else \(public\.item\)/);
    t.regex(shown.out, /qty +"20" +"21" +"21" +changed by this transaction\n/);
    t.regex(shown.out, /note +NULL +NULL +"mine" +differs from what it left\n/);
    const resolved = await tx(t, 'resolve', gid, '--branch', '01', `--${how}`, '--by', 'ann', '--reason', 'agreed');
    t.is(resolved.code, 0, resolved.err);
    t.regex(resolved.out, new RegExp(`status: +failed[^]* ${how} by ann: done \\(agreed\\)`));
    const { rows: found } = await mesh.owner.query<{ row: string }>(
      `SELECT concat_ws('|', id, qty, coalesce(note, '')) AS row FROM item ORDER BY id`,
    );
    t.deepEqual(
      found.map(({ row }) => row),
      [...rows],
    );
    t.is(await mesh.leftovers(), NOTHING_LEFT);
    const again = await tx(t, 'resolve', gid, '--all', `--${how}`, '--json');
    t.like(JSON.parse(again.out), {
      status: 'failed',
      branches: [{ status: 'succeed', resolutions: [{ by: 'ann' }] }],
    });
    const otherwise = how === 'apply-before' ? '--keep-current' : '--apply-before';
    const refused = await tx(t, 'resolve', gid, '--branch', '01', otherwise);
    t.is(refused.code, 1);
    t.regex(refused.err, /branch 01 of transaction .* \(failed\) is not dirty/);
  });
}

test.serial(
  'tx resolve --retry and tx retry ask again, and are on record: dirty as long as the row is, and over once it is put right',
  async (t) => {
    const gid = await dirty();
    const still = await tx(t, 'resolve', gid, '--all', '--retry');
    t.regex(still.out, /needs attention[^]* retry by .*: refused/);
    const whole = await tx(t, 'retry', gid, '--by', 'ann', '--reason', 'once more');
    t.is(whole.code, 0, whole.err);
    t.true((await mesh.over(gid)).needsAttention);
    t.regex((await tx(t, 'show', gid)).out, /retry by .*: refused\n.* retry by ann: refused \(once more\)\n/);
    await mesh.owner.query('UPDATE item SET note = NULL WHERE id = 2');
    const over = await tx(t, 'resolve', gid, '--all', '--retry', '--json');
    t.like(JSON.parse(over.out), { status: 'failed', needsAttention: false });
    t.deepEqual(await mesh.dump(), { item: ['(1,10,one)', '(2,20,)'] });
  },
);

test.serial('what contradicts itself or names nothing is refused before anything is decided', async (t) => {
  const gid = await dirty();
  for (const words of [
    ['--branch', '01'],
    ['--apply-before'],
    ['--all', '--branch', '01', '--retry'],
    ['--all', '--retry', '--keep-current'],
    ['--branch', 'x', '--retry'],
  ]) {
    t.is((await tx(t, 'resolve', gid, ...words)).code, 64, words.join(' '));
  }
  t.regex((await tx(t, 'resolve', gid, '--branch', '09', '--retry')).err, /has no branch 09/);
  t.regex((await tx(t, 'resolve', 'no-such-gid', '--all', '--retry')).err, /no-such-gid/);
  await mesh.coordinator.resolve(gid, { how: 'keep-current' });
  t.is((await mesh.over(gid)).status, 'failed');
});
