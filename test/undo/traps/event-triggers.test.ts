import test from 'ava';
import { NOTHING_LEFT, startMesh } from '../../sql-e2e/mesh.ts';
import { openWire, say } from '../../sql-e2e/wire-client.ts';

const SCHEMA = `
  CREATE TABLE log (id int PRIMARY KEY, n int); INSERT INTO log VALUES (1, 0);
  CREATE FUNCTION notes() RETURNS int LANGUAGE plpgsql AS 'BEGIN UPDATE log SET n = n + 1; RETURN 1; END';
  CREATE FUNCTION audits() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM notes(); END';`;

const MAKES = 'CREATE TEMP TABLE scratch (a int DEFAULT notes())';

for (const major of [14, 18] as const) {
  test(`a temporary table is not made where event triggers may change rows, on PostgreSQL ${major}`, async (t) => {
    await using mesh = await startMesh({ major, schema: SCHEMA, tables: ['log'] });
    const before = await mesh.dump();
    const run = async (...texts: readonly string[]): Promise<string> => {
      const gid = await mesh.begin();
      const lines: string[] = [];
      const wire = await openWire(mesh.through);
      for (const [index, text] of texts.entries()) {
        const named = index === 0 ? `/*atomesh_gid='${gid}'*/ ${text}` : text;
        lines.push(...(await wire.ask(...(text.includes(';') ? [say.query(named)] : [...say.run(named), say.sync]))));
      }
      await wire[Symbol.asyncDispose]();
      await mesh.end(gid, 'rollback');
      t.deepEqual(await mesh.dump(), before, texts.join('; '));
      t.is(await mesh.leftovers(), NOTHING_LEFT);
      return lines.join('\n');
    };
    t.regex(await run(MAKES), /done CREATE TABLE/);
    t.regex(await run(`${MAKES}; CREATE TEMP TABLE other (a int)`), /done CREATE TABLE\ndone CREATE TABLE/);
    const made = (when: string): string => `CREATE EVENT TRIGGER audited ON ${when} EXECUTE FUNCTION audits()`;
    for (const when of ['ddl_command_end', 'ddl_command_start', "ddl_command_end WHEN TAG IN ('CREATE TABLE')"]) {
      await mesh.owner.query(made(when));
      t.regex(await run(MAKES), /error ERROR 0A000 atomesh: a call of the function audits/, when);
      t.regex(await run('BEGIN', 'UPDATE log SET n = 7', MAKES, 'COMMIT'), /error ERROR 0A000/, when);
      await mesh.owner.query('DROP EVENT TRIGGER audited');
    }
    for (const when of ["ddl_command_end WHEN TAG IN ('DROP TABLE')", 'sql_drop']) {
      await mesh.owner.query(made(when));
      t.regex(await run(MAKES), /done CREATE TABLE/, when);
      await mesh.owner.query('DROP EVENT TRIGGER audited');
    }
    await mesh.owner.query(`${made('ddl_command_end')}; ALTER EVENT TRIGGER audited DISABLE`);
    t.regex(await run(MAKES), /done CREATE TABLE/, 'disabled');
  });
}
