import { connect as connectHttp2 } from 'node:http2';
import { once } from 'node:events';
import { createConnection } from 'node:net';
import { gzipSync } from 'node:zlib';
import { status } from '@grpc/grpc-js';
import test from 'ava';
import fc from 'fast-check';
import type { DtmReply } from '../../src/dtm/service.ts';
import { NOTHING_KNOWN, RecordingService, serve } from './served.ts';

function passed(ms: number): Promise<string> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms, 'nothing yet');
  });
}

/** Sends bytes as the body of a call, whatever they are, and gives the status that comes back. */
function post(
  address: string,
  path: string,
  body: Buffer,
  headers: Readonly<Record<string, string>> = {},
): Promise<number> {
  return new Promise((resolve, reject) => {
    const session = connectHttp2(`http://${address}`);
    session.on('error', reject);
    const stream = session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...headers,
    });
    let found: unknown;
    const look = (fields: Readonly<Record<string, unknown>>): void => {
      found = fields['grpc-status'] ?? found;
    };
    stream.on('response', look);
    stream.on('trailers', look);
    stream.on('error', () => undefined);
    stream.on('close', () => {
      session.destroy();
      resolve(Number(found));
    });
    stream.resume();
    stream.end(body);
  });
}

function frame(message: Buffer, isCompressed = false): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(isCompressed ? 1 : 0);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

const SUBMIT = '/dtmgimp.Dtm/Submit';

test('what is wrong with a request gets the status that says so, and the server goes on', async (t) => {
  const dtm = new RecordingService();
  await using server = await serve({ dtm, runner: NOTHING_KNOWN });
  const large = Buffer.alloc(5 * 1024 * 1024);
  const cases: readonly (readonly [what: string, code: status, answer: Promise<number>])[] = [
    ['no protobuf', status.INTERNAL, post(server.address, SUBMIT, frame(Buffer.from([0xff, 0xff, 0xff])))],
    ['a text cut off', status.INTERNAL, post(server.address, SUBMIT, frame(Buffer.from([0x0a, 0x7f, 0x61])))],
    ['an unknown method', status.UNIMPLEMENTED, post(server.address, '/dtmgimp.Dtm/Nothing', frame(Buffer.alloc(0)))],
    ['an unknown service', status.UNIMPLEMENTED, post(server.address, '/x.Y/Z', frame(Buffer.alloc(0)))],
    ['more than 4 MiB', status.RESOURCE_EXHAUSTED, post(server.address, SUBMIT, frame(large))],
    [
      'more than 4 MiB once unpacked',
      status.RESOURCE_EXHAUSTED,
      post(server.address, SUBMIT, frame(gzipSync(large), true), { 'grpc-encoding': 'gzip' }),
    ],
    [
      'a packing that nobody knows',
      status.UNIMPLEMENTED,
      post(server.address, SUBMIT, frame(Buffer.from('x'), true), { 'grpc-encoding': 'br' }),
    ],
    [
      'broken packing',
      status.INTERNAL,
      post(server.address, SUBMIT, frame(Buffer.from('x'), true), { 'grpc-encoding': 'gzip' }),
    ],
  ];
  for (const [what, code, answer] of cases) t.is(await answer, code, what);
  t.is(dtm.asked.length, 0);
  t.is((await server.ask('Submit', {})).code, status.OK);
});

test('steps that cannot be read are INVALID_ARGUMENT', async (t) => {
  const dtm = new RecordingService();
  await using server = await serve({ dtm, runner: NOTHING_KNOWN });
  for (const text of ['x', '{}', '1', '[1]', '[null]', '[{"action":1}]', '[{"compensate":{}}]']) {
    const { code, details } = await server.ask('Submit', { Steps: text });
    t.is(code, status.INVALID_ARGUMENT, text);
    t.regex(details, /Steps: expected a JSON array/);
  }
  t.is(dtm.asked.length, 0);
});

