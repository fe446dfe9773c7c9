import test from 'ava';
import { startMesh } from '../sql-e2e/mesh.ts';
import { commented } from '../sql-e2e/prove.ts';
import { openWire, say } from '../sql-e2e/wire-client.ts';
import { preparedNames } from './prove.ts';

/** The same name stands for a function that changes nothing, and for one that does. */
const SCHEMA = `
CREATE TABLE audit (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, t text);
CREATE SCHEMA a; CREATE SCHEMA b;
CREATE FUNCTION a.f(i int) RETURNS int LANGUAGE sql STABLE AS 'SELECT i';
CREATE FUNCTION b.f(i int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.audit (t) VALUES ('b.f'); RETURN i; END $$;
CREATE FUNCTION public.tenant(s text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
  PERFORM set_config('search_path', s || ', public', false);
END $$;
`;

/** Ways to move the search path from schema a to schema b that are not seen in a text. */
const MOVES = {
  'a function': "SELECT tenant('b')",
  'a block': "DO $$ BEGIN PERFORM set_config('search_path', 'b, public', false); END $$",
};

const WAYS = {
  escalated: { escalate: 'xa' },
  'mode xa': { mode: 'xa' },
} as const;

for (const major of [17, 18] as const) {
  for (const [way, database] of Object.entries(WAYS)) {
    test.serial(
      `names mean something else behind code that moves the search path: ${way}, PostgreSQL ${major}`,
      async (t) => {
        const settings = { max_prepared_transactions: '10' };
        await using mesh = await startMesh({ major, schema: SCHEMA, tables: ['audit'], database, settings });
        for (const [how, move] of Object.entries(MOVES)) {
          for (const shape of ['one by one', 'in a block', 'in one text', 'in a pipeline']) {
            const client = await mesh.client();
            const gid = await mesh.begin();
            await client.query('SET search_path = a, public');
            const call = commented('SELECT f(1)', gid);
            await client.query(call);
            switch (shape) {
              case 'one by one':
                for (const text of [commented(move, gid), call]) await client.query(text);
                break;
              case 'in a block':
                for (const text of [commented('BEGIN', gid), move, 'SELECT f(1)', 'COMMIT']) await client.query(text);
                break;
              case 'in one text':
                await client.query(commented(`${move}; SELECT f(1)`, gid));
                break;
              default: {
                await using wire = await openWire(mesh.through);
                await wire.ask(say.query('SET search_path = a, public'), say.query(call));
                await wire.ask(...say.run(commented(move, gid)), ...say.run(call), say.sync);
              }
            }
            t.true((await preparedNames(mesh)).length > 0, `${how} ${shape}`);
            await mesh.end(gid, 'rollback');
            t.deepEqual(await mesh.dump(), { audit: [] }, `${how} ${shape}`);
            await client.end();
          }
        }
      },
    );
  }
}
