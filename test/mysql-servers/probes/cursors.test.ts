/** Cursors on the server, opened and read on both sides of a gid; and prepared statements that run inside and outside of gids in turns. */
import test from 'ava';
import { CAPABILITY, type Capabilities } from '../../../proxy/mysql/wire/capabilities.ts';
import type { Command } from '../../../proxy/mysql/wire/commands.ts';
import type { Parameter } from '../../../proxy/mysql/wire/query.ts';
import { decodePrepareOk } from '../../../proxy/mysql/wire/rows.ts';
import { TYPE } from '../../../proxy/mysql/wire/values.ts';
import { Random } from '../../simulation/random.ts';
import type { Mesh } from '../inside/mesh.ts';
import { rawClient, type RawClient } from '../raw-client.ts';
import { onEachWay } from './each-way.ts';

const SCHEMA = `
create table item (id int primary key, v bigint, name varchar(20));
insert into item values (1, 0, 'a'), (2, 0, 'b'), (3, 0, 'c'), (4, 0, 'd');
create table log (id int auto_increment primary key, what int);
create trigger noted after insert on log for each row update item set v = v + 100 where id = 4;`;

const NONE = Buffer.alloc(0);
const query = (text: string): Command => ({ kind: 'query', attributes: undefined, text: Buffer.from(text) });
const whole = (value: bigint): Parameter => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(value);
  return { type: { code: TYPE.longlong, flags: 0 }, name: NONE, value: bytes };
};
const broken = (value: number): Parameter => {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(value);
  return { type: { code: TYPE.double, flags: 0 }, name: NONE, value: bytes };
};
const text = (value: string): Parameter => ({
  type: { code: TYPE.varString, flags: 0 },
  name: NONE,
  value: Buffer.from(value),
});

/** CURSOR_TYPE_READ_ONLY. */
const CURSOR = 1;

function run(
  statement: number,
  parameters: readonly Parameter[],
  options: { readonly isCursor?: boolean; readonly sendsTypes?: boolean } = {},
): Command {
  const has = parameters.length > 0;
  return {
    kind: 'stmt-execute',
    statement,
    flags: options.isCursor === true ? CURSOR : 0,
    iterations: 1,
    parameters: has ? parameters : undefined,
    sendsTypes: has && (options.sendsTypes ?? true),
  };
}

/** One answer, as far as its first packet tells: an error by its number, a row or an OK by its bytes without the flags of the session. */
function first(packet: Buffer | undefined): string {
  if (packet === undefined) return 'nothing';
  if (packet[0] === 0xff) return `error ${packet.readUInt16LE(1)}`;
  return packet[0] === 0 && packet.length < 12 ? `ok ${packet[1]}` : packet.toString('hex');
}

/** What is said with cursors. `G` and `N` name a global transaction and none for the session; `E` ends it by commit, `A` by rollback. */
type Word =
  | string
  | { readonly execute: string; readonly isCursor?: boolean; readonly values?: readonly Parameter[] }
  | { readonly fetch: string; readonly rows?: number }
  | { readonly reset: string };

const READ = 'select id, v, name from item where id > ? order by id';
const LOCKING = 'select id, v, name from item where id > ? order by id for update';
const open = (execute: string): Word => ({ execute, isCursor: true, values: [whole(0n)] });
const one = (fetch: string): Word => ({ fetch, rows: 1 });
const all = (fetch: string): Word => ({ fetch });

