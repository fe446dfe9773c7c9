import test from 'ava';
import {
  createStartupReader,
  decodeStartupPacket,
  encodeStartupPacket,
  startupParameter,
  type StartupPacket,
} from '../../../proxy/postgres/wire/startup.ts';

const b = (text: string): Buffer => Buffer.from(text, 'latin1');

const TABLE: readonly (readonly [bytes: Buffer, packet: StartupPacket])[] = [
  [b('\0\0\0\x08\x04\xd2\x16\x2f'), { kind: 'ssl-request' }],
  [b('\0\0\0\x08\x04\xd2\x16\x30'), { kind: 'gssenc-request' }],
  [b('\0\0\0\x10\x04\xd2\x16\x2e\0\0\x01\0abcd'), { kind: 'cancel-request', processId: 256, secret: b('abcd') }],
  [
    b('\0\0\0\x14\0\x03\0\0user\0me\0a\0\0\0'),
    {
      kind: 'startup',
      protocol: 196_608,
      parameters: [
        [b('user'), b('me')],
        [b('a'), b('')],
      ],
    },
  ],
  [b('\0\0\0\x09\0\x03\0\x02\0'), { kind: 'startup', protocol: 196_610, parameters: [] }],
];

for (const [bytes, packet] of TABLE) {
  test(`${packet.kind} is ${JSON.stringify(bytes.toString('latin1'))}`, (t) => {
    t.deepEqual(decodeStartupPacket(bytes.subarray(4)), packet);
    t.deepEqual(encodeStartupPacket(packet), bytes);
  });
}

const FAULTS: readonly (readonly [rule: string, bytes: Buffer])[] = [
  ['a packet of length 0', b('\0\0\0\0')],
  ['a packet of length 7', b('\0\0\0\x07\0\x03\0')],
  ['a packet of 10,005 bytes', b('\0\0\x27\x15')],
  ['a packet of 2^31 bytes', b('\x80\0\0\0')],
  ['a packet of 2^32-1 bytes', b('\xff\xff\xff\xff')],
  ['a web request', b('GET / HTTP/1.1\r\n')],
  ['protocol 2.0', b('\0\0\0\x09\0\x02\0\0\0')],
  ['parameters without an end', b('\0\0\0\x10\0\x03\0\0user\0me\0')],
  ['parameters with bytes behind their end', b('\0\0\0\x0a\0\x03\0\0\0x')],
  ['a name without a value', b('\0\0\0\x0e\0\x03\0\0user\0\0')],
  ['a cancel key of 3 bytes', b('\0\0\0\x0f\x04\xd2\x16\x2e\0\0\x01\0abc')],
  ['a request for TLS with a body', b('\0\0\0\x09\x04\xd2\x16\x2f\0')],
  ['a request for TLS with more bytes behind it', b('\0\0\0\x08\x04\xd2\x16\x2fX')],
  ['a request for GSS with more bytes behind it', b('\0\0\0\x08\x04\xd2\x16\x30X')],
];

for (const [rule, bytes] of FAULTS) {
  test(`${rule} is a fault`, (t) => {
    t.like(createStartupReader().push(bytes), { kind: 'fault', code: '08P01' });
  });
}

test('a client may ask for GSS, then for TLS, then begin, on one connection', (t) => {
  const reader = createStartupReader();
  const [ssl, gss, , start] = TABLE.map(([bytes]) => bytes) as [Buffer, Buffer, Buffer, Buffer];
  for (const [bytes, kind] of [
    [gss, 'gssenc-request'],
    [ssl, 'ssl-request'],
    [start, 'startup'],
  ] as const) {
    t.is(reader.push(bytes.subarray(0, 5)), undefined);
    t.like(reader.push(bytes.subarray(5)), { kind: 'packet', packet: { kind } });
  }
});

test('what a client sent behind its StartupMessage is handed on', (t) => {
  const bytes = TABLE[3]?.[0] as Buffer;
  t.like(createStartupReader().push(Buffer.concat([bytes, b('more')])), { kind: 'packet', bytes, rest: b('more') });
});

test('a client that begins with TLS is recognised by its first byte', (t) => {
  t.deepEqual(createStartupReader().push(b('\x16\x03')), { kind: 'direct-tls', rest: b('\x16\x03') });
});

test('the last parameter of a name counts, as for the server', (t) => {
  const parameters = [
    [b('user'), b('a')],
    [b('user'), b('b')],
  ] as const;
  const message = { kind: 'startup', protocol: 196_608, parameters } as const;
  t.is(startupParameter(message, 'user'), 'b');
  t.is(startupParameter(message, 'database'), undefined);
});

test('a packet of the largest size is read', (t) => {
  const value = 'x'.repeat(10_000 - 4 - 'user\0'.length - 2);
  const packet = { kind: 'startup', protocol: 196_608, parameters: [[b('user'), b(value)]] } as const;
  const bytes = encodeStartupPacket(packet);
  t.is(bytes.length, 10_004);
  t.like(createStartupReader().push(bytes), { kind: 'packet' });
});
