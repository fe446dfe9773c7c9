/** What docs and comments say of InnoDB's locks on rows of atomesh.row_lock, and of the statements that take them. */
import test from 'ava';
import type mysql from 'mysql2/promise';
import { createRowLocks, insertClaimsSql, insertLocksSql, takeOverSql } from '../../../proxy/mysql/locks/row-locks.ts';
import type { RowLock } from '../../../proxy/mysql/undo/capture.ts';
import { lockPage } from '../../../proxy/branch/lock-view.ts';
import { createLockList } from '../../../proxy/mysql/locks/list.ts';
import { CodedError } from '../../../src/contract/errors.ts';
import type { LockPage } from '../../../src/contract/locks.ts';
import type { Gid, Instant } from '../../../src/contract/transaction.ts';
import { RESOURCE, SERVERS, eventually, openWorld, silent, type World } from '../second-phase/world.ts';

const [A, B, C] = ['gid-a' as Gid, 'gid-b' as Gid, 'gid-c' as Gid];
const branch = (gid: Gid): { gid: Gid; resource: string } => ({ gid, resource: RESOURCE });
const lock = (key: string, relation = '`shop`.`t`'): RowLock => ({ relation, key });

/** The number of the error that a statement ends with; undefined where it succeeds. */
async function errorOf(answer: Promise<unknown>): Promise<number | undefined> {
  return answer.then(
    () => undefined,
    (error: { errno?: number }) => error.errno ?? -1,
  );
}

async function changed(answer: Promise<unknown>): Promise<number> {
  const [result] = (await answer) as [mysql.ResultSetHeader];
  return result.affectedRows;
}

