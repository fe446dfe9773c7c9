import test from 'ava';
import { CAPABILITY } from '../../../proxy/mysql/wire/capabilities.ts';
import type { Command } from '../../../proxy/mysql/wire/commands.ts';
import type { BulkValue } from '../../../proxy/mysql/wire/execute.ts';
import { decodeError, decodeOk } from '../../../proxy/mysql/wire/outcome.ts';
import { decodePrepareOk } from '../../../proxy/mysql/wire/rows.ts';
import type { Parameter } from '../../../proxy/mysql/wire/query.ts';
import { TYPE } from '../../../proxy/mysql/wire/values.ts';
import { SERVERS } from '../second-phase/world.ts';
import { rawClient, type RawClient } from '../raw-client.ts';
import { startMesh, type Mesh } from './mesh.ts';

const SCHEMA = `
create table item (id int auto_increment primary key, name varchar(20) unique, body longblob);
insert into item (name, body) values ('one', 'x'), ('two', 'y');
create table other like item;
insert into other select * from item;`;

const integer = (value: number): Parameter => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(BigInt(value));
  return { name: Buffer.alloc(0), type: { code: TYPE.longlong, flags: 0 }, value: bytes };
};
const sentAhead: Parameter = { name: Buffer.alloc(0), type: { code: TYPE.blob, flags: 0 }, value: undefined };
const short = (text: string): Parameter => ({ ...sentAhead, value: Buffer.from(text) });

