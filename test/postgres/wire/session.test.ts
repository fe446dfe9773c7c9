import test from 'ava';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import pg from 'pg';
import { startPostgres, type PostgresServer } from '../../../examples/support/postgres-server.ts';
import { encodeBind, extendBind } from '../../../proxy/postgres/wire/bind.ts';
import { SYNC } from '../../../proxy/postgres/wire/bodiless.ts';
import { FrameWriter, type ProtocolFault } from '../../../proxy/postgres/wire/body.ts';
import { HEADER_BYTES, createFrameReader } from '../../../proxy/postgres/wire/frames.ts';
import {
  decodeBackend,
  encodeFrontend,
  writeFrontend,
  type BackendMessage,
  type FrontendMessage,
} from '../../../proxy/postgres/wire/messages.ts';
import { createStartupReader, encodeStartupPacket } from '../../../proxy/postgres/wire/startup.ts';
import { decodeFaithfully, readAll } from './reading.ts';

let server: PostgresServer;

test.before(async () => {
  server = await startPostgres();
  await server.run('postgres', "create role guest login password 'secret'; create table t (a int, b text)");
  await server.authenticate(['host all guest 127.0.0.1/32 scram-sha-256']);
});

test.after.always(async () => {
  await server[Symbol.asyncDispose]();
});

interface Recording {
  readonly port: number;
  readonly frontend: Buffer[];
  readonly backend: Buffer[];
  close(): void;
}

