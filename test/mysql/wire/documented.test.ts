/** Bytes as the pages of the protocol show them, and a few of our own where those show none. */
import test from 'ava';
import { decodeAuthentication, encodeAuthentication } from '../../../proxy/mysql/wire/authentication.ts';
import { CAPABILITY, namesOf } from '../../../proxy/mysql/wire/capabilities.ts';
import { decodeCommand, encodeCommand } from '../../../proxy/mysql/wire/commands.ts';
import { encodePackets } from '../../../proxy/mysql/wire/frames.ts';
import {
  decodeClientHello,
  decodeHandshake,
  encodeClientHello,
  encodeHandshake,
  scrambleOf,
} from '../../../proxy/mysql/wire/handshake.ts';
import {
  decodeEof,
  decodeError,
  decodeLocalInfile,
  decodeOk,
  encodeEof,
  encodeError,
  encodeLocalInfile,
  encodeOk,
} from '../../../proxy/mysql/wire/outcome.ts';
import {
  decodeBinaryRow,
  decodeColumnDefinition,
  decodePrepareOk,
  decodeTextRow,
  encodeBinaryRow,
  encodeColumnDefinition,
  encodePrepareOk,
  encodeTextRow,
} from '../../../proxy/mysql/wire/rows.ts';
import {
  decodeStateChanges,
  encodeStateChanges,
  readTransactionState,
} from '../../../proxy/mysql/wire/session-state.ts';
import { TYPE, binaryOf, interpretBinary } from '../../../proxy/mysql/wire/values.ts';
import { payloadOf } from './reading.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/[\s|]/g, ''), 'hex');
const P41 = CAPABILITY.protocol41;

test('the handshakes of MySQL 5.5 and 5.6', (t) => {
  const old = hex(`36 00 00 00 0a 35 2e 35 2e 32 2d 6d 32 00 0b 00 00 00 64 76 48 40 49 2d 43 4a 00 ff f7 08 02 00
    00 00 00 00 00 00 00 00 00 00 00 00 00 2a 34 64 7c 63 5a 77 6b 34 5e 5d 3a 00`);
  const handshake = decodeHandshake(payloadOf(old));
  if (handshake.kind === 'fault') return t.fail(handshake.message);
  t.like(handshake, { connectionId: 11, charset: 8, status: 2, plugin: undefined });
  t.is(handshake.version.toString(), '5.5.2-m2');
  t.is(scrambleOf(handshake.challenge).toString(), 'dvH@I-CJ*4d|cZwk4^]:');
  t.false(namesOf(handshake.capabilities).includes('ssl'));
  t.deepEqual(encodePackets(encodeHandshake(handshake), 0), old);

  const newer = hex(`50 00 00 00 0a 35 2e 36 2e 34 2d 6d 37 2d 6c 6f 67 00 56 0a 00 00 52 42 33 76 7a 26 47 72 00 ff
    ff 08 02 00 0f c0 15 00 00 00 00 00 00 00 00 00 00 2b 79 44 26 2f 5a 5a 33 30 35 5a 47 00 6d 79
    73 71 6c 5f 6e 61 74 69 76 65 5f 70 61 73 73 77 6f 72 64 00`);
  const second = decodeHandshake(payloadOf(newer));
  if (second.kind === 'fault') return t.fail(second.message);
  t.is(second.plugin?.toString(), 'mysql_native_password');
  t.is(second.challengeLength, 21);
  return t.deepEqual(encodePackets(encodeHandshake(second), 0), newer);
});

test('the answer to a handshake, and the request for TLS', (t) => {
  const bytes = hex(`54 00 00 01 8d a6 0f 00 00 00 00 01 08 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    00 00 00 00 70 61 6d 00 14 ab 09 ee f6 bc b1 32 3e 61 14 38 65 c0 99 1d 95 7d 75 d4 47 74 65 73
    74 00 6d 79 73 71 6c 5f 6e 61 74 69 76 65 5f 70 61 73 73 77 6f 72 64 00`);
  const response = decodeClientHello(payloadOf(bytes));
  if (response.kind !== 'handshake-response') return t.fail(response.kind);
  t.is(response.user.toString(), 'pam');
  t.is(response.database?.toString(), 'test');
  t.is(response.authResponse.length, 20);
  t.is(response.attributes, undefined);
  t.deepEqual(encodePackets(encodeClientHello(response), 1), bytes);

  const request = hex(`20 00 00 01 05 ae 03 00 00 00 00 01 08 ${'00'.repeat(23)}`);
  const hello = decodeClientHello(payloadOf(request));
  if (hello.kind !== 'ssl-request') return t.fail(hello.kind);
  t.true(namesOf(hello.capabilities).includes('ssl'));
  return t.deepEqual(encodePackets(encodeClientHello(hello), 1), request);
});

