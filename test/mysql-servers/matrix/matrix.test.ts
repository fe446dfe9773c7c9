import test from 'ava';
import { SERVERS } from '../second-phase/world.ts';
import { CHANGES } from './changes.ts';
import { OTHERS } from './others.ts';
import { fateIn, prove, WAYS, type Outcome, type Way } from './prove.ts';
import { startStage, type Listener, type Stage } from './stage.ts';
import { TABLE_KINDS } from './tables.ts';

const errnoOf = (work: Promise<unknown>): Promise<number | undefined> =>
  work.then(
    () => undefined,
    (error: unknown) => (error as { errno: number }).errno,
  );

const LISTENERS: readonly Listener[] = ['undo', 'escalating', 'xa'];

/** Both ends of what does something; what is refused has one, and what is captured by each listener both in the first of them. */
function endsOf(fate: ReturnType<typeof fateIn>, listener: Listener, index: number): readonly Outcome[] {
  if (fate === 'refused' || fate === 'passes') return [index % 2 === 0 ? 'commit' : 'rollback'];
  const isNew = listener === 'undo' || (listener === 'escalating' && fate === 'prepared');
  return isNew ? ['rollback', 'commit'] : [index % 2 === 0 ? 'rollback' : 'commit'];
}

for (const [name, start] of SERVERS) {
  const isMariadb = name === 'MariaDB';
  let stage: Stage;
  test.before(async () => {
    stage = await startStage(start, isMariadb);
  });
  test.after.always(async () => stage?.[Symbol.asyncDispose]());

  test.serial(`${name}: what the server would not take either has the server's own error`, async (t) => {
    const gid = await stage.begin();
    const [client, twin] = [await stage.open('undo'), await stage.open('twin')];
    for (const each of [client, twin]) await each.query(`BEGIN /*atomesh_gid='${gid}'*/`);
    for (const sql of [
      'UPDATE nowhere SET qty = 3',
      "UPDATE stock SET nothing = 'it''s \\\\ there'",
      'UPDAET stock SET qty = 1',
      'INSERT INTO nowhere.stock VALUES (uuid(), 1)',
    ]) {
      const [own, other] = await Promise.all([client, twin].map((each) => errnoOf(each.query(sql))));
      t.is(own, other, sql);
      t.not(own, undefined, sql);
    }
    await client.query('UPDATE stock SET qty = 7 WHERE id = 1');
    await client.query('COMMIT');
    t.is(await stage.end(gid, 'rollback'), 'failed');
    for (const each of [client, twin]) each.destroy();
    t.deepEqual(await stage.dump('shop'), await stage.dump('plain'));
  });

  for (const { heading, kinds } of [...CHANGES, ...TABLE_KINDS, ...OTHERS]) {
    for (const listener of LISTENERS) {
      test.serial(`${name}, ${listener}: ${heading}: as the page says, undone and kept to the byte`, async (t) => {
        t.timeout(120_000);
        await stage.reset('numbered');
        for (const [index, kind] of kinds.entries()) {
          const fate = isMariadb ? kind.mariadb : kind.mysql;
          if (fate === '—') continue;
          for (const [turn, outcome] of endsOf(fateIn(fate, listener), listener, index).entries()) {
            const way: Way = kind.isTextOnly ? 'text' : (WAYS[(index + turn) % WAYS.length] ?? 'text');
            await prove(t, stage, { kind, listener, way, outcome });
          }
        }
      });
    }
  }
}
