import test from 'ava';
import { commented, proveScript, startShopMesh, type Script } from '../sql-e2e/prove.ts';
import { say } from '../sql-e2e/wire-client.ts';

const DEFERRED = 'a deferred constraint that fails at the end';

/** Texts of several statements. */
const TEXTS: Readonly<Record<string, string>> = {
  'changes and queries':
    "UPDATE item SET qty = 70 WHERE id = 1; SELECT qty FROM item WHERE id = 1; DELETE FROM lonely RETURNING *; INSERT INTO lonely VALUES ('x', 2)",
  'the same row again and again':
    'UPDATE item SET qty = qty + 1 WHERE id = 2; UPDATE item SET qty = qty * 2 WHERE id = 2; DELETE FROM item WHERE id = 2',
  'a failing query behind a change': "UPDATE item SET qty = 0; SELECT 'ü', 1 / 0; DELETE FROM lonely",
  'a query with an error that has a position': "UPDATE item SET qty = 0; SELECT 'ü€', missing FROM item",
  'a failing change behind a change': "DELETE FROM lonely; INSERT INTO item (id, code) VALUES (1, 'again'); SELECT 1",
  'queries alone': 'SELECT 1; SELECT 2',
  [DEFERRED]: 'UPDATE slot SET place = 2 WHERE id = 1; SELECT 1',
  'with MERGE and WITH':
    'MERGE INTO lonely USING item ON item.code = lonely.lonely WHEN NOT MATCHED AND item.id = 1 THEN INSERT VALUES (item.code, 1); WITH d AS (DELETE FROM tree WHERE id = 4 RETURNING id) SELECT * FROM d',
};

test.serial('several statements in one query are seen, kept and undone as without a sidecar', async (t) => {
  await using mesh = await startShopMesh(18);
  for (const [name, text] of Object.entries(TEXTS)) {
    const alone: Script = async (wire, gid) => wire.ask(say.query(commented(text, gid)));
    // A server that commits by itself does so ahead of the last statement's tag; we learn of a failing commit behind it.
    if (name !== DEFERRED) await proveScript(t, mesh, `alone: ${name}`, alone);
    const inBlock: Script = async (wire, gid) => [
      ...(await wire.ask(say.query(commented('BEGIN', gid)))),
      ...(await wire.ask(say.query(text))),
      ...(await wire.ask(say.query('COMMIT'))),
    ];
    await proveScript(t, mesh, `in a block: ${name}`, inBlock);
  }
});