test('MariaDB’s capabilities stand in reserved bytes when longPassword is left out', (t) => {
  const response = {
    kind: 'handshake-response' as const,
    capabilities: P41 | CAPABILITY.secureConnection | CAPABILITY.mariadbBulk | CAPABILITY.mariadbProgress,
    maxPacketBytes: 1,
    charset: 45,
    reserved: Buffer.alloc(19),
    user: Buffer.from('u'),
    authResponse: Buffer.alloc(0),
    database: undefined,
    plugin: undefined,
    attributes: undefined,
    zstdLevel: undefined,
    trailing: Buffer.alloc(0),
  };
  const payload = encodeClientHello(response);
  t.is(payload.subarray(28, 32).toString('hex'), '05000000');
  t.deepEqual(decodeClientHello(payload), response);
  // From a client of MySQL the same bytes are only kept.
  payload[0] = (payload[0] ?? 0) | 1;
  const kept = decodeClientHello(payload);
  t.is(kept.kind === 'handshake-response' ? kept.capabilities >> 32n : 1n, 0n);
});

test('a client may end its answer early, or add bytes that nobody reads, and encodes to the same', (t) => {
  const all =
    P41 | CAPABILITY.longPassword | CAPABILITY.secureConnection | CAPABILITY.pluginAuth | CAPABILITY.connectAttributes;
  const head = Buffer.alloc(32);
  head.writeUInt32LE(Number(all));
  for (const tail of ['75 00 00', '75 00 00 70 00', '75 00 00 70 00 00', '75 00 00 70 00 00 00 00']) {
    const payload = Buffer.concat([head, hex(tail)]);
    const response = decodeClientHello(payload);
    if (response.kind !== 'handshake-response') return t.fail(tail);
    t.is(response.user.toString(), 'u');
    t.deepEqual(encodeClientHello(response), payload);
  }
  return undefined;
});

test('a client of before MySQL 4.1 is a fault', (t) => {
  t.like(decodeClientHello(hex('85 24 00 00 00 6f 6c 64 00 47 44 53 43 51 59 52 5f')), { kind: 'fault', errno: 1835 });
});

test('the switch to another method', (t) => {
  const bytes = Buffer.from('\xfemysql_native_password\0zQg4ioNy6=rHN/>-b)A!\0', 'latin1');
  const message = decodeAuthentication(bytes);
  if (message.kind !== 'auth-switch') return t.fail(message.kind);
  t.is(message.plugin.toString(), 'mysql_native_password');
  t.is(scrambleOf(message.challenge).toString(), 'zQg4ioNy6=rHN/>-b)A!');
  return t.deepEqual(encodeAuthentication(message), bytes);
});

test('OK, ERR, EOF and the request for a file', (t) => {
  const ok = decodeOk(hex('00 00 00 02 00 00 00'), P41);
  t.like(ok, { kind: 'ok', affectedRows: 0n, status: 2, warnings: 0, info: undefined });
  t.deepEqual(ok.kind === 'ok' ? encodeOk(ok) : undefined, hex('00 00 00 02 00 00 00'));
  const bytes = hex('ff 48 04 23 48 59 30 30 30 4e 6f 20 74 61 62 6c 65 73 20 75 73 65 64');
  const error = decodeError(bytes, P41);
  if (error.kind !== 'error') return t.fail(error.kind);
  t.deepEqual([error.errno, error.sqlState?.toString(), error.message.toString()], [1096, 'HY000', 'No tables used']);
  t.deepEqual(encodeError(error), bytes);
  // Before the server knows its client there is no SQLSTATE.
  const early = decodeError(Buffer.from('\xff\x10\x04Too many connections', 'latin1'), 0n);
  t.like(early, { errno: 1040, sqlState: undefined });
  const eof = decodeEof(hex('fe 00 00 02 00'));
  t.deepEqual(eof, { kind: 'eof', warnings: 0, status: 2 });
  t.deepEqual(eof.kind === 'eof' ? encodeEof(eof) : undefined, hex('fe 00 00 02 00'));
  const infile = decodeLocalInfile(hex('fb 2f 65 74 63 2f 70 61 73 73 77 64'));
  if (infile.kind === 'fault') return t.fail(infile.message);
  t.is(infile.name.toString(), '/etc/passwd');
  return t.deepEqual(encodeLocalInfile(infile), hex('fb 2f 65 74 63 2f 70 61 73 73 77 64'));
});

