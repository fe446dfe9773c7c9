import test, { type ExecutionContext } from 'ava';
import { startMesh, type Mesh } from '../../sql-e2e/mesh.ts';
import { commented } from '../../sql-e2e/prove.ts';
import { openWire, say, type WireClient } from '../../sql-e2e/wire-client.ts';

/** Along one path the function only reads and the names are tables; along the other it writes and a name is a view. */
const SCHEMA = `CREATE SCHEMA one; CREATE SCHEMA two; CREATE TABLE log (n int PRIMARY KEY);
CREATE FUNCTION one.f() RETURNS int LANGUAGE sql STABLE AS 'SELECT 1';
CREATE FUNCTION two.f() RETURNS int LANGUAGE sql AS 'INSERT INTO public.log VALUES (1) RETURNING n';
ALTER DATABASE shop SET search_path = one, public;`;

/** How a client comes to another path outside any global transaction, and sees nothing of the sidecar's. */
const MOVES: Readonly<Record<string, (wire: WireClient) => Promise<unknown>>> = {
  'SET as a simple query': (wire) => wire.ask(say.query('set Search_Path = two, public')),
  'SET by the extended protocol': (wire) => wire.ask(...say.run('SET search_path TO two, public'), say.sync),
  set_config: (wire) => wire.ask(say.query("SELECT set_config('search_path', 'two, public', false)")),
  'set_config of a name that only a parameter shows': (wire) =>
    wire.ask(...say.run('SELECT set_config($1, $2, false)', ['search_path', 'two, public']), say.sync),
  'a statement that was prepared before': (wire) => wire.ask(say.bind([], 'moves'), say.execute(), say.sync),
  'RESET ALL': (wire) => wire.ask(say.query('RESET ALL'), say.query('SET search_path = two, public')),
};

async function runs(t: ExecutionContext, mesh: Mesh, wire: WireClient, expected: RegExp, what: string): Promise<void> {
  const gid = await mesh.begin();
  const lines = await wire.ask(say.query(commented('SELECT f()', gid)));
  t.regex(lines.join(' / '), expected, what);
  await mesh.end(gid, 'rollback');
}

for (const major of [14, 18] as const) {
  test(`a path that was set outside any global transaction is followed, on PostgreSQL ${major}`, async (t) => {
    await using mesh = await startMesh({ major, schema: SCHEMA, tables: ['log'] });
    for (const [name, move] of Object.entries(MOVES)) {
      await using wire = await openWire(mesh.through);
      await wire.ask(say.parse('SET search_path = two, public', 'moves'), say.sync);
      await runs(t, mesh, wire, /row \["1"\]/, name);
      await move(wire);
      await runs(t, mesh, wire, /error ERROR 0A000 atomesh: a call of the function f/, name);
      await wire.ask(say.query('RESET search_path'));
      await runs(t, mesh, wire, /row \["1"\]/, name);
      // What a local transaction set, its end sets back.
      await wire.ask(say.query('BEGIN'), say.query('SET LOCAL search_path = two, public'), say.query('COMMIT'));
      await runs(t, mesh, wire, /row \["1"\]/, name);
    }
    t.deepEqual(await mesh.dump(), { log: [] });
  });
}