const TALKS: readonly (readonly Word[])[] = [
  [open(READ), one(READ), 'G', one(READ), 'update item set v = 1 where id = 3', one(READ), all(READ), 'N', all(READ)],
  ['G', open(READ), one(READ), 'update item set v = 1 where id = 3', one(READ), 'N', one(READ), all(READ)],
  ['G', open(READ), one(READ), 'E', one(READ), all(READ), 'N', 'update item set v = 0'],
  ['G', 'begin', 'update item set v = 2 where id = 2', open(READ), one(READ), 'commit', one(READ), 'N', all(READ)],
  ['G', 'begin', 'update item set v = 2 where id = 2', open(READ), one(READ), 'rollback', one(READ), all(READ)],
  [
    'begin',
    open(READ),
    one(READ),
    'commit',
    'G',
    'begin',
    'update item set v = 5 where id = 1',
    one(READ),
    'commit',
    all(READ),
  ],
  [
    'G',
    'begin',
    open(LOCKING),
    one(LOCKING),
    'update item set v = 2 where id = 2',
    one(LOCKING),
    'commit',
    all(LOCKING),
  ],
  [open(READ), one(READ), 'G', open(READ), one(READ), { reset: READ }, one(READ), open(READ), all(READ)],
  ['G', open(READ), 'selec', one(READ), 'insert into item (id) values (1)', one(READ), 'savepoint a', one(READ)],
  [
    'G',
    'begin',
    open(READ),
    'savepoint a',
    'delete from item where id = 1',
    one(READ),
    'rollback to a',
    all(READ),
    'commit',
  ],
  ['G', open('update item set v = v + ? where id = 1'), one('update item set v = v + ? where id = 1'), 'N'],
  [open(READ), 'G', { execute: READ, values: [whole(1n)] }, one(READ), 'N', one(READ)],
];

async function play(client: RawClient, talk: readonly Word[], gid: string | undefined): Promise<readonly string[]> {
  const numbers = new Map<string, number>();
  const numberOf = async (sql: string): Promise<number> => {
    const known = numbers.get(sql);
    if (known !== undefined) return known;
    const [packet] = await client.ask({ kind: 'stmt-prepare', text: Buffer.from(sql) });
    const prepared = packet && decodePrepareOk(packet);
    if (prepared?.kind !== 'prepare-ok') throw new Error(`${sql} is not prepared`);
    numbers.set(sql, prepared.statement);
    return prepared.statement;
  };
  const heard: string[] = [];
  for (const word of talk) {
    let command: Command;
    if (word === 'E') continue;
    if (typeof word === 'string') {
      const isNaming = word === 'G' || word === 'N';
      const named = word === 'G' && gid !== undefined ? `'${gid}'` : 'null';
      command = query(isNaming ? `set @atomesh_gid = ${named}` : word);
    } else if ('execute' in word) command = run(await numberOf(word.execute), word.values ?? [], word);
    else if ('fetch' in word)
      command = { kind: 'stmt-fetch', statement: await numberOf(word.fetch), rows: word.rows ?? 100 };
    else command = { kind: 'stmt-reset', statement: await numberOf(word.reset) };
    const [packet] = await client.ask(command);
    heard.push(`${typeof word === 'string' ? word : JSON.stringify(Object.keys(word)[0])}: ${first(packet)}`);
  }
  return heard;
}

