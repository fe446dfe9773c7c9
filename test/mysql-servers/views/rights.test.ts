/** What the second phase has to be shown to know views, and what becomes of statements where it is not. */
import test from 'ava';
import { until } from '../../../examples/support/until.ts';
import { rowGrants } from '../../../proxy/mysql/setup/rights.ts';
import { createViewFacts, type ViewFactsSource } from '../../../proxy/mysql/facts/view-facts.ts';
import { startMariadb } from '../../../examples/support/mariadb-server.ts';
import { startMesh, type Mesh } from '../inside/mesh.ts';
import { SERVERS, openWorld, silent } from '../second-phase/world.ts';

/** The rights of the second phase as they were before it looked at views; in mode xa it needs none to rows. */
const SCHEMA = `
create table if not exists item (id int primary key, v int);
replace into item values (1, 10);
create or replace view seen as select id, v from item;
create user if not exists undoing@'%', preparing@'%';
grant select, insert, update, delete, execute on atomesh.* to undoing@'%', preparing@'%';
grant references on *.* to undoing@'%';
grant select, insert, update, delete, trigger on shop.* to undoing@'%';`;

async function failure(answer: Promise<unknown>): Promise<string | undefined> {
  return answer.then(
    () => undefined,
    (error: unknown) => (error as Error).message,
  );
}

for (const [name, start] of SERVERS) {
  const recover = name === 'MySQL' ? "grant xa_recover_admin on *.* to preparing@'%';" : '';
  const meshes: Mesh[] = [];
  const open = async (database: Readonly<Record<string, unknown>>): Promise<Mesh> => {
    const mesh = await startMesh({ start, schema: SCHEMA + recover, database });
    meshes.push(mesh);
    return mesh;
  };
  test.after.always(`${name} is stopped`, async () => {
    for (const mesh of meshes) await mesh[Symbol.asyncDispose]();
  });

  test(`${name}: a view whose text may not be seen is refused by its name alone, and a GRANT counts soon`, async (t) => {
    const mesh = await open({ escalate: 'off', credentials: { user: 'undoing' } });
    const gid = await mesh.begin();
    const client = await mesh.client();
    await client.query(`set @atomesh_gid = '${gid}'`);
    t.is(await failure(client.query('select * from item')), undefined);
    t.is(await failure(client.query('update item set v = 11 where id = 1')), undefined);
    t.regex(
      (await failure(client.query('select * from seen'))) ?? '',
      /reads shop\.seen, whose text the second phase may not see, inside a global transaction: .* GRANT SELECT, SHOW VIEW on the database/,
    );
    for (const grant of rowGrants("undoing@'%'", ['shop'])) await mesh.owner.query(grant);
    await until('the view is read', async () =>
      (await failure(client.query('select * from seen'))) === undefined ? true : undefined,
    );
    await mesh.end(gid, 'rollback');
    t.deepEqual(await mesh.lines('select v from shop.item'), ['10']);
  });

  test(`${name}: where it may not be seen what is a view, what reads is prepared, until a GRANT`, async (t) => {
    const mesh = await open({ mode: 'xa', escalate: 'xa', credentials: { user: 'preparing' } });
    const gid = await mesh.begin();
    const branches = async (): Promise<number> => (await mesh.coordinator.read(gid))?.branches.length ?? 0;
    const read = async (): Promise<void> => {
      const client = await mesh.client();
      await client.query(`begin /*atomesh_gid='${gid}'*/`);
      await client.query('select * from item');
      await client.query('commit');
      client.destroy();
    };
    await read();
    t.is(await branches(), 1);
    for (const grant of rowGrants("preparing@'%'", [])) await mesh.owner.query(grant);
    // Each local transaction that is prepared is a branch.
    await until('what reads is not prepared', async () => {
      const before = await branches();
      await read();
      return (await branches()) === before ? true : undefined;
    });
    t.is(await mesh.end(gid, 'commit'), 'succeed');
  });

  test(`${name}: names are equal as the server has it`, async (t) => {
    const options = name === 'MariaDB' ? [[], ['--lower-case-table-names=1']] : [[]];
    for (const own of options) {
      const folds = own.length > 0;
      const world = await openWorld(
        () => (name === 'MariaDB' ? startMariadb(own) : start()),
        'create table t (id int); set global log_bin_trust_function_creators = 1',
      );
      let facts: ViewFactsSource | undefined;
      try {
        facts = createViewFacts(world.login, silent);
        await world.admin.query('create function noted() returns int begin update t set id = 1; return 1; end');
        await world.admin.query('create view Grün as select noted() as x');
        const known = async (database: string, table: string): Promise<boolean> => {
          const names = [{ database, table }];
          for (;;) {
            const found = facts?.find(names);
            if (found !== 'unknown') return found !== 'none';
            await facts?.learn(names);
          }
        };
        t.true(await known('shop', 'Grün'));
        t.true(await known('', 'Grün'), 'in any database');
        t.is(await known('shop', 'GRÜN'), folds);
        t.is(await known('SHOP', 'grün'), folds);
        t.false(await known('shop', 't'));
        t.false(await known('nowhere', 'Grün'));
      } finally {
        await facts?.close();
        await world[Symbol.asyncDispose]();
      }
    }
  });
}