for (const [name, start] of SERVERS) {
  let mesh: Mesh;
  test.before(async () => {
    mesh = await startMesh({ start, schema: SCHEMA });
  });
  test.after.always(async () => mesh?.[Symbol.asyncDispose]());

  const items = (database = 'shop'): Promise<readonly string[]> =>
    mesh.lines(`select id, name, length(body), left(body, 10) from ${database}.item order by id`);
  const connect = async (port: number, database: string): Promise<RawClient> =>
    rawClient(port, mesh.server.user, CAPABILITY.mariadbBulk | CAPABILITY.mariadbBulkUnitResults, database);
  const query = (client: RawClient, sql: string): Command => ({
    kind: 'query',
    attributes: (client.capabilities & CAPABILITY.queryAttributes) === 0n ? undefined : [],
    text: Buffer.from(sql),
  });
  const prepare = async (client: RawClient, sql: string): Promise<number> => {
    const [answer = Buffer.alloc(0)] = await client.ask({ kind: 'stmt-prepare', text: Buffer.from(sql) });
    const prepared = decodePrepareOk(answer);
    if (prepared.kind !== 'prepare-ok') throw new Error(answer.toString('latin1'));
    return prepared.statement;
  };
  const execute = (statement: number, parameters: readonly Parameter[]): Command => ({
    kind: 'stmt-execute',
    statement,
    flags: 0,
    iterations: 1,
    parameters,
    sendsTypes: true,
  });
  const bulk = (statement: number, rows: readonly (readonly BulkValue[])[], flags = 128): Command => ({
    kind: 'stmt-bulk-execute',
    statement,
    flags,
    types: (rows[0] ?? []).map(() => ({ code: TYPE.varString, flags: 0 })),
    rows,
  });
  /** The end of an answer: counts, or what is said in an error. */
  const told = (client: RawClient, packet: Buffer | undefined): string => {
    if (packet === undefined) return 'nothing';
    if (packet[0] === 0xff) {
      const error = decodeError(packet, client.capabilities);
      return error.kind === 'error' ? `${error.errno} ${error.message.toString()}` : 'no error';
    }
    const ok = decodeOk(packet, client.capabilities);
    return ok.kind === 'ok'
      ? `${ok.affectedRows} rows, from ${ok.lastInsertId}, ${ok.warnings} warnings, status ${ok.status}`
      : 'no OK';
  };

  test.serial(`${name}: values that were sent ahead are captured, and gone behind the run`, async (t) => {
    const before = await items();
    const gid = await mesh.begin();
    const client = await connect(mesh.port, 'shop');
    await client.ask(query(client, `set @atomesh_gid = '${gid}'`));
    const statement = await prepare(client, 'update item set body = ? where id = ?');
    const data = Buffer.alloc(40_000, "it's\\ ");
    const [first] = await client.ask(
      { kind: 'stmt-send-long-data', statement, parameter: 0, data },
      { kind: 'stmt-send-long-data', statement, parameter: 0, data },
      execute(statement, [sentAhead, integer(1)]),
    );
    t.regex(told(client, first), /^1 rows/);
    t.is((await items())[0], "1 one 80000 it's\\ it's");
    const [second] = await client.ask(execute(statement, [short('short'), integer(1)]));
    t.regex(told(client, second), /^1 rows/);
    t.is((await items())[0], '1 one 5 short');
    await mesh.end(gid, 'rollback');
    t.deepEqual(await items(), before);
    client.close();
  });

  test.serial(`${name}: values that were sent ahead of a statement that is refused are gone as well`, async (t) => {
    const gid = await mesh.begin();
    const client = await connect(mesh.port, 'shop');
    await client.ask(query(client, `set @atomesh_gid = '${gid}'`));
    const statement = await prepare(client, 'insert into other (body, name) select ?, rand() from item');
    const [refused] = await client
      .ask(
        { kind: 'stmt-send-long-data', statement, parameter: 0, data: Buffer.from('long') },
        query(client, 'set foreign_key_checks = 1'),
        execute(statement, [sentAhead]),
      )
      .then((answers) => answers.slice(-1));
    t.regex(told(client, refused), /^(?:1235 |2 rows)/);
    await mesh.end(gid, 'rollback');
    await client.ask(query(client, 'set @atomesh_gid = null'));
    const plain = await prepare(client, 'update other set body = ? where id = ?');
    t.regex(told(client, (await client.ask(execute(plain, [short('z'), integer(2)])))[0]), /^1 rows/);
    client.close();
  });

  if (name !== 'MariaDB') continue;

  const texts = (...values: readonly string[]): BulkValue[] =>
    values.map((value) => (value === 'null' ? value : Buffer.from(value)));

  test.serial('MariaDB: rows of parameters are captured one by one, and answered like the server does', async (t) => {
    const before = await items();
    const gid = await mesh.begin();
    const [client, twin] = [await connect(mesh.port, 'shop'), await connect(mesh.server.port, 'plain')];
    await client.ask(query(client, `set @atomesh_gid = '${gid}'`));
    for (const sql of [
      'insert into item (name, body) values (?, ?)',
      'update item set body = ? where name = ?',
      'delete from item where name = ? or name = ?',
    ]) {
      const rows = sql.startsWith('update')
        ? [texts('1', 'a'), texts('null', 'b'), texts('3', 'nobody')]
        : [texts('a', 'A'), texts('b', 'B'), texts('c', 'null')];
      const answers = [];
      for (const each of [client, twin]) {
        const [answer] = await each.ask(bulk(await prepare(each, sql), rows));
        answers.push(told(each, answer));
      }
      t.is(answers[0], answers[1], sql);
      if (!sql.startsWith('delete')) t.deepEqual(await items(), await items('plain'), sql);
    }
    await mesh.end(gid, 'rollback');
    t.deepEqual(await items(), before);
    for (const each of [client, twin]) each.close();
  });

  test.serial(
    'MariaDB: where one of the rows fails none stays, with a local transaction of the client or without',
    async (t) => {
      const before = await items();
      for (const isOpen of [false, true]) {
        const gid = await mesh.begin();
        const client = await connect(mesh.port, 'shop');
        await client.ask(query(client, `set @atomesh_gid = '${gid}'`));
        if (isOpen) {
          await client.ask(query(client, 'begin'));
          await client.ask(query(client, "insert into item (name) values ('kept')"));
        }
        const statement = await prepare(client, 'insert into item (name, body) values (?, ?)');
        const [failed] = await client.ask(bulk(statement, [texts('p', 'P'), texts('one', 'again'), texts('q', 'Q')]));
        t.regex(told(client, failed), /^1062 /);
        if (isOpen) await client.ask(query(client, 'commit'));
        t.deepEqual(
          (await items()).slice(2).map((line) => line.split(' ')[1]),
          isOpen ? ['kept'] : [],
        );
        await mesh.end(gid, 'rollback');
        t.deepEqual(await items(), before);
        client.close();
      }
    },
  );

  test.serial(
    'MariaDB: a bulk statement that begins a local transaction which could be prepared is in it',
    async (t) => {
      await using prepared = await startMesh({ start, schema: SCHEMA, database: { escalate: 'xa' } });
      const names = (): Promise<readonly string[]> => prepared.lines('select name from item order by id');
      const client = await rawClient(prepared.port, prepared.server.user, CAPABILITY.mariadbBulk, 'shop');
      const gid = await prepared.begin();
      await client.ask(query(client, `set @atomesh_gid = '${gid}'`));
      await client.ask(query(client, 'set autocommit = 0'));
      const statement = await prepare(client, 'insert into item (name, body) values (?, ?)');
      const [failed] = await client.ask(bulk(statement, [texts('p', 'P'), texts('one', 'again')]));
      t.regex(told(client, failed), /^1062 /);
      await client.ask(query(client, 'rollback'));
      const [done] = await client.ask(bulk(statement, [texts('q', 'Q'), texts('r', 'R')]));
      t.regex(told(client, done), /^2 rows/);
      await client.ask(query(client, 'commit'));
      t.deepEqual(await names(), ['one', 'two', 'q', 'r']);
      t.is(await prepared.end(gid, 'rollback'), 'failed');
      t.deepEqual(await names(), ['one', 'two']);
      client.close();
    },
  );

  test.serial('MariaDB: bulk statements that ask for each result, or leave values out, are refused', async (t) => {
    const gid = await mesh.begin();
    const client = await connect(mesh.port, 'shop');
    await client.ask(query(client, `set @atomesh_gid = '${gid}'`));
    const statement = await prepare(client, 'insert into item (name, body) values (?, ?)');
    const [units] = await client.ask(bulk(statement, [texts('p', 'P')], 64 | 128));
    t.regex(told(client, units), /^1235 .*result of each row/);
    const [values] = await client.ask(bulk(statement, [[Buffer.from('p'), 'default']]));
    t.regex(told(client, values), /^1235 .*DEFAULT/);
    await mesh.end(gid, 'rollback');
    client.close();
  });
}