test('no bytes whatever in a message end the server or become anything but an answer', async (t) => {
  await using server = await serve({ dtm: new RecordingService(), runner: NOTHING_KNOWN });
  const session = connectHttp2(`http://${server.address}`);
  const send = (path: string, body: Buffer): Promise<number> =>
    new Promise((resolve) => {
      const head = { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' };
      const stream = session.request(head);
      let found: unknown;
      stream.on('response', (fields) => (found = fields['grpc-status'] ?? found));
      stream.on('trailers', (fields) => (found = fields['grpc-status'] ?? found));
      stream.on('error', () => undefined);
      stream.on('close', () => resolve(Number(found)));
      stream.resume();
      stream.end(body);
    });
  const expected: readonly number[] = [status.OK, status.INTERNAL, status.INVALID_ARGUMENT, status.NOT_FOUND];
  const paths = fc.constantFrom(SUBMIT, '/dtmgimp.Dtm/RegisterBranch', '/atomesh.v1.Coordinator/Query');
  await fc.assert(
    fc.asyncProperty(paths, fc.uint8Array({ maxLength: 200 }), async (path, bytes) => {
      const code = await send(path, frame(Buffer.from(bytes)));
      return expected.includes(code);
    }),
    { numRuns: 200 },
  );
  session.destroy();
  t.is((await server.ask('Submit', {})).code, status.OK);
});

test('a request that does not come is given up, whether nothing of it came or half, and the server goes on', async (t) => {
  await using server = await serve({ dtm: new RecordingService(), runner: NOTHING_KNOWN }, undefined, {
    requestMs: 100,
  });
  const session = connectHttp2(`http://${server.address}`);
  const start = (path: string, begin?: Buffer): Promise<number> =>
    new Promise((resolve) => {
      const head = { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' };
      const stream = session.request(head);
      const look = (fields: Readonly<Record<string, unknown>>): void => {
        if (fields['grpc-status'] !== undefined) resolve(Number(fields['grpc-status']));
      };
      stream.on('response', look);
      stream.on('trailers', look);
      stream.on('error', () => undefined);
      stream.resume();
      if (begin !== undefined) stream.write(begin);
    });
  const reflection = '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo';
  const late = await Promise.all([
    start(SUBMIT),
    start(SUBMIT, Buffer.from([0, 0, 0, 0])),
    start(SUBMIT, frame(Buffer.alloc(0))),
    start(reflection),
  ]);
  t.deepEqual(late, [4, 4, 4, 4]);
  session.destroy();
  t.is((await server.ask('Submit', {})).code, status.OK);
});

test('an answer may take longer than its request', async (t) => {
  const dtm = new RecordingService();
  const asked = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<DtmReply>();
  dtm.reply = () => {
    asked.resolve();
    return answer.promise;
  };
  await using server = await serve({ dtm, runner: NOTHING_KNOWN }, undefined, { requestMs: 50 });
  const submitted = server.ask('Submit', { Gid: 'g' });
  await asked.promise;
  t.is(await Promise.race([submitted.then(({ code }) => code), passed(200)]), 'nothing yet');
  answer.resolve({ kind: 'success', value: undefined });
  t.is((await submitted).code, status.OK);
});

test('connections beyond the cap are closed, and those that are open go on', async (t) => {
  await using server = await serve({ dtm: new RecordingService(), runner: NOTHING_KNOWN }, undefined, {
    connectionsMax: 2,
  });
  t.is((await server.ask('Submit', {})).code, status.OK);
  const second = createConnection(server.port, '127.0.0.1');
  await once(second, 'connect');
  const third = createConnection(server.port, '127.0.0.1');
  third.on('error', () => undefined);
  third.resume();
  await once(third, 'close');
  t.false(second.destroyed);
  t.is((await server.ask('Submit', {})).code, status.OK);
  second.destroy();
});

test('what is no HTTP/2 at all, or stops in the middle, leaves the server as it was', async (t) => {
  await using server = await serve({ dtm: new RecordingService(), runner: NOTHING_KNOWN });
  for (const text of [
    'GET / HTTP/1.1\r\nhost: x\r\n\r\n',
    '\u0016\u0003\u0001\u0002\u0000',
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nxx',
  ]) {
    const socket = createConnection(server.port, '127.0.0.1');
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    socket.write(text);
    await new Promise((resolve) => {
      socket.once('data', resolve);
      socket.once('close', resolve);
      setImmediate(resolve);
    });
    socket.destroy();
  }
  t.is((await server.ask('Submit', {})).code, status.OK);
});