test('an OK with changes of the session, and a word on progress', (t) => {
  const autocommit = '00 0f 0a 61 75 74 6f 63 6f 6d 6d 69 74 03 4f 46 46';
  const schema = '01 05 04 74 65 73 74';
  const state = '05 09 08 54 5f 5f 5f 57 5f 5f 5f';
  const bytes = hex(`00 00 00 03 40 00 00 00 23 ${autocommit} ${schema} ${state}`);
  const ok = decodeOk(bytes, P41 | CAPABILITY.sessionTrack);
  if (ok.kind !== 'ok' || ok.stateChanges === undefined) return t.fail(ok.kind);
  t.deepEqual(encodeOk(ok), bytes);
  const changes = decodeStateChanges(ok.stateChanges);
  t.deepEqual(changes, [
    { kind: 'variables', variables: [[Buffer.from('autocommit'), Buffer.from('OFF')]] },
    { kind: 'schema', name: Buffer.from('test') },
    { kind: 'transaction-state', state: Buffer.from('T___W___') },
  ]);
  t.deepEqual('kind' in changes ? undefined : encodeStateChanges(changes), ok.stateChanges);
  t.like(readTransactionState(Buffer.from('T___W___')), {
    open: 'explicit',
    wroteTransactional: true,
    wroteOther: false,
  });
  t.like(readTransactionState(Buffer.from('I_R__s_L')), {
    open: 'implicit',
    readTransactional: true,
    lockedTables: true,
  });
  t.like(readTransactionState(Buffer.from('________')), { open: 'no', wroteTransactional: false });
  t.is(readTransactionState(Buffer.from('T')), undefined);

  const progress = hex('ff ff ff 01 01 02 39 30 00 04 63 6f 70 79');
  const word = decodeError(progress, P41 | CAPABILITY.mariadbProgress);
  t.like(word, { kind: 'progress', stage: 1, stages: 2, progress: 12_345 });
  return t.deepEqual(word.kind === 'fault' ? undefined : encodeError(word), progress);
});

test('queries, with attributes and without', (t) => {
  const plain = Buffer.from('\x03select @@version_comment limit 1');
  t.deepEqual(decodeCommand(plain, P41), { kind: 'query', attributes: undefined, text: plain.subarray(1) });
  const all = P41 | CAPABILITY.queryAttributes;
  const none = hex('03 00 01 73 65 6c 65 63 74 20 31');
  t.deepEqual(decodeCommand(none, all), { kind: 'query', attributes: [], text: Buffer.from('select 1') });
  // One attribute `gid` with the text `g-1`.
  const one = hex('03 01 01 00 01 fe 00 03 67 69 64 03 67 2d 31 73 65 6c 65 63 74 20 31');
  const query = decodeCommand(one, all);
  if (query.kind !== 'query') return t.fail(query.kind);
  t.is(query.text.toString(), 'select 1');
  t.deepEqual(query.attributes, [
    { type: { code: TYPE.string, flags: 0 }, name: Buffer.from('gid'), value: Buffer.from('g-1') },
  ]);
  t.deepEqual(encodeCommand(query, all), one);
  // Read without the capability, the attributes would be the text's beginning.
  return t.notDeepEqual(decodeCommand(one, P41), query);
});

test('a statement is prepared and run', (t) => {
  const prepared = hex('00 01 00 00 00 01 00 02 00 00 00 00');
  const ok = decodePrepareOk(prepared);
  t.like(ok, { statement: 1, columnCount: 1, parameterCount: 2 });
  t.deepEqual(ok.kind === 'fault' ? undefined : encodePrepareOk(ok), prepared);
  const column = hex('03 64 65 66 00 00 00 04 63 6f 6c 31 00 0c 3f 00 00 00 00 00 fd 80 00 1f 00 00');
  const definition = decodeColumnDefinition(column, P41);
  t.like(definition, { type: TYPE.varString, flags: 0x80, decimals: 31, charset: 63 });
  t.deepEqual(definition.kind === 'fault' ? undefined : encodeColumnDefinition(definition), column);

  const context = { parameterCount: 1, types: undefined, isLong: () => false };
  const run = hex('17 01 00 00 00 00 01 00 00 00 00 01 0f 00 03 66 6f 6f');
  const execute = decodeCommand(run, P41, context);
  t.like(execute, { kind: 'stmt-execute', statement: 1, flags: 0, sendsTypes: true });
  t.deepEqual(execute.kind === 'fault' ? undefined : encodeCommand(execute, P41), run);
  const parameters = execute.kind === 'stmt-execute' ? execute.parameters : undefined;
  t.is(parameters?.[0]?.value?.toString(), 'foo');

  // As drivers that have query attributes send it: counted, and with names.
  const counted = hex('17 04 00 00 00 08 01 00 00 00 01 00 01 fd 00 00 05 61 64 6d 69 6e');
  const all = P41 | CAPABILITY.queryAttributes;
  const named = decodeCommand(counted, all, context);
  t.is(named.kind === 'stmt-execute' ? named.parameters?.[0]?.value?.toString() : undefined, 'admin');
  t.deepEqual(named.kind === 'fault' ? undefined : encodeCommand(named, all), counted);
  // Types that were not sent and are not remembered cannot be guessed.
  t.is(decodeCommand(hex('17 01 00 00 00 00 01 00 00 00 00 00 03 66 6f 6f'), P41, context).kind, 'fault');
});

