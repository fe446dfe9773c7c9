import test from 'ava';
import { SERVERS } from '../second-phase/world.ts';
import { CHANGES } from './changes.ts';
import { OTHERS } from './others.ts';
import { prove, WAYS } from './prove.ts';
import { startStage, type Listener, type Stage } from './stage.ts';
import { TABLE_KINDS } from './tables.ts';

const GROUPS = [...CHANGES, ...TABLE_KINDS, ...OTHERS];

for (const [name, start] of SERVERS) {
  const isMariadb = name === 'MariaDB';
  let stage: Stage;
  test.before(async () => {
    stage = await startStage(start, isMariadb);
  });
  test.after.always(async () => stage?.[Symbol.asyncDispose]());

  for (const { heading, kinds } of GROUPS) {
    const own = kinds.filter(({ mariadb, mysql }) => (isMariadb ? mariadb : mysql) !== '—');
    for (const listener of ['undo', 'escalating', 'xa'] satisfies Listener[]) {
      test.serial(
        `${name}, ${listener}: ${heading}: as docs/mysql-statements.md says, undone and kept to the byte`,
        async (t) => {
          t.timeout(120_000);
          for (const [index, kind] of own.entries()) {
            const way = kind.isTextOnly ? 'text' : (WAYS[index % WAYS.length] ?? 'text');
            await prove(t, stage, { kind, listener, way: 'text', outcome: 'rollback' });
            await prove(t, stage, { kind, listener, way, outcome: 'commit' });
          }
        },
      );
    }
  }
}