for (const [name, start] of SERVERS) {
  let world: World;
  let readers: ReturnType<typeof createRowLocks>;
  test.before(`${name} is started`, async () => {
    world = await openWorld(
      start,
      `create table t (id int primary key);
      create table \`odd-\`\`name\` (a int, b datetime, v varchar(9) collate utf8mb4_bin unique, primary key (a, b))`,
    );
    readers = createRowLocks(world.login, silent);
  });
  test.after.always(`${name} is stopped`, async () => {
    await readers?.close();
    await world?.[Symbol.asyncDispose]();
  });

  const clean = async (): Promise<void> => {
    await world.admin.query('delete from atomesh.row_lock; delete from atomesh.parent_claim');
  };

  test.serial(`${name}: names and keys are taken as they are under any settings of the session`, async (t) => {
    const locks = [lock('1'), lock("a'\\,b"), lock('ABCDEF', '`shop`.`tä"😀``\\`.`i`'), lock('#0f', '#0f')];
    const settings = [
      "set names latin1; set sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'",
      "set names gbk; set sql_mode = ''",
      "set collation_connection = 'utf8mb4_general_ci'; set sql_mode = 'PIPES_AS_CONCAT'",
    ];
    for (const each of settings) {
      const connection = await world.connect();
      await connection.query(each);
      await connection.query(insertLocksSql(locks, branch(A)));
      const found = await readers.holdersOf([...locks, lock('2'), lock('1', '`shop`.`T`')]);
      const expected = locks.map((one) => ({ ...one, holder: A, resource: RESOURCE }));
      const text = (one: RowLock): string => JSON.stringify(one, Object.keys(one).toSorted());
      t.deepEqual(found.map(text).toSorted(), expected.map(text).toSorted());
      t.is(await changed(connection.query(takeOverSql(locks, A, branch(B)))), locks.length);
      t.is(await changed(connection.query(takeOverSql(locks, A, branch(C)))), 0);
      await connection.query(insertClaimsSql(locks, branch(A)));
      await connection.query(insertClaimsSql(locks, branch(A)));
      await connection.query(insertClaimsSql(locks.slice(0, 1), branch(B)));
      t.is((await readers.claimantsOf(locks)).length, locks.length + 1);
      await clean();
    }
  });

  test.serial(
    `${name}: holders are read without waiting, those of long lists too, and only what is committed`,
    async (t) => {
      const connection = await world.connect();
      const many = Array.from({ length: 1_201 }, (_, n) => lock(String(n), n % 2 === 0 ? '`shop`.`t`' : '`shop`.`u`'));
      await connection.query('begin');
      await connection.query(insertLocksSql(many, branch(A)));
      t.deepEqual(await readers.holdersOf(many), []);
      await connection.query('commit');
      await connection.query('begin');
      await connection.query(takeOverSql(many, A, branch(B)));
      t.deepEqual(new Set((await readers.holdersOf(many)).map(({ holder }) => holder)), new Set([A]));
      t.is((await readers.holdersOf(many)).length, many.length);
      t.deepEqual(await readers.holdersOf([]), []);
      await connection.query('rollback');
      await clean();
    },
  );

  test.serial(`${name}: of two who take some of the same locks one waits, until the other has ended`, async (t) => {
    for (const isolation of ['read committed', 'repeatable read']) {
      const [one, two] = [await world.connect(isolation), await world.connect(isolation)];
      for (const end of ['commit', 'rollback']) {
        await one.query('begin');
        await two.query('begin');
        await one.query(insertLocksSql([lock('3'), lock('1')], branch(A)));
        const waiting = errorOf(two.query(insertLocksSql([lock('1'), lock('2'), lock('3')], branch(B))));
        await eventuallyWaits(world);
        await one.query(end);
        t.is(await waiting, end === 'commit' ? 1062 : undefined, `${isolation}, ${end}`);
        await two.query('rollback');
        await clean();
      }
    }
  });

  test.serial(
    `${name}: people see the locks page by page, with table, columns and values as far as they are known`,
    async (t) => {
      const list = createLockList(world.login, silent);
      t.teardown(() => list.close());
      const odd = '`shop`.`odd-``name`';
      const locks = [lock('7'), lock('2,2020-01-02 03:04:05', odd), lock('00E4', `${odd}.\`v\``), lock('#0f', odd)];
      const gone = [lock('1', '`shop`.`gone`'), lock('2', '#abc'), lock('3', `${odd}.\`gone\``)];
      await world.admin.query(insertLocksSql([...locks, ...gone], branch(A)));
      await world.admin.query(insertClaimsSql([lock('7'), lock('8')], branch(A)));
      await world.admin.query(insertClaimsSql([lock('8')], branch(B)));
      await world.admin.query(
        `insert into atomesh.undo_record (gid, resource, position, server, body, seal) values ('${A}', '${RESOURCE}', 1, 1, '', '')`,
      );
      const waiting = [{ gid: C, holder: A, row: lock('7'), since: 5 as Instant }];
      const database = { name: 'db', locks: list.read.bind(list), waiting: () => waiting };
      const all = await lockPage([database], '');
      const expected = [
        `#abc () = (2) ${A}`,
        `shop.gone () = (1) ${A}`,
        `shop.\`odd-\`\`name\` () = (3) ${A}`,
        `shop.\`odd-\`\`name\` (a,b) = (#0f) ${A}`,
        `shop.\`odd-\`\`name\` (a,b) = (2,2020-01-02 03:04:05) ${A}`,
        `shop.\`odd-\`\`name\` (v) = (00E4) ${A}`,
        // Who has the lock needs no claim.
        `shop.t (id) = (7) ${A}`,
        `shop.t (id) = (8) ${A} shared`,
        `shop.t (id) = (8) ${B} shared`,
      ];
      t.deepEqual(shown(all).toSorted(), expected.toSorted());
      t.is(all.next, undefined);
      const since = all.locks.find(({ gid }) => gid === A)?.since ?? 0;
      t.true(Math.abs(since - Date.now()) < 3_600_000);
      t.is(all.locks.find(({ gid }) => gid === B)?.since, undefined);
      t.deepEqual(
        all.locks.filter((each) => each.waiting.length > 0).map(({ values }) => values),
        [['7']],
      );
      const paged: string[] = [];
      let after = '';
      do {
        const page: LockPage = await lockPage([database], `limit=2${after}`);
        t.true(page.locks.length <= 2);
        paged.push(...shown(page));
        after = page.next === undefined ? '' : `&after=${page.next}`;
      } while (after !== '');
      t.deepEqual(paged, shown(all));
      t.deepEqual(shown(await lockPage([database], `gid=${B}`)), [`shop.t (id) = (8) ${B} shared`]);
      t.is((await world.finisher.commit(A, RESOURCE)).result, 'success');
      t.deepEqual(shown(await lockPage([database], '')), [`shop.t (id) = (8) ${B} shared`]);
      await clean();
    },
  );

  for (const isolation of ['read committed', 'repeatable read']) {
    test.serial(
      `${name}, ${isolation}: a duplicate key keeps the holder's row locked, behind a savepoint too`,
      async (t) => {
        const [one, other] = [await world.connect(isolation), await world.connect()];
        await other.query('set innodb_lock_wait_timeout = 1');
        const end = (): Promise<number | undefined> =>
          errorOf(other.query(`delete from atomesh.row_lock where gid = '${A}'`));
        await other.query(insertLocksSql([lock('1')], branch(A)));
        await one.query('begin');
        await one.query(insertLocksSql([lock('9')], branch(B)));
        await one.query('savepoint s');
        t.is(await errorOf(one.query(insertLocksSql([lock('1')], branch(B)))), 1062);
        await one.query('rollback to savepoint s');
        t.is(await end(), 1205);
        await one.query('rollback');
        // A savepoint that is older than all that was done in InnoDB gives everything back.
        await one.query('begin; savepoint s');
        t.is(await errorOf(one.query(insertLocksSql([lock('1')], branch(B)))), 1062);
        await one.query('rollback to savepoint s');
        t.is(await end(), undefined);
        await one.query('rollback');
        await clean();
      },
    );

    test.serial(
      `${name}, ${isolation}: who has met a duplicate key can take the row over, also past one that waits to delete it`,
      async (t) => {
        const [one, other] = [await world.connect(isolation), await world.connect()];
        await other.query(insertLocksSql([lock('1')], branch(A)));
        await one.query('begin');
        await one.query(insertLocksSql([lock('9')], branch(B)));
        t.is(await errorOf(one.query(insertLocksSql([lock('1')], branch(B)))), 1062);
        const deleting = errorOf(other.query(`delete from atomesh.row_lock where gid = '${A}'`));
        await eventuallyWaits(world);
        const taking = await errorOf(one.query(takeOverSql([lock('1')], A, branch(B))));
        // One of the two is told of a deadlock.
        t.true([undefined, 1213].includes(taking));
        await one.query(taking === undefined ? 'commit' : 'rollback');
        t.is(await deleting, taking === undefined ? 1213 : undefined);
        const held = await readers.holdersOf([lock('1')]);
        t.deepEqual(
          held.map(({ holder }) => holder),
          taking === undefined ? [B] : [],
        );
        await clean();
      },
    );

    test.serial(
      `${name}, ${isolation}: of two who take over one row, one has it and the other finds that it is gone`,
      async (t) => {
        const [one, two] = [await world.connect(isolation), await world.connect(isolation)];
        await one.query(insertLocksSql([lock('1')], branch(A)));
        await two.query('begin; select count(*) from atomesh.row_lock');
        await one.query(insertLocksSql([lock('2')], branch(A)));
        await one.query('begin');
        t.is(await changed(one.query(takeOverSql([lock('1')], A, branch(B)))), 1);
        const waiting = changed(two.query(takeOverSql([lock('1'), lock('2')], A, branch(C))));
        await eventuallyWaits(world);
        await one.query('commit');
        t.is(await waiting, 1, 'what is newer than the snapshot is taken all the same');
        await two.query('commit');
        const held = await readers.holdersOf([lock('1'), lock('2')]);
        t.deepEqual(
          new Map(held.map(({ key, holder }) => [key, holder])),
          new Map([
            ['1', B],
            ['2', C],
          ]),
        );
        await clean();
      },
    );
  }
}

/** What a person sees of a page of locks, a line each. */
function shown({ locks }: LockPage): readonly string[] {
  return locks.map(
    ({ table, columns, values, gid, shared }) =>
      `${table} (${columns.join()}) = (${values.join()}) ${gid}${shared ? ' shared' : ''}`,
  );
}

/** Waits until a local transaction waits for a row. Not by innodb_trx, which shows what it showed while it is asked again within 0.1 s. */
async function eventuallyWaits(world: World): Promise<void> {
  await eventually('somebody waits', async () => {
    const [text = ''] = await world.lines("show global status like 'Innodb_row_lock_current_waits'");
    return !text.endsWith(' 0');
  });
}

test('a server that is gone is said to whoever asks', async (t) => {
  const gone = createRowLocks({ host: '127.0.0.1', port: 1, user: 'nobody' }, silent);
  t.teardown(() => gone.close());
  const error = await t.throwsAsync(gone.holdersOf([lock('1')]), { instanceOf: CodedError });
  t.like(error, { code: 'UPSTREAM_UNREACHABLE', retry: 'safe' });
});