onEachWay({ schema: SCHEMA, lockTimeoutMs: 500 }, ({ name, escalate, mesh }) => {
  const rows = (database: string): Promise<readonly string[]> => mesh().lines(`select * from ${database}.item`);

  const variants: readonly (readonly ['commit' | 'rollback', string, Capabilities])[] = [
    ['commit', 'by OK', CAPABILITY.deprecateEof],
    ['rollback', 'by EOF', 0n],
  ];
  for (const [outcome, ending, capabilities] of variants) {
    test.serial(
      `${name}, escalate ${escalate}: cursors whose rows end ${ending} answer as those of the server alone; ${outcome}`,
      async (t) => {
        for (const talk of TALKS) {
          const what = `${JSON.stringify(talk)}: ${outcome}`;
          for (const database of ['shop', 'plain']) {
            await mesh().owner.query(`delete from ${database}.item`);
            await mesh().owner.query(
              `insert into ${database}.item values (1, 0, 'a'), (2, 0, 'b'), (3, 0, 'c'), (4, 0, 'd')`,
            );
          }
          const before = await rows('shop');
          const gid = await mesh().begin();
          const alone = await rawClient(mesh().server.port, mesh().server.user, capabilities, 'plain');
          const client = await rawClient(mesh().port, mesh().server.user, capabilities, 'shop');
          const wanted = await play(alone, talk, undefined);
          const heard = await play(client, talk, gid);
          for (const each of [alone, client]) each.close();
          t.deepEqual(heard.map(unnamed), wanted.map(unnamed), what);
          t.is(await mesh().end(gid, outcome), outcome === 'commit' ? 'succeed' : 'failed', what);
          const changesOutside = talk.indexOf('N') >= 0 && talk.indexOf('N') < talk.length - 2;
          if (outcome === 'commit' || !changesOutside)
            t.deepEqual(await rows('shop'), outcome === 'commit' ? await rows('plain') : before, what);
        }
        t.is(await mesh().leftovers(), '0 records, 0 locks');
      },
    );
  }

  test.serial(
    `${name}, escalate ${escalate}: a prepared statement runs inside and outside of gids in turns`,
    async (t) => {
      const seed = Date.now() % 0x7fff_ffff;
      t.log(`seed ${seed}`);
      const random = new Random(seed);
      for (let round = 0; round < 8; round += 1) {
        for (const database of ['shop', 'plain'])
          await mesh().owner.query(`update ${database}.item set v = 0, name = ''`);
        const alone = await rawClient(mesh().server.port, mesh().server.user, CAPABILITY.deprecateEof, 'plain');
        const client = await rawClient(mesh().port, mesh().server.user, CAPABILITY.deprecateEof, 'shop');
        const sql = 'update item set v = v + ?, name = ? where id = ?';
        const [statement, other] = await Promise.all(
          [client, alone].map(async (each) => {
            const [packet] = await each.ask({ kind: 'stmt-prepare', text: Buffer.from(sql) });
            return packet?.readUInt32LE(1) ?? 0;
          }),
        );
        let gid: Awaited<ReturnType<Mesh['begin']>> | undefined;
        const said: string[] = [];
        // Rows 1 and 2 are changed inside, 3 and 4 outside.
        let isBroken = false;
        let isFirst = true;
        for (let step = 0; step < 12; step += 1) {
          if (random.between(0, 1) === 1) {
            if (gid !== undefined) await mesh().end(gid, 'commit');
            gid = gid === undefined ? await mesh().begin() : undefined;
            await client.ask(query(`set @atomesh_gid = ${gid === undefined ? 'null' : `'${gid}'`}`));
          }
          const isInside = gid !== undefined;
          const sendsTypes = isFirst || random.between(0, 2) === 0;
          if (sendsTypes) isBroken = random.between(0, 1) === 1;
          isFirst = false;
          const amount = random.between(1, 9);
          const id = BigInt(random.between(1, 2) + (isInside ? 0 : 2));
          const values = [isBroken ? broken(amount) : whole(BigInt(amount)), text(`n${step}`), whole(id)];
          const [wanted] = await alone.ask(run(other ?? 0, values, { sendsTypes }));
          let [heard] = await client.ask(run(statement ?? 0, values, { sendsTypes }));
          // Types that went by unseen are not known inside: the client hears so, and sends them.
          if (heard?.[0] === 0xff && isInside && !sendsTypes) {
            said.push('again');
            [heard] = await client.ask(run(statement ?? 0, values, { sendsTypes: true }));
          }
          said.push(
            `${isInside ? 'inside' : 'outside'} ${isBroken ? 'double' : 'integer'} ${amount} of ${id}, types ${sendsTypes}`,
          );
          t.is(first(heard), first(wanted), `seed ${seed}, round ${round}: ${said.join('; ')}`);
        }
        if (gid !== undefined) await mesh().end(gid, 'commit');
        t.deepEqual(await rows('shop'), await rows('plain'), `seed ${seed}, round ${round}: ${said.join('; ')}`);
        for (const each of [alone, client]) each.close();
      }
    },
  );
});

/** The name of a database is in what a server says of columns. */
function unnamed(line: string): string {
  return line
    .replaceAll(Buffer.from('\u0004shop').toString('hex'), '')
    .replaceAll(Buffer.from('\u0005plain').toString('hex'), '');
}
