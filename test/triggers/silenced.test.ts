import test from 'ava';
import { NOTHING_LEFT } from '../sql-e2e/mesh.ts';
import { openWire } from '../sql-e2e/wire-client.ts';
import { commented, startTriggerMesh, tell, type Way } from './mesh.ts';

/** Code that takes the word from the triggers that they were told, and changes rows behind that. */
const SILENCING = `
  CREATE FUNCTION silence() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RESET ALL; UPDATE total SET n = 0 WHERE id = 9; RETURN 1; END $$;
  CREATE FUNCTION mute() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
    PERFORM set_config('atomesh.branch', '', true); UPDATE total SET n = 0 WHERE id = 9; RETURN 1; END $$;
  CREATE FUNCTION replicate() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
    SET LOCAL session_replication_role = replica; UPDATE total SET n = 0 WHERE id = 9; RETURN 1; END $$;
  CREATE FUNCTION silence_late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM silence(); RETURN NULL; END $$;
  CREATE CONSTRAINT TRIGGER silenced AFTER UPDATE ON seat DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.place = 77) EXECUTE FUNCTION silence_late();`;

/** What is refused as a whole, at its end at the latest. A single statement runs without a block. */
const LOST: readonly (readonly string[])[] = [
  ['SELECT silence()'],
  ['SELECT mute()'],
  ['SELECT replicate()'],
  ['UPDATE flip SET v = 5 WHERE silence() = id'],
  ['DO $$ BEGIN PERFORM silence(); END $$'],
  ['UPDATE seat SET place = 77 WHERE id = 1'],
  ['BEGIN', 'UPDATE flip SET v = 9 WHERE id = 2', 'SELECT silence()', 'UPDATE flip SET v = 9 WHERE id = 3', 'COMMIT'],
  ['BEGIN', 'SELECT silence()', 'SAVEPOINT s', 'ROLLBACK TO s', 'UPDATE flip SET v = 9 WHERE id = 3', 'COMMIT'],
  ['BEGIN', 'SELECT mute()', 'COMMIT'],
  ['BEGIN', 'UPDATE seat SET place = 77 WHERE id = 1', 'COMMIT AND CHAIN', 'ROLLBACK'],
];

/** What was silenced was taken back, or the word was. */
const KEPT: readonly (readonly string[])[] = [
  [
    'BEGIN',
    'UPDATE flip SET v = 9 WHERE id = 2',
    'SAVEPOINT s',
    'SELECT silence()',
    'ROLLBACK TO s',
    'UPDATE flip SET v = 8 WHERE id = 3',
    'COMMIT',
  ],
  ['BEGIN', 'SAVEPOINT s', 'UPDATE flip SET v = 9 WHERE id = 2', 'ROLLBACK TO s', 'COMMIT'],
  ['BEGIN', 'SAVEPOINT s', 'UPDATE flip SET v = 9', 'ROLLBACK TO s', 'UPDATE flip SET v = 8', 'RELEASE s', 'COMMIT'],
  [
    'BEGIN',
    'SET CONSTRAINTS ALL DEFERRED',
    'UPDATE seat SET place = 3 WHERE id = 4',
    'UPDATE seat SET place = 4 WHERE id = 3',
    'COMMIT',
  ],
];

for (const [major, way] of [
  [14, 'extended'],
  [18, 'simple'],
] as const satisfies readonly (readonly [number, Way])[]) {
  test(`changes behind a word that triggers have lost are not kept, by the ${way} protocol on PostgreSQL ${major}`, async (t) => {
    await using mesh = await startTriggerMesh(major);
    await mesh.owner.query(SILENCING);
    const before = await mesh.dump();
    const run = async (texts: readonly string[], gid: string): Promise<string> => {
      await using wire = await openWire(mesh.through);
      const lines: string[] = [];
      for (const [index, text] of texts.entries())
        lines.push(...(await tell(wire, way, index === 0 ? commented(text, gid) : text)));
      return lines.join('\n');
    };
    for (const texts of LOST) {
      const gid = await mesh.begin();
      const title = texts.join('; ');
      t.regex(
        await run(texts, gid),
        /error ERROR 25000 the setting atomesh\.branch.*was changed.*\n(?:.*\n)*ready I$/,
        title,
      );
      t.deepEqual(await mesh.dump(), before, title);
      await mesh.end(gid, 'rollback');
      t.is(await mesh.leftovers(), NOTHING_LEFT, title);
    }
    for (const texts of KEPT) {
      const gid = await mesh.begin();
      const title = texts.join('; ');
      t.notRegex(await run(texts, gid), /^error/m, title);
      await mesh.end(gid, 'rollback');
      t.deepEqual(await mesh.dump(), before, title);
      t.is(await mesh.leftovers(), NOTHING_LEFT, title);
    }
  });
}
