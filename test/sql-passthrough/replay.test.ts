import test from 'ava';
import { startPostgres, type PostgresServer } from '../../examples/support/postgres-server.ts';
import { BACKEND, HEADER_BYTES } from '../../proxy/postgres/wire/frames.ts';
import { startListening } from './support/listening.ts';
import { RawClient, startupPacket, type Received } from './support/raw-client.ts';
import { encodeFrontend } from '../../proxy/postgres/wire/messages.ts';
import { COPY, EXTENDED, SCHEMA, SIMPLE, STARTUP, UNCUT, type Script } from './scripts.ts';
import { query } from './support/messages.ts';
import { startSlicer } from './support/slicer.ts';

const SCRIPTS: readonly Script[] = [...SIMPLE, ...EXTENDED, ...COPY, ...STARTUP];
const WHOLE = Number.POSITIVE_INFINITY;

/** Plays a script and gives everything that the server said, a line a frame. */
async function play(script: Script, port: number, database: string, chunkBytes: number): Promise<readonly string[]> {
  using client = new RawClient({ port, chunkBytes });
  const parameters = { user: 'postgres', database: script.database ?? database, ...script.parameters };
  await client.startUp(parameters, script.protocol);
  await client.ready();
  for (const { send, until } of script.steps) {
    if (client.isEnded) break;
    const from = client.frames.length;
    await client.send(send);
    if (typeof until === 'number') await client.ready(until, from);
    else if (typeof until === 'object') {
      await client.until(
        until.row,
        () => client.isEnded || client.frames.some(({ type, bytes }) => type === 'D' && bytes.includes(until.row)),
      );
      await client.ready(
        1,
        client.frames.findIndex(({ type, bytes }) => type === 'D' && bytes.includes(until.row)),
      );
    } else await client.until(until, () => client.isEnded || client.count(until, from) > 0);
  }
  // What was not waited for must not come either.
  client.socket.end();
  await client.closed();
  if (client.fault !== undefined) throw new Error(`${script.name}: ${client.fault}`);
  return client.frames.map((frame) => lineOf(frame, database));
}

/** A frame as text, without what differs from session to session. */
function lineOf({ type, bytes }: Received, database: string): string {
  const body = Buffer.from(bytes.subarray(HEADER_BYTES));
  if (bytes[0] === BACKEND.backendKeyData) return `K ${body.length} bytes`;
  if (bytes[0] === BACKEND.notification) body.fill(0, 0, 4);
  return `${type} ${body.toString('latin1').replaceAll(database, '<database>')}`;
}

async function copies(server: PostgresServer, names: readonly string[]): Promise<void> {
  await server.run('postgres', 'create database model');
  await server.run('model', SCHEMA);
  // Copies of one template agree even in the oids of their tables.
  for (const name of names) await server.run('postgres', `create database ${name} template model`);
}

for (const major of [18, 14] as const) {
  test(`PostgreSQL ${major}: what a client hears through the sidecar is what it hears from the server, however it is cut`, async (t) => {
    await using server = await startPostgres({ major });
    await copies(server, ['direct', 'whole', 'by_seven', 'by_one']);
    const direct = new Map<string, readonly string[]>();
    for (const script of [...SCRIPTS, ...UNCUT])
      direct.set(script.name, await play(script, server.port, 'direct', WHOLE));
    for (const [database, chunkBytes] of [
      ['whole', WHOLE],
      ['by_seven', 7],
      ['by_one', 1],
    ] as const) {
      await using slicer = await startSlicer(server.port, chunkBytes === WHOLE ? 65_536 : chunkBytes);
      await using sidecar = await startListening({ to: slicer.port });
      for (const script of [...SCRIPTS, ...(chunkBytes === WHOLE ? UNCUT : [])]) {
        const heard = await play(script, sidecar.port, database, chunkBytes);
        t.deepEqual(heard, direct.get(script.name), `"${script.name}" in ${database}`);
      }
      t.is(sidecar.counts['protocol-error'], undefined);
    }
  });
}

const LAST = 'the last row';
const NAMED = "select 'in step' /*atomesh_gid='some-gid'*/";

/** The steps from number `from` on in one go, a statement that names a gid right behind them, and others that do not behind that. */
function atOnce({ name, steps }: Script, from: number): Script {
  const said = steps
    .slice(from)
    .map(({ send }) => (Buffer.isBuffer(send) ? send : Buffer.concat(send.map(encodeFrontend))));
  const end = [query(NAMED), query("select 'and on'"), query(`select '${LAST}'`)].map(encodeFrontend);
  return { name, steps: [...steps.slice(0, from), { send: Buffer.concat([...said, ...end]), until: { row: LAST } }] };
}

test('a gid that is named behind anything at all, before it is answered, finds the session in step', async (t) => {
  await using server = await startPostgres();
  await copies(server, ['direct', 'whole', 'by_seven']);
  await using whole = await startListening({ to: server.port, database: 'whole' });
  await using bySeven = await startListening({ to: server.port, database: 'by_seven' });
  for (const script of [...SIMPLE, ...EXTENDED, ...COPY].filter(({ name }) => name !== 'messages out of place')) {
    for (let from = 0; from < script.steps.length; from += 1) {
      const one = atOnce(script, from);
      const expected = await play(one, server.port, 'direct', WHOLE);
      t.true(expected.some((line) => line.includes('in step')));
      t.deepEqual(await play(one, whole.port, 'whole', WHOLE), expected, `"${script.name}" from ${from}`);
      t.deepEqual(await play(one, bySeven.port, 'by_seven', 7), expected, `"${script.name}" from ${from} by seven`);
    }
  }
});

test('a gid may be named in the same write as the start-up packet', async (t) => {
  await using server = await startPostgres();
  await using sidecar = await startListening({ to: server.port });
  using client = new RawClient({ port: sidecar.port });
  // The catalogue is asked about the function first, and that answer is nobody's.
  const named = "select count(*) from pg_class where relname = 'x' /*atomesh_gid='some-gid'*/";
  const startup = startupPacket({ user: 'postgres', database: 'postgres' });
  await client.send(Buffer.concat([startup, encodeFrontend(query(named)), encodeFrontend(query('select 1'))]));
  await client.ready(3);
  t.regex(client.types, /^RS+KZTDCZTDCZ$/);
});

test('a notification reaches a session that says nothing, with the process id of its sender', async (t) => {
  await using server = await startPostgres();
  await using sidecar = await startListening({ to: server.port });
  using listener = await new RawClient({ port: sidecar.port }).logIn('postgres');
  using sender = await new RawClient({ port: sidecar.port }).logIn('postgres');
  await listener.query('listen here');
  await sender.query("notify here, 'hello'");
  await listener.until('the notification', () => listener.count('A') === 1);
  const body = listener.frames.at(-1)?.bytes.subarray(HEADER_BYTES);
  t.is(body?.readInt32BE(0), sender.processId);
  t.is(body?.toString('latin1', 4), 'here\0hello\0');
});
