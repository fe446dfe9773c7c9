import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import test from 'ava';
import { until } from '../../../examples/support/until.ts';
import { CAPABILITY, agreed, type Capabilities } from '../../../proxy/mysql/wire/capabilities.ts';
import { encodeCommand, type Command } from '../../../proxy/mysql/wire/commands.ts';
import { encodePackets } from '../../../proxy/mysql/wire/frames.ts';
import { decodeHandshake, encodeClientHello } from '../../../proxy/mysql/wire/handshake.ts';
import { TYPE } from '../../../proxy/mysql/wire/values.ts';
import { damaged } from '../../wire-fuzz/damaged.ts';
import { Random } from '../../simulation/random.ts';
import { startMesh, type Mesh } from '../inside/mesh.ts';
import { SERVERS } from '../second-phase/world.ts';

const CASES = 40;
const WORKERS = 4;
const ROWS = 40;
const CLOSE_MS_MAX = 20_000;
/** As long as this nothing has been answered when a visitor leaves. */
const QUIET_MS = 150;

const WANTED =
  CAPABILITY.protocol41 |
  CAPABILITY.secureConnection |
  CAPABILITY.pluginAuth |
  CAPABILITY.connectWithDb |
  CAPABILITY.connectAttributes |
  CAPABILITY.multiStatements |
  CAPABILITY.multiResults |
  CAPABILITY.deprecateEof;

const query = (text: string): Command => ({ kind: 'query', attributes: undefined, text: Buffer.from(text) });
const number = (value: number) => ({
  name: Buffer.alloc(0),
  type: { code: TYPE.long, flags: 0 },
  value: Buffer.from(Int32Array.of(value).buffer),
});

/** What a client says inside a global transaction, about a row of its own. Its first statement has the number 1. */
function said(row: number): readonly Command[] {
  return [
    query('begin'),
    query(`update account set amount = amount + 1 where id = ${row}`),
    { kind: 'stmt-prepare', text: Buffer.from('update account set amount = ? where id = ?') },
    {
      kind: 'stmt-execute',
      statement: 1,
      flags: 0,
      iterations: 1,
      parameters: [number(7), number(row)],
      sendsTypes: true,
    },
    query('savepoint a'),
    query(`delete from account where id = ${row}; select row_count()`),
    query('rollback to a'),
    query(`insert into account values (${row}, 5) on duplicate key update amount = 6`),
    { kind: 'stmt-close', statement: 1 },
    query('commit'),
    query(`update account set amount = 99 where id = ${row}`),
    { kind: 'init-db', schema: Buffer.from('plain') },
    query(`replace into account values (${row}, 8)`),
  ];
}

/** Logs in with the gid as an attribute of the connection: whatever it says is said inside. */
async function logIn(port: number, user: string, gid: string): Promise<{ socket: Socket; capabilities: Capabilities }> {
  const socket = connect({ host: '127.0.0.1', port, noDelay: true });
  socket.on('error', () => undefined);
  const [greeting] = (await once(socket, 'data')) as [Buffer];
  const handshake = decodeHandshake(greeting.subarray(4));
  if (handshake.kind !== 'handshake') throw new Error('the server says something else first');
  const capabilities = agreed(handshake.capabilities, WANTED);
  const hello = encodeClientHello({
    kind: 'handshake-response',
    capabilities,
    maxPacketBytes: 1 << 24,
    charset: 45,
    reserved: Buffer.alloc((capabilities & CAPABILITY.longPassword) === 0n ? 19 : 23),
    user: Buffer.from(user),
    authResponse: Buffer.alloc(0),
    database: Buffer.from('shop'),
    plugin: handshake.plugin ?? Buffer.alloc(0),
    attributes: [[Buffer.from('atomesh_gid'), Buffer.from(gid)]],
    zstdLevel: undefined,
    trailing: Buffer.alloc(0),
  });
  socket.write(encodePackets(hello, 1));
  const [answer] = (await once(socket, 'data')) as [Buffer];
  if (answer[4] !== 0) throw new Error(`the login failed: ${answer.subarray(4).toString('latin1')}`);
  return { socket, capabilities };
}

/** Says it all, leaves when nothing more is answered for `quietMs`, and gives up when the connection is still there much later. */
async function visit(mesh: Mesh, gid: string, quietMs: number, bytes: (from: Capabilities) => Buffer): Promise<number> {
  const { socket, capabilities } = await logIn(mesh.port, mesh.server.user, gid);
  let heard = 0;
  socket.on('data', (chunk: Buffer) => {
    heard += chunk.length;
  });
  socket.setTimeout(quietMs, () => socket.end());
  socket.write(bytes(capabilities));
  await once(socket, 'close', { signal: AbortSignal.timeout(CLOSE_MS_MAX) });
  return heard;
}

const written = (commands: readonly Command[], capabilities: Capabilities): Buffer =>
  Buffer.concat(commands.map((command) => encodePackets(encodeCommand(command, capabilities), 0)));

for (const [name, start] of SERVERS) {
  test(`${name}: damaged commands inside a global transaction leave nothing that its rollback does not take back`, async (t) => {
    const seed = Date.now() % 0x7fff_ffff;
    t.log(`seed ${seed}`);
    const rows = Array.from({ length: ROWS }, (_, row) => `(${row}, 0)`).join(', ');
    await using mesh = await startMesh({
      start,
      lockTimeoutMs: 500,
      schema: `create table account (id int primary key, amount int); insert into account values ${rows};`,
    });
    await mesh.server.run('set global innodb_lock_wait_timeout = 1');
    const gids: Awaited<ReturnType<Mesh['begin']>>[] = [await mesh.begin()];
    const [first = ''] = gids;
    const undamaged = await visit(mesh, first, 5_000, (from) => written([...said(0), { kind: 'quit' }], from));
    t.true(undamaged > 100);
    t.deepEqual(await mesh.lines('select amount from shop.account where id = 0'), ['99'], 'it works undamaged');
    let next = 0;
    const worker = async (): Promise<void> => {
      for (let index = next; index < CASES; index = next) {
        next += 1;
        const gid = await mesh.begin();
        gids.push(gid);
        const random = new Random(seed * 1_000_003 + index);
        const visitor = visit(mesh, gid, QUIET_MS, (from) => damaged(random, written(said(index % ROWS), from)));
        await visitor.catch((cause: unknown) => {
          throw new Error(`seed ${seed}, case ${index}: still open`, { cause });
        });
      }
    };
    await Promise.all(Array.from({ length: WORKERS }, worker));
    for (const gid of gids) t.is(await mesh.end(gid, 'rollback'), 'failed');
    await until('nothing is open', async () => {
      const [open] = await mesh.lines('select count(*) from information_schema.innodb_trx');
      return open === '0' ? open : undefined;
    });
    for (const database of ['shop', 'plain'])
      t.deepEqual(await mesh.lines(`select count(*), sum(amount) from ${database}.account`), [`${ROWS} 0`], database);
    t.is(await mesh.leftovers(), '0 records, 0 locks');
  });
}
