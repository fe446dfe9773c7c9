/** What the account of the second phase may do and see, on real servers: as `atomesh db init` grants it, and with less. */
import test from 'ava';
import type { MariadbServer } from '../../../examples/support/mariadb-server.ts';
import type { TableFacts } from '../../../proxy/mysql/catalog.ts';
import { CATALOG_COLUMNS, catalogSql } from '../../../proxy/mysql/catalog-sql.ts';
import { readFacts } from '../../../proxy/mysql/catalog.ts';
import type { FactsSource } from '../../../proxy/mysql/inside/parts.ts';
import { openOwnPool } from '../../../proxy/mysql/own-pool.ts';
import { checkSchema, initialiseDatabase } from '../../../proxy/mysql/setup/init.ts';
import { openRestorableTables } from '../../../proxy/mysql/setup/restorable.ts';
import { openPreparedTransactions } from '../../../proxy/mysql/xa/prepared.ts';
import { folder, run } from '../../cli/support.ts';
import { RESOURCE, SERVERS } from './world.ts';

/** A source that knows nothing of its own. */
const anything: FactsSource = {
  known: () => 'none',
  learn: () => Promise.resolve(),
  moved: () => undefined,
};

for (const [name, start] of SERVERS) {
  let server: MariadbServer;
  test.before(`${name} is started`, async () => {
    server = await start();
    await server.run(`create database my_shop; create database other; create database my1shop;
      create table my_shop.book (id int primary key, a int); create table my1shop.book (id int primary key);
      create table other.copy (id int primary key, book int, foreign key (book) references my_shop.book (id) on delete cascade);
      create trigger my_shop.book_changes before update on my_shop.book for each row set new.a = 1;
      create user finisher@'127.0.0.1'; create user little@'127.0.0.1'; create user phase@'%'`);
    await initialiseDatabase(as('atomesh'));
  });
  test.after.always(`${name} is stopped`, () => server?.[Symbol.asyncDispose]());

  const as = (user: string) => ({ host: '127.0.0.1', port: server.port, user });

  async function factsAs(user: string): Promise<TableFacts | undefined> {
    const pool = openOwnPool({
      connection: as(user),
      purpose: 'test',
      max: 1,
      statementTimeoutMs: 5_000,
      lockTimeoutS: 1,
    });
    const rows = await pool.lists(catalogSql('my_shop', 'book')).finally(() => pool.end());
    return readFacts(rows.map((row) => row.slice(0, CATALOG_COLUMNS)));
  }

  test(`${name}: with what db init grants, the second phase sees all and may restore rows, of these databases and no other`, async (t) => {
    await initialiseDatabase(as('atomesh'), {
      finisher: 'finisher@127.0.0.1',
      rowsIn: ['my_shop'],
      endsPrepared: true,
    });
    await t.notThrowsAsync(checkSchema(as('finisher')));
    await (await openPreparedTransactions({ database: RESOURCE, connection: as('finisher') })).close();
    const facts = await factsAs('finisher');
    t.deepEqual(
      facts?.triggers.map((each) => each.name),
      ['book_changes'],
    );
    t.deepEqual(
      facts?.children.map((each) => `${each.database}.${each.table}`),
      ['other.copy'],
    );

    const tables = await openRestorableTables(as('finisher'));
    t.teardown(() => tables.close());
    for (const database of ['my_shop', '']) t.notThrows(() => tables.check(database));
    t.throws(() => tables.check('my1shop'), { code: 'BAD_REQUEST', message: /lacks SELECT, INSERT.* on my1shop/ });
    const guarded = tables.guard(anything);
    t.is(guarded.known('my_shop', 'book'), 'none');
    t.is(guarded.known('my1shop', 'book'), undefined, 'whatever is known of it');
    await t.notThrowsAsync(guarded.learn([{ database: 'my_shop', table: 'book' }]));
    const other = [
      { database: 'my_shop', table: 'book' },
      { database: 'other', table: 'copy' },
    ];
    await t.throwsAsync(guarded.learn(other), { code: 'BAD_REQUEST', message: /table other\.copy: it lacks SELECT/ });
    await server.run("grant select, insert, update, delete, trigger on other.copy to finisher@'127.0.0.1'");
    await t.notThrowsAsync(guarded.learn(other), 'what has been granted since counts at once');
    t.is(guarded.known('other', 'copy'), 'none');
  });

  test(`${name}: an account that is not shown all foreign keys or triggers can restore nothing`, async (t) => {
    await server.run("grant select, insert, update, delete on my_shop.* to little@'127.0.0.1'");
    t.deepEqual((await factsAs('little'))?.children, [], 'the server hides them and says nothing');
    const hidden = await openRestorableTables(as('little'));
    t.throws(() => hidden.check('my_shop'), { message: /may not see all foreign keys: it lacks REFERENCES on \*\.\*/ });
    t.is(hidden.guard(anything).known('my_shop', 'book'), undefined);
    await server.run("grant references on *.* to little@'127.0.0.1'");
    const blind = await openRestorableTables(as('little'));
    t.throws(() => blind.check('my_shop'), { message: /lacks TRIGGER on my_shop/ });
    await Promise.all([hidden.close(), blind.close()]);
    await t.throwsAsync(openRestorableTables({ ...as('little'), port: 1 }), { code: 'UPSTREAM_UNREACHABLE' });
  });

  test(`${name}: db init makes no account of a name that is none`, async (t) => {
    await t.throwsAsync(initialiseDatabase(as('atomesh'), { finisher: 'typo@127.0.0.1' }), { code: 'INTERNAL' });
    await t.throwsAsync(checkSchema(as('typo')), { code: 'UPSTREAM_UNREACHABLE' });
  });

  // The statements are those of the tests above, whatever the server is.
  if (name !== 'MariaDB') continue;
  test(`${name}: db init gives the second phase of the file what it needs, and says what it was not told`, async (t) => {
    const file = (upstream: string, more: string): string =>
      folder(t).file(
        's.yaml',
        `service: orders\ncoordinator: { url: http://127.0.0.1:1 }\ndatabases:\n  - { engine: mysql, name: d, listen: "127.0.0.1:1", upstream: "mysql://127.0.0.1:${server.port}${upstream}", ${more} }\n`,
      );
    const init = (config: string, ...words: readonly string[]): ReturnType<typeof run> =>
      run(t, ['db', 'init', '--config', config, '--admin-user', 'atomesh', '--grant-to', 'little@127.0.0.1', ...words]);
    const done = await init(file('/my_shop', 'credentials: { user: phase }'));
    t.deepEqual([done.code, done.err], [0, '']);
    const tables = await openRestorableTables(as('phase'));
    t.teardown(() => tables.close());
    t.notThrows(() => tables.check('my_shop'));
    await t.notThrowsAsync(checkSchema(as('phase')));

    const nowhere = await init(file('', 'credentials: { user: phase }'));
    t.deepEqual([nowhere.code, /Say --rows-in/.test(nowhere.err)], [0, true]);

    const elsewhere = file('/my_shop', 'credentials: { user: finisher }');
    const wrong = await init(elsewhere);
    t.is(wrong.code, 1);
    t.regex(wrong.err, /d: could not set up[^]*d: hint: .* say --finisher with user@host/);
    const printed = await init(elsewhere, '--finisher', 'finisher@127.0.0.1', '--rows-in', 'my_shop', 'b', '--print');
    t.regex(printed.out, /ON `b`\.\* TO 'finisher'/);
    t.regex(
      printed.out,
      /GRANT SELECT, INSERT, UPDATE, DELETE, TRIGGER, SHOW VIEW ON `my\\_shop`\.\* TO 'finisher'@'127\.0\.0\.1';/,
    );
    t.regex(printed.out, /XA_RECOVER_ADMIN/);
    const none = await init(file('/my_shop', 'mode: none'), '--print');
    t.notRegex(none.out, /TRIGGER|REFERENCES|XA_RECOVER/);
  });
}