test('rows in text and in binary', (t) => {
  const text = Buffer.from('\x1cMySQL Community Server (GPL)');
  const row = decodeTextRow(text, 1);
  t.is(row.kind === 'row' ? row.values[0]?.toString() : undefined, 'MySQL Community Server (GPL)');
  t.deepEqual(row.kind === 'row' ? encodeTextRow(row) : undefined, text);
  t.deepEqual(decodeTextRow(hex('fb 00'), 2), { kind: 'row', values: [null, Buffer.alloc(0)] });
  const binary = hex('00 00 06 66 6f 6f 62 61 72');
  const second = decodeBinaryRow(binary, [TYPE.varString]);
  t.deepEqual(second, { kind: 'row', values: [Buffer.from('foobar')] });
  t.deepEqual(second.kind === 'row' ? encodeBinaryRow(second, [TYPE.varString]) : undefined, binary);
  t.deepEqual(decodeBinaryRow(hex('00 04'), [TYPE.long]), { kind: 'row', values: [null] });
});

test('binary values mean what the documentation says', (t) => {
  const clock = { hour: 19, minute: 27, second: 30, microsecond: 1 };
  const table = [
    [
      TYPE.datetime,
      0,
      'da 07 0a 11 13 1b 1e 01 00 00 00',
      { kind: 'moment', year: 2010, month: 10, day: 17, ...clock },
    ],
    [TYPE.date, 0, 'da 07 0a 11', { kind: 'moment', year: 2010, month: 10, day: 17, hour: 0, second: 0 }],
    [TYPE.timestamp, 0, '', { kind: 'moment', year: 0, month: 0, day: 0 }],
    [TYPE.time, 0, '01 78 00 00 00 13 1b 1e 01 00 00 00', { kind: 'time', isNegative: true, days: 120, ...clock }],
    [TYPE.time, 0, '01 78 00 00 00 13 1b 1e', { kind: 'time', days: 120, microsecond: 0 }],
    [TYPE.longlong, 0, '01 00 00 00 00 00 00 00', { kind: 'integer', value: 1n }],
    [TYPE.longlong, 0, 'ff ff ff ff ff ff ff ff', { kind: 'integer', value: -1n }],
    [TYPE.longlong, 0x80, 'ff ff ff ff ff ff ff ff', { kind: 'integer', value: 18_446_744_073_709_551_615n }],
    [TYPE.tiny, 0, '80', { kind: 'integer', value: -128n }],
    [TYPE.year, 0x80, 'e8 07', { kind: 'integer', value: 2024n }],
    [TYPE.int24, 0, '00 00 80 ff', { kind: 'integer', value: -8_388_608n }],
    [TYPE.double, 0, '66 66 66 66 66 66 24 40', { kind: 'double', value: 10.2 }],
    [TYPE.float, 0, '33 33 23 41', { kind: 'float', value: Math.fround(10.2) }],
    [TYPE.newDecimal, 0, '31 2e 35 30', { kind: 'bytes', value: Buffer.from('1.50') }],
  ] as const;
  for (const [code, flags, bytes, expected] of table) {
    const type = { code, flags };
    const value = interpretBinary(type, hex(bytes));
    t.like(value, expected);
    if (value.kind !== 'fault') t.deepEqual(binaryOf(type, value), hex(bytes));
  }
});

test('a count or a length of any size is a fault where the payload has not as much', (t) => {
  const all = P41 | CAPABILITY.queryAttributes;
  for (const huge of [
    'fc ff ff',
    'fd ff ff ff',
    'fe 00 00 00 80 00 00 00 00',
    'fe f8 ff ff 7f 01 00 00 00',
    'fe' + 'ff'.repeat(8),
  ]) {
    for (const bound of ['00', '01']) {
      const query = decodeCommand(hex(`03 ${huge} 01 00 ${bound} 00 00 00`), all);
      t.is(query.kind, 'fault');
      const context = { parameterCount: 1, types: [{ code: TYPE.tiny, flags: 0 }], isLong: () => false };
      const execute = decodeCommand(hex(`17 01 00 00 00 08 01 00 00 00 ${huge} 00 ${bound} 00 00`), all, context);
      t.is(execute.kind, 'fault');
    }
    t.like(decodeStateChanges(hex(`00 ${huge} 00`)), { kind: 'fault' });
    t.is(decodeTextRow(hex(`${huge} 00`), 1).kind, 'fault');
  }
});
