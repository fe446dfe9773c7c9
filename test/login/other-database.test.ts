import test from 'ava';
import pg from 'pg';
import { sidecarOptions } from '../../proxy/options.ts';
import { foreignDatabase } from '../../proxy/postgres/relay/home-database.ts';
import type { StartupMessage } from '../../proxy/postgres/wire/startup.ts';
import { NOTHING_LEFT, startMesh } from '../sql-e2e/mesh.ts';

const SCHEMA =
  'CREATE TABLE item (id int PRIMARY KEY, qty int); INSERT INTO item VALUES (1, 10); CREATE TABLE bare (v int)';

/** Ways to name a gid ahead of a change: what is sent, the last of which is the change. */
const NAMINGS: Readonly<Record<string, (gid: string) => readonly string[]>> = {
  'a comment on BEGIN': (gid) => [`BEGIN /*atomesh_gid='${gid}'*/`, 'UPDATE item SET qty = 0'],
  'a comment on the change': (gid) => [`/*atomesh_gid='${gid}'*/ UPDATE item SET qty = 0`],
  'a comment on what would be prepared': (gid) => [`/*atomesh_gid='${gid}'*/ INSERT INTO bare VALUES (1)`],
  'SET LOCAL': (gid) => ['BEGIN', `SET LOCAL atomesh.gid = '${gid}'`, 'UPDATE item SET qty = 0'],
  'SET SESSION': (gid) => [`SET atomesh.gid = '${gid}'`],
  set_config: (gid) => ['BEGIN', `SELECT set_config('atomesh.gid', '${gid}', true)`, 'UPDATE item SET qty = 0'],
  'an operation': (gid) => [`/*atomesh_gid='${gid}/01/action'*/ UPDATE item SET qty = 0`],
};

for (const mode of ['undo', 'xa'] as const) {
  test.serial(`in another database than that of upstream every gid is refused, in mode ${mode}`, async (t) => {
    await using mesh = await startMesh({
      major: 18,
      schema: SCHEMA,
      tables: ['item', 'bare'],
      settings: { max_prepared_transactions: '10' },
      database: { mode, escalate: 'xa' },
    });
    const before = await mesh.dump(mesh.twin);
    const elsewhere = new pg.Client({ ...mesh.through, database: 'plain' });
    await elsewhere.connect();
    for (const [how, texts] of Object.entries(NAMINGS)) {
      for (const values of [undefined, []]) {
        const gid = await mesh.begin();
        const errors: pg.DatabaseError[] = [];
        for (const text of texts(gid)) {
          // With values it goes by the extended protocol.
          const query = { text, ...(values === undefined ? {} : { values, queryMode: 'extended' }) };
          await elsewhere.query(query).catch((error: pg.DatabaseError) => errors.push(error));
        }
        t.is(errors[0]?.code, '0A000', how);
        t.regex(
          errors[0]?.message ?? '',
          /a session in database plain cannot take part .* in database shop alone/,
          how,
        );
        t.regex(errors[0]?.hint ?? '', /Connect to database shop/, how);
        await elsewhere.query('ROLLBACK');
        await mesh.end(gid, 'rollback');
      }
      // The BEGIN was refused: what came behind it had no gid.
      if (how === 'a comment on BEGIN') await mesh.twin.query('UPDATE item SET qty = 10');
    }
    t.deepEqual(await mesh.dump(mesh.twin), before);
    const { rows } = await mesh.twin.query(
      'SELECT (SELECT count(*) FROM pg_prepared_xacts) + (SELECT count(*) FROM atomesh.undo_record) AS left',
    );
    t.deepEqual(rows, [{ left: '0' }]);
    await elsewhere.query('BEGIN');
    await elsewhere.query('UPDATE item SET qty = 11');
    await elsewhere.query('COMMIT');
    t.deepEqual((await mesh.twin.query('SELECT qty FROM item')).rows, [{ qty: 11 }], 'without a gid it is served');
    await elsewhere.end();
    t.is(await mesh.leftovers(), NOTHING_LEFT);
  });
}

const options = (upstream: string, auth: object = {}) =>
  sidecarOptions
    .parse({
      service: 'orders',
      coordinator: { url: 'http://127.0.0.1:1' },
      databases: [{ name: 'shop', listen: '127.0.0.1:0', upstream, credentials: { user: 'app' }, auth }],
    })
    .databases.find((each) => each.engine !== 'mysql');

test('a client that names no database gets that of its user, or that of a managed login', (t) => {
  const says = (parameters: Readonly<Record<string, string>>, upstream: string, auth?: object): string | undefined => {
    const database = options(upstream, auth);
    const message: StartupMessage = {
      kind: 'startup',
      protocol: 3 << 16,
      parameters: Object.entries(parameters).map(([name, value]) => [Buffer.from(name), Buffer.from(value)]),
    };
    return database && foreignDatabase(message, database)?.message.split(' ')[4];
  };
  const shop = 'postgres://localhost/shop';
  t.is(says({ user: 'app', database: 'shop' }, shop), undefined);
  t.is(says({ user: 'app', database: 'plain' }, shop), 'plain');
  t.is(says({ user: 'shop' }, shop), undefined);
  t.is(says({ user: 'app' }, shop), 'app');
  t.is(says({ user: 'app', database: '' }, shop), 'app');
  t.is(says({ user: 'app', database: 'postgres' }, 'postgres://localhost'), undefined);
  t.is(says({ user: 'app', database: 'shop' }, 'postgres://localhost'), 'shop');
  t.is(says({ user: 'app', database: 'größe' }, 'postgres://localhost/gr%C3%B6%C3%9Fe'), undefined);
  const managed = { mode: 'managed', role: { user: 'a' }, clients: [{ user: 'app', password: 'x' }] };
  t.is(says({ user: 'app' }, shop, managed), undefined);
  t.is(says({ user: 'app', database: 'plain' }, shop, managed), 'plain');
});
