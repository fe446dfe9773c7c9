/** Statements that fit into `max_allowed_packet` once and not several times: what goes to the server for them fits, or is refused. */
import test from 'ava';
import { startMesh, type Mesh } from '../inside/mesh.ts';
import { told } from '../probes/side-by-side.ts';
import { SERVERS } from '../second-phase/world.ts';

const SCHEMA = 'create table item (id int primary key, v longtext);';
const PACKET_BYTES = 1024 * 1024;

const rows = (count: number, bytes: number): string =>
  Array.from({ length: count }, (_, at) => `(${at + 1}, '${'a'.repeat(bytes)}')`).join(', ');
/** Rows and bytes of each. */
const SIZES = [
  [1, 300_000],
  [1, 340_000],
  [1, 550_000],
  [1, 1_000_000],
  [300, 1_000],
  [600, 1_000],
  [900, 1_000],
] as const;
const ASSIGNED = ["v = concat(values(v), 'x')", 'v = values(v)'];

for (const [name, start] of SERVERS) {
  let mesh: Mesh;
  test.before(async () => {
    mesh = await startMesh({ start, schema: SCHEMA });
    await mesh.owner.query(`set global max_allowed_packet = ${PACKET_BYTES}`);
  });
  test.after.always(async () => mesh?.[Symbol.asyncDispose]());

  for (const [count, bytes] of SIZES) {
    test.serial(
      `${name}: an upsert of ${count} rows of ${bytes} bytes is done or refused, in the same session`,
      async (t) => {
        for (const assigned of ASSIGNED) {
          await mesh.owner.query("delete from shop.item; insert into shop.item values (0, 'old')");
          const [client, gid] = [await mesh.client(), await mesh.begin()];
          const answer = await told(
            client,
            `insert into item values ${rows(count, bytes)} on duplicate key update ${assigned} /*atomesh_gid='${gid}'*/`,
          );
          t.log(answer.slice(0, 200));
          t.regex(answer, /^\d+ rows, 2$|^1153 |^1235 /);
          t.is(await told(client, 'select 1 as one'), '[{"one":1}]');
          t.is(await mesh.end(gid, 'rollback'), 'failed');
          t.deepEqual(await mesh.lines('select id, v from shop.item'), ['0 old']);
          t.is(await mesh.leftovers(), '0 records, 0 locks');
          client.destroy();
        }
      },
    );
  }

  test.serial(`${name}: an upsert that is longer with what it leaves out is looked at by itself`, async (t) => {
    await mesh.owner.query("delete from shop.item; insert into shop.item values (0, 'old')");
    const [client, gid] = [await mesh.client(), await mesh.begin()];
    const assigned = `v = concat(values(v), '${'b'.repeat(550_000)}')`;
    const text = `insert into item values ${rows(1, 400_000)} on duplicate key update ${assigned}`;
    t.is(await told(client, `${text} /*atomesh_gid='${gid}'*/`), '1 rows, 2');
    t.deepEqual(await mesh.lines('select id, length(v) from shop.item'), ['0 3', '1 400000']);
    t.is(await mesh.end(gid, 'rollback'), 'failed');
    t.deepEqual(await mesh.lines('select id, v from shop.item'), ['0 old']);
    t.is(await mesh.leftovers(), '0 records, 0 locks');
  });

  test.serial(`${name}: what is wrong with a long upsert the server says`, async (t) => {
    const text = `insert into item values ${rows(1, 550_000)} on duplicate key update w = concat(values(v), 'x')`;
    const [plain, client, gid] = [await mesh.plain(), await mesh.client(), await mesh.begin()];
    const alone = await told(plain, text);
    t.regex(alone, /^1054 /);
    t.is(await told(client, `${text} /*atomesh_gid='${gid}'*/`), alone);
    t.is(await mesh.end(gid, 'rollback'), 'failed');
  });
}
