import test from 'ava';
import { createConnection } from 'mysql2/promise';
import type mysql from 'mysql2/promise';
import { newGid } from '../../../src/platform/random.ts';
import { isTemporary, whichTable } from '../../../proxy/mysql/undo/temporary.ts';
import { RESOURCE, SERVERS, openWorld, type World } from '../second-phase/world.ts';
import { begin, createRunner, read, send, type Runner } from './runner.ts';
import { RACES, REFUSED, RETURNING, STATEMENTS, TABLES } from './statements.ts';

for (const [name, start] of SERVERS) {
  let world: World;
  const opened: mysql.Connection[] = [];
  test.before(`${name} is started`, async () => {
    world = await openWorld(start, TABLES);
    await world.server.run(`create database twin; use twin; ${TABLES}`);
  });
  test.after.always(`${name} is stopped`, async () => {
    for (const connection of opened) connection.destroy();
    await world?.[Symbol.asyncDispose]();
  });

  /** All rows of all tables, as the connection sees them. */
  const dump = async (connection: mysql.Connection, database: string): Promise<readonly string[]> => {
    const [results] = await connection.query({
      sql: NAMES.map((table) => `select * from ${database}.${table}`).join(';'),
      rowsAsArray: true,
    });
    return (results as unknown as unknown[][][]).flatMap((rows, index) =>
      rows.map((row) => `${NAMES[index]}: ${row.map(String).join(' ')}`),
    );
  };
  const runner = (connection: mysql.Connection, isolation: string, countsFound = true): Promise<Runner> =>
    createRunner(world, connection, {
      database: 'shop',
      countsFound,
      hasPhantoms: isolation === 'read committed',
    });
  const open = async (database: string, isolation: string, countsFound = true): Promise<mysql.Connection> => {
    const connection = await createConnection({
      ...world.login,
      multipleStatements: true,
      flags: countsFound ? [] : ['-FOUND_ROWS'],
    });
    opened.push(connection);
    await connection.query(
      `set session transaction isolation level ${isolation}; use ${database}; set timestamp = 1700000000.25, innodb_lock_wait_timeout = 5`,
    );
    return connection;
  };

  const sessions = [
    ['read committed', true],
    ['repeatable read', true],
    ['repeatable read', false],
  ] as const;
  for (const [isolation, countsFound] of sessions) {
    test.serial(
      `${name}, ${isolation}, ${countsFound ? 'found' : 'changed'} rows counted: a captured statement does and says what it does and says alone, and is taken back`,
      async (t) => {
        const start = await dump(world.admin, 'shop');
        const [own, twin] = [await open('shop', isolation, countsFound), await open('twin', isolation, countsFound)];
        const opened = await runner(own, isolation, countsFound);
        for (const { sql, values = [], rows } of STATEMENTS) {
          const gid = newGid();
          await begin(world, own, gid);
          const ran = await opened.run(gid, sql, values);
          const after = await dump(own, 'shop');
          await own.query('commit');
          await twin.query('begin');
          const alone = await send(
            twin,
            { sql: sql.replace('shop.', 'twin.'), parameters: values.map((_, index) => index) },
            values,
          );
          t.deepEqual(ran.heard, alone, sql);
          t.deepEqual(after, await dump(twin, 'twin'), sql);
          await twin.query('rollback');
          t.is(
            ran.records.reduce((sum, record) => sum + record.rows.length, 0),
            rows,
            sql,
          );
          if (rows > 0) t.like(await world.finisher.rollback(gid, RESOURCE), { result: 'success' }, sql);
          t.deepEqual(await dump(world.admin, 'shop'), start, sql);
          if (/^(?:insert|replace)/i.test(sql)) await world.server.run(REWIND);
        }
      },
    );
  }

  if (name === 'MariaDB') {
    test.serial(`${name}: a change with RETURNING is captured, and its rows are the answer`, async (t) => {
      const start = await dump(world.admin, 'shop');
      const [own, twin] = [await open('shop', 'repeatable read'), await open('twin', 'repeatable read')];
      const opened = await runner(own, 'repeatable read');
      for (const { sql, rows } of RETURNING) {
        const gid = newGid();
        await begin(world, own, gid);
        const ran = await opened.run(gid, sql);
        const after = await dump(own, 'shop');
        await own.query('commit; begin');
        await twin.query('begin');
        t.deepEqual(ran.heard, await send(twin, { sql, parameters: [] }, []), sql);
        t.is(ran.heard.kind, 'rows');
        t.deepEqual(after, await dump(twin, 'twin'), sql);
        await own.query('rollback');
        await twin.query('rollback');
        t.is(ran.records.flatMap((record) => record.rows).length, rows, sql);
        if (rows > 0) t.like(await world.finisher.rollback(gid, RESOURCE), { result: 'success' }, sql);
        t.deepEqual(await dump(world.admin, 'shop'), start, sql);
        if (sql.startsWith('insert')) await world.server.run(REWIND);
      }
    });
  }

  test.serial(`${name}: a temporary table is told from the table that it hides`, async (t) => {
    const [own, other] = [await open('shop', 'read committed'), await open('shop', 'read committed')];
    const asks = async (connection: mysql.Connection, table: string): Promise<boolean> =>
      isTemporary(await read(connection, whichTable({ database: 'shop', table }), []));
    t.false(await asks(own, 'seat'));
    t.false(await asks(own, 'odd name'));
    await own.query('create temporary table seat (n int primary key, who varchar(10), more int)');
    await own.query('create temporary table `odd name` (`key` int primary key)');
    await own.query("set sql_mode = 'ANSI_QUOTES', sql_quote_show_create = 0; begin");
    t.true(await asks(own, 'seat'));
    t.true(await asks(own, 'odd name'));
    t.false(await asks(own, 'people'));
    t.false(await asks(other, 'seat'));
    await own.query('drop temporary table seat');
    t.false(await asks(own, 'seat'));
  });

  test.serial(`${name}: what cannot be taken back is refused and changes nothing`, async (t) => {
    const before = await dump(world.admin, 'shop');
    const own = await open('shop', 'read committed');
    const opened = await runner(own, 'read committed');
    for (const { sql, values = [], because } of REFUSED) {
      const gid = newGid();
      await begin(world, own, gid);
      const { heard } = await opened.run(gid, sql, values);
      await own.query('commit');
      t.is(heard.kind, 'refused', sql);
      if (heard.kind === 'refused') t.regex(heard.message, because, sql);
      t.deepEqual(await dump(world.admin, 'shop'), before, sql);
    }
  });

  test.serial(`${name}: what others do between two steps is neither lost nor taken for the client's own`, async (t) => {
    const other = await open('shop', 'read committed');
    const own = await open('shop', 'read committed');
    for (const { sql, meanwhile, rows, undo } of RACES) {
      const before = await dump(world.admin, 'shop');
      const gid = newGid();
      let isDone = false;
      const opened = await createRunner(world, own, {
        database: 'shop',
        countsFound: true,
        hasPhantoms: true,
        async meanwhile() {
          if (!isDone) await other.query(meanwhile);
          isDone = true;
        },
      });
      await begin(world, own, gid);
      const { heard, records } = await opened.run(gid, sql);
      await own.query('commit');
      t.is(heard.kind, 'ok', sql);
      t.is(
        records.reduce((sum, record) => sum + record.rows.length, 0),
        rows,
        sql,
      );
      t.like(await world.finisher.rollback(gid, RESOURCE), { result: 'success' }, sql);
      await other.query(undo);
      t.deepEqual(await dump(world.admin, 'shop'), before, sql);
    }
  });

  test.serial(
    `${name}: images are of what is there, and not of what the snapshot of the local transaction shows`,
    async (t) => {
      const before = await dump(world.admin, 'shop');
      const [own, other] = [await open('shop', 'repeatable read'), await open('shop', 'read committed')];
      const gid = newGid();
      await begin(world, own, gid);
      await own.query('select * from seat');
      await other.query("update seat set who = 'later' where n = 1");
      const opened = await runner(own, 'repeatable read');
      const same = await opened.run(gid, 'update seat set who = who where n = 1');
      const changed = await opened.run(gid, "update seat set who = concat(who, '!') where n = 1");
      await own.query('commit');
      t.deepEqual(same.records, []);
      t.is(changed.records.length, 1);
      t.like(await world.finisher.rollback(gid, RESOURCE), { result: 'success' });
      await other.query("update seat set who = 'a' where n = 1 and who = 'later'");
      t.deepEqual(await dump(world.admin, 'shop'), before);
    },
  );
}

/** Every table, and a view, as SQL. */
const NAMES = [
  'person',
  'note',
  'pair',
  'moment',
  'seat',
  'uniq',
  '`odd name`',
  'parent',
  'child',
  'watched',
  'keyless',
  'isam',
  'secret',
];
/** The numbers that rows get go on where they were. */
const REWIND = ['shop', 'twin']
  .map((name) => `alter table ${name}.person auto_increment = 100; alter table ${name}.note auto_increment = 100`)
  .join(';');