/** A relay in front of the server that keeps what goes through it. */
async function recordingRelay(): Promise<Recording> {
  const frontend: Buffer[] = [];
  const backend: Buffer[] = [];
  const sockets: Socket[] = [];
  const relay = createServer((client) => {
    const upstream = connect(server.port, '127.0.0.1');
    sockets.push(client, upstream);
    client.on('data', (chunk) => frontend.push(chunk)).pipe(upstream);
    upstream.on('data', (chunk) => backend.push(chunk)).pipe(client);
    for (const socket of [client, upstream]) socket.on('error', () => socket.destroy());
  });
  relay.listen(0, '127.0.0.1');
  await once(relay, 'listening');
  return {
    port: (relay.address() as AddressInfo).port,
    frontend,
    backend,
    close() {
      relay.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** What a client does: every part of the protocol that `pg` can be made to speak. */
async function session(port: number): Promise<void> {
  const client = new pg.Client({ host: '127.0.0.1', port, user: 'guest', password: 'secret', database: 'postgres' });
  client.on('error', () => undefined);
  await client.connect();
  await client.query('begin; create temp table k (a int, b text, c bytea); commit');
  await client.query('insert into k values ($1, $2, $3), ($4, null, null)', [1, 'ä€', Buffer.alloc(300, 0xff), 2]);
  await client.query({ name: 'named', text: 'select * from k where a > $1 order by a', values: [0] });
  await client.query({ name: 'named', text: 'select * from k where a > $1 order by a', values: [1] });
  await client.query({ text: 'select generate_series(1, 10)', rows: 3 } as pg.QueryConfig);
  await client.query({ text: 'select 1::int4, now()', values: [], binary: true } as pg.QueryConfig);
  await client.query(`do $$ begin raise notice 'noted' using detail = 'd', hint = 'h'; end $$`);
  await client.query('listen news');
  await client.query("notify news, 'payload'");
  await client.query("set application_name = 'other'");
  await client.query('');
  await client.query('copy k to stdout');
  await client.query('copy k from stdin').catch(() => undefined);
  await client.query('select 1/$1::int', [0]).catch(() => undefined);
  await client.query('selekt 1').catch(() => undefined);
  await client.query("select repeat('x', 300000)");
  await client.end();
}

test('a real session decodes and encodes to the same bytes, in both directions', async (t) => {
  const relay = await recordingRelay();
  await session(relay.port).finally(() => relay.close());

  const startup = createStartupReader().push(Buffer.concat(relay.frontend));
  if (startup?.kind !== 'packet') return t.fail('no startup packet');
  t.deepEqual(encodeStartupPacket(startup.packet), startup.bytes);
  const kinds: Record<string, string[]> = {};
  for (const [side, chunks] of [
    ['frontend', [Buffer.from(startup.rest)]],
    ['backend', relay.backend],
  ] as const) {
    const bytes = Buffer.concat(chunks);
    const read = readAll(side, chunks, { holds: () => true });
    t.is(read.fault, undefined);
    t.deepEqual(Buffer.concat(read.frames), bytes);
    const messages = read.frames.map((frame) => decodeFaithfully(side, frame));
    t.deepEqual(
      messages.filter((message) => message.kind === 'fault'),
      [],
    );
    kinds[side] = [...new Set(messages.map((message) => message.kind))].sort();
  }
  t.deepEqual(kinds['frontend'], [
    'authentication-response',
    'bind',
    'copy-fail',
    'describe',
    'execute',
    'flush',
    'parse',
    'query',
    'sync',
    'terminate',
  ]);
  t.deepEqual(kinds['backend'], [
    'authentication',
    'backend-key-data',
    'bind-complete',
    'command-complete',
    'copy-data',
    'copy-done',
    'copy-in-response',
    'copy-out-response',
    'data-row',
    'empty-query-response',
    'error',
    'no-data',
    'notice',
    'notification',
    'parameter-status',
    'parse-complete',
    'portal-suspended',
    'ready-for-query',
    'row-description',
  ]);
});

/** Sends `bytes` on a connection of protocol 3.2 and gives what the server says until the `ready`th ReadyForQuery. */
async function converse(bytes: Buffer, ready: number): Promise<readonly (BackendMessage | ProtocolFault)[]> {
  const socket = connect(server.port, '127.0.0.1');
  const user = [Buffer.from('user'), Buffer.from('postgres')] as const;
  const start = encodeStartupPacket({ kind: 'startup', protocol: 196_610, parameters: [user] });
  socket.setTimeout(10_000, () => socket.destroy(new Error('the server says nothing')));
  socket.write(Buffer.concat([start, bytes]));
  const reader = createFrameReader({ direction: 'backend', holds: () => true, maxBytes: 1_000_000 });
  const messages: (BackendMessage | ProtocolFault)[] = [];
  let left = ready;
  for await (const chunk of socket) {
    reader.push(chunk as Buffer);
    while (reader.next()) {
      const message = decodeBackend(reader.type, reader.body());
      messages.push(message);
      if (message.kind === 'ready-for-query') left -= 1;
    }
    if (left === 0 || reader.fault !== undefined) break;
  }
  return messages;
}

test('a real server understands every request', async (t) => {
  const text = (value: string): Buffer => Buffer.from(value);
  const requests: readonly FrontendMessage[] = [
    { kind: 'parse', statement: text('s'), text: text('insert into t values ($1, $2)'), parameterTypes: [23] },
    { kind: 'describe', target: 'statement', name: text('s') },
    {
      kind: 'bind',
      portal: text('p'),
      statement: text('s'),
      formats: [1, 0],
      values: [Buffer.from([0, 0, 0, 7]), null],
      resultFormats: [],
    },
    { kind: 'describe', target: 'portal', name: text('p') },
    { kind: 'execute', portal: text('p'), maxRows: 0 },
    { kind: 'close', target: 'portal', name: text('p') },
    { kind: 'close', target: 'statement', name: text('s') },
    { kind: 'flush' },
    { kind: 'sync' },
    { kind: 'query', text: text('copy t from stdin') },
    { kind: 'copy-data', data: text('8\teight\n9\t\\N\n') },
    { kind: 'copy-done' },
    // 1598 is random(): no arguments, one float8.
    { kind: 'function-call', functionOid: 1598, formats: [], values: [], resultFormat: 1 },
  ];
  const out = new FrameWriter();
  for (const request of requests) writeFrontend(out, request);
  const answers = await converse(out.take(), 4);

  const afterStart = answers.slice(answers.findIndex((message) => message.kind === 'ready-for-query') + 1);
  t.deepEqual(
    afterStart.map((message) => message.kind),
    [
      'parse-complete',
      'parameter-description',
      'no-data',
      'bind-complete',
      'no-data',
      'command-complete',
      'close-complete',
      'close-complete',
      'ready-for-query',
      'copy-in-response',
      'command-complete',
      'ready-for-query',
      'function-call-response',
      'ready-for-query',
    ],
  );
  const key = answers.find((message) => message.kind === 'backend-key-data');
  t.is(key?.secret.length, 32, 'protocol 3.2 has long cancel keys');
  t.like(
    afterStart.find((message) => message.kind === 'parameter-description'),
    { parameterTypes: [23, 25] },
  );
});

test('a real server takes the values of an extended Bind in their formats', async (t) => {
  const own = [Buffer.from('gid'), null];
  const cases = [
    { formats: [], values: [Buffer.from('5'), Buffer.from('x')] },
    { formats: [1], values: [Buffer.from([0, 0, 0, 5]), Buffer.from('x')] },
    { formats: [1, 0], values: [Buffer.from([0, 0, 0, 5]), Buffer.from('x')] },
    { formats: [0], values: [Buffer.from('5'), Buffer.from('x')] },
  ];
  const unnamed = Buffer.alloc(0);
  const sql = "select concat_ws(',', $1::int, $2::text, $3::text, $4::text)";
  const pipeline = cases.flatMap(({ formats, values }) => {
    const bind = encodeBind({
      kind: 'bind',
      portal: unnamed,
      statement: Buffer.from('client'),
      formats,
      values,
      resultFormats: [],
    });
    const extended = extendBind(bind.subarray(HEADER_BYTES), { statement: Buffer.from('own'), values: own });
    return [extended as Buffer, encodeFrontend({ kind: 'execute', portal: unnamed, maxRows: 0 }), SYNC];
  });
  const parse = encodeFrontend({
    kind: 'parse',
    statement: Buffer.from('own'),
    text: Buffer.from(sql),
    parameterTypes: [],
  });
  const answers = await converse(Buffer.concat([parse, ...pipeline]), 1 + cases.length);
  t.deepEqual(
    answers.flatMap((message) => (message.kind === 'data-row' ? [message.values[0]?.toString()] : [])),
    cases.map(() => '5,x,gid'),
  );
});
