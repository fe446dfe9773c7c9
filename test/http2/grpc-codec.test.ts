import { gzipSync, deflateSync } from 'node:zlib';
import test from 'ava';
import fc from 'fast-check';
import { CodedError } from '../../src/contract/errors.ts';
import { framed, grpcCodeOf, grpcMessage, httpStatusOfGrpc, isGrpc, onlyMessageOf } from '../../proxy/http2/grpc.ts';

test('any message comes out of its frame as it went in', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 5_000 }), async (bytes) => {
      const message = Buffer.from(bytes);
      const read = await onlyMessageOf(framed(message), undefined, 5_000);
      return Buffer.isBuffer(read) && read.equals(message);
    }),
  );
  t.pass();
});

test('what is not exactly one message is refused', async (t) => {
  const one = framed(Buffer.from('one'));
  for (const body of [Buffer.alloc(0), one.subarray(0, 4), one.subarray(0, 6), Buffer.concat([one, one])]) {
    const read = await onlyMessageOf(body, undefined, 100);
    t.true(read instanceof CodedError && read.code === 'BAD_REQUEST', body.toString('hex'));
  }
});

test('a compressed message is unpacked up to the limit, with the two codings that libraries have', async (t) => {
  const compressed = (packed: Buffer): Buffer => {
    const body = framed(packed);
    body.writeUInt8(1, 0);
    return body;
  };
  const text = Buffer.from('message '.repeat(1_000));
  t.deepEqual(await onlyMessageOf(compressed(gzipSync(text)), 'gzip', 8_000), text);
  t.deepEqual(await onlyMessageOf(compressed(deflateSync(text)), 'deflate', 8_000), text);
  const codeOf = async (body: Buffer, coding: string | undefined, most: number): Promise<string> => {
    const read = await onlyMessageOf(body, coding, most);
    return read instanceof CodedError ? read.code : 'read';
  };
  t.is(await codeOf(compressed(gzipSync(text)), 'gzip', 7_999), 'BODY_TOO_LARGE');
  t.is(await codeOf(compressed(text), 'gzip', 8_000), 'BAD_REQUEST');
  t.is(await codeOf(compressed(text), 'snappy', 8_000), 'BAD_REQUEST');
  t.is(await codeOf(compressed(text), undefined, 8_000), 'BAD_REQUEST');
});

test('any text survives as grpc-message, which is printable ASCII', (t) => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (text) => {
      const encoded = grpcMessage(text);
      return /^[ -~]*$/.test(encoded) && decodeURIComponent(encoded) === text;
    }),
  );
  t.pass();
});

test('statuses are what the coordinator takes them for, in both directions', (t) => {
  t.deepEqual(['0', '10', '9', '13', '14', '', undefined].map(httpStatusOfGrpc), [200, 409, 425, 500, 500, 500, 500]);
  t.deepEqual(
    [200, 202, 400, 401, 404, 409, 413, 425, 503, 504, 418].map(grpcCodeOf),
    [0, 0, 3, 16, 12, 10, 8, 9, 14, 4, 2],
  );
});

test('gRPC is known by its content type, and gRPC-Web is not gRPC', (t) => {
  const types = ['application/grpc', 'application/grpc+proto', 'application/grpc;x=1', 'APPLICATION/GRPC'];
  t.true(types.every(isGrpc));
  t.false(['application/grpc-web', 'application/grpcx', 'application/json', undefined].some(isGrpc));
});
