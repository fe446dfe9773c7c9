import test from 'ava';
import pg from 'pg';
import { startMesh, type Mesh } from '../../sql-e2e/mesh.ts';
import { openWire, say } from '../../sql-e2e/wire-client.ts';

const SCHEMA = `
  CREATE TABLE item (id int PRIMARY KEY, qty int, note text); INSERT INTO item VALUES (1, 1, 'n');
  CREATE ROLE writer LOGIN; GRANT INSERT, UPDATE (qty), SELECT (id) ON item TO writer;
  CREATE ROLE outsider LOGIN; GRANT ALL ON item TO outsider;`;

/** PG source: src/include/catalog/pg_type.dat. */
const INT4 = 23;

interface Said {
  readonly code?: string;
  readonly message?: string;
  readonly hint?: string;
}

/** What the role hears of a statement inside a global transaction, by the protocol that its parameters ask for. */
async function heard(mesh: Mesh, user: string, sql: string, values?: readonly unknown[]): Promise<Said> {
  const gid = await mesh.begin();
  const client = new pg.Client({ ...mesh.through, user });
  await client.connect();
  try {
    const text = `/*atomesh_gid='${gid}'*/ ${sql}`;
    await (values === undefined ? client.query(text) : client.query(text, [...values]));
    return {};
  } catch (error) {
    return error as Said;
  } finally {
    await client.end();
    await mesh.end(gid, 'rollback');
  }
}

test('a role that may change rows and not read them hears which right a captured change needs', async (t) => {
  await using mesh = await startMesh({ major: 18, schema: SCHEMA, tables: ['item'] });
  const direct = new pg.Client({ ...mesh.direct, user: 'writer' });
  await direct.connect();
  const statements = [
    ["INSERT INTO item VALUES (2, 2, 'm')", "INSERT INTO item VALUES ($1::int, 2, 'm')"],
    ['UPDATE item SET qty = 5 WHERE id = 1', 'UPDATE item SET qty = 5 WHERE id = $1::int'],
  ] as const;
  for (const [simple, extended] of statements) {
    await t.notThrowsAsync(direct.query(`BEGIN; ${simple}; ROLLBACK`), simple);
    for (const said of [await heard(mesh, 'writer', simple), await heard(mesh, 'writer', extended, [1])]) {
      t.like(said, { code: '42501', message: 'permission denied for table item' });
      t.regex(said.hint ?? '', /needs SELECT on all its columns/);
    }
  }
  await direct.end();
  await mesh.owner.query('REVOKE ALL ON SCHEMA atomesh FROM PUBLIC');
  for (const values of [undefined, []]) {
    const said = await heard(mesh, 'outsider', 'DELETE FROM item', values);
    t.like(said, { code: '42501', message: 'permission denied for schema atomesh' });
    t.regex(said.hint ?? '', /atomesh db init.*--grant-to/);
  }
});

for (const escalate of ['off', 'xa'] as const) {
  test(`a statement without room for the parameters of its capture is refused by name, or prepared: ${escalate}`, async (t) => {
    await using mesh = await startMesh({ major: 18, schema: SCHEMA, tables: ['item'], database: { escalate } });
    const before = await mesh.dump();
    await using wire = await openWire(mesh.through);
    for (const count of [65_532, 65_533, 65_535]) {
      const gid = await mesh.begin();
      const text = `/*atomesh_gid='${gid}'*/ UPDATE item SET qty = 4 WHERE id = $1 AND $${count} = 0`;
      const types = Array.from({ length: count }, () => INT4);
      const values = types.map((_, index) => (index === 0 ? 1 : 0));
      const lines = await wire.ask(say.parse(text, '', types), say.bind(values), say.execute(), say.sync);
      const said = lines.slice(2).join('\n');
      if (count > 65_532 && escalate === 'off')
        t.regex(
          said,
          new RegExp(`^error ERROR 0A000 atomesh: a statement with ${count} parameters, to which capturing it adds 3`),
        );
      else t.is(said, 'done UPDATE 1\nready I');
      await mesh.end(gid, 'rollback');
      t.deepEqual(await mesh.dump(), before);
    }
  });
}
