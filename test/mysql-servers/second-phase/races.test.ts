import test from 'ava';
import { newGid } from '../../../src/platform/random.ts';
import { RESOURCE, SERVERS, captured, enter, openWorld, type World } from './world.ts';

const SESSIONS = 8;
const ROUNDS = 4;

for (const [name, start] of SERVERS) {
  let world: World;

  test.before(`${name} is started`, async () => {
    const tables = Array.from(
      { length: SESSIONS },
      (_, n) => `create table t${n} (id int primary key, v int); insert into t${n} values (1, 0);`,
    );
    world = await openWorld(start, tables.join(''));
  });
  test.after.always(`${name} is stopped`, () => world?.[Symbol.asyncDispose]());

  for (const isolation of ['read committed', 'repeatable read']) {
    test.serial(
      `${name}, ${isolation}: global transactions that have nothing to do with each other never wait for each other's second phase`,
      async (t) => {
        await world.admin.query(Array.from({ length: SESSIONS }, (_, n) => `update t${n} set v = 0;`).join(''));
        const session = async (n: number): Promise<number> => {
          const connection = await world.connect(isolation);
          // A wait that lasts is a failure here, and not a pause.
          await connection.query('set innodb_lock_wait_timeout = 5');
          let kept = 0;
          for (let round = 0; round < ROUNDS; round += 1) {
            const gid = newGid();
            await world.finisher.open(gid, RESOURCE);
            await connection.query('begin');
            t.is(await enter(connection, gid), 'active');
            await captured(connection, gid, `t${n}`, `update t${n} set v = v + 1`);
            await captured(connection, gid, `t${n}`, `insert into t${n} values (${round + 2}, 0)`);
            await connection.query('commit');
            const isKept = (n + round) % 2 === 0;
            const ended = isKept
              ? await world.finisher.commit(gid, RESOURCE)
              : await world.finisher.rollback(gid, RESOURCE);
            t.is(ended.result, 'success', `${isKept ? 'commit' : 'rollback'}: ${ended.detail ?? ''}`);
            if (isKept) kept += 1;
          }
          connection.destroy();
          return kept;
        };
        const kept = await Promise.all(Array.from({ length: SESSIONS }, (_, n) => session(n)));
        for (const [n, count] of kept.entries())
          t.deepEqual(await world.lines(`select v from t${n} where id = 1`), [String(count)]);
        t.deepEqual(
          await world.lines('select gid from atomesh.undo_record union select gid from atomesh.row_lock'),
          [],
        );
        await world.admin.query(Array.from({ length: SESSIONS }, (_, n) => `delete from t${n} where id > 1;`).join(''));
      },
    );

    test.serial(
      `${name}, ${isolation}: local transactions of one gid share its branch, and either all come before its end or are kept out`,
      async (t) => {
        for (let round = 0; round < 4; round += 1) {
          const gid = newGid();
          await world.finisher.open(gid, RESOURCE);
          const local = async (n: number): Promise<'in' | 'out'> => {
            const connection = await world.connect(isolation);
            await connection.query('begin; select 1 from t0');
            const state = await enter(connection, gid);
            if (state === 'active') await captured(connection, gid, `t${n}`, `update t${n} set v = 100 + v`);
            await connection.query(state === 'active' ? 'commit' : 'rollback');
            connection.destroy();
            return state === 'active' ? 'in' : 'out';
          };
          const undone = async (): Promise<void> => {
            for (let result = 'ongoing'; result !== 'success';)
              ({ result } = await world.finisher.rollback(gid, RESOURCE));
          };
          const before = await Promise.all(
            Array.from({ length: 8 }, (_, n) => world.lines(`select v from t${n} where id = 1`)),
          );
          await Promise.all([...Array.from({ length: 8 }, (_, n) => local(n)), undone()]);
          await undone();
          const after = await Promise.all(
            Array.from({ length: 8 }, (_, n) => world.lines(`select v from t${n} where id = 1`)),
          );
          t.deepEqual(after, before);
          t.is(await local(0), 'out');
        }
      },
    );
  }
}
