import test from 'ava';
import {
  decodePasswordMessage,
  decodeSaslInitialResponse,
  encodeAuthentication,
  encodeAuthenticationResponse,
  encodePasswordMessage,
  encodeSaslInitialResponse,
  withoutChannelBinding,
  type Authentication,
} from '../../../proxy/postgres/wire/authentication.ts';
import {
  READY_FOR_QUERY,
  encodeBackendKeyData,
  encodeNotification,
  encodeParameterStatus,
} from '../../../proxy/postgres/wire/backend-state.ts';
import { encodeBind } from '../../../proxy/postgres/wire/bind.ts';
import {
  BIND_COMPLETE,
  CLOSE_COMPLETE,
  COPY_DONE,
  EMPTY_QUERY_RESPONSE,
  FLUSH,
  NO_DATA,
  PARSE_COMPLETE,
  PORTAL_SUSPENDED,
  SYNC,
  TERMINATE,
} from '../../../proxy/postgres/wire/bodiless.ts';
import { FrameWriter } from '../../../proxy/postgres/wire/body.ts';
import { encodeCopyData, encodeCopyFail, encodeCopyResponse } from '../../../proxy/postgres/wire/copy.ts';
import { encodeClose, encodeDescribe } from '../../../proxy/postgres/wire/describe.ts';
import {
  decodeReport,
  encodeError,
  encodeNotice,
  encodeReport,
  readReport,
} from '../../../proxy/postgres/wire/error.ts';
import {
  encodeCommandComplete,
  encodeExecute,
  formatCommandTag,
  parseCommandTag,
} from '../../../proxy/postgres/wire/execute.ts';
import {
  decodeBackend,
  decodeFrontend,
  encodeBackend,
  encodeFrontend,
  writeBackend,
  writeFrontend,
  type BackendMessage,
  type FrontendMessage,
} from '../../../proxy/postgres/wire/messages.ts';
import { encodeParse } from '../../../proxy/postgres/wire/parse.ts';
import { encodeFunctionCall, encodeFunctionCallResponse, encodeQuery } from '../../../proxy/postgres/wire/query.ts';
import { encodeDataRow, encodeParameterDescription, encodeRowDescription } from '../../../proxy/postgres/wire/row.ts';
import { encodeNegotiateProtocolVersion } from '../../../proxy/postgres/wire/startup.ts';

/** Bytes as the tables write them: text, with `\xHH` for the rest. */
const b = (text: string): Buffer => Buffer.from(text, 'latin1');

/** A type, the length and a body, written out: the tables do not trust the writer that they test. */
function frame(type: string, body: string): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length + 4);
  return Buffer.concat([b(type), length, b(body)]);
}

const FRONTEND_TABLE: readonly (readonly [bytes: Buffer, message: FrontendMessage])[] = [
  [frame('Q', 'select 1\0'), { kind: 'query', text: b('select 1') }],
  [frame('Q', '\0'), { kind: 'query', text: b('') }],
  [
    frame('P', 's1\0select $1\0\0\x02\0\0\0\x17\0\0\0\0'),
    { kind: 'parse', statement: b('s1'), text: b('select $1'), parameterTypes: [23, 0] },
  ],
  [frame('P', '\0\xe4\xff\0\0\0'), { kind: 'parse', statement: b(''), text: b('\xe4\xff'), parameterTypes: [] }],
  [
    frame('B', 'p\0s\0\0\x01\0\x01\0\x03\0\0\0\x02ab\xff\xff\xff\xff\0\0\0\0\0\x02\0\0\0\x01'),
    {
      kind: 'bind',
      portal: b('p'),
      statement: b('s'),
      formats: [1],
      values: [b('ab'), null, b('')],
      resultFormats: [0, 1],
    },
  ],
  [frame('D', 'Ss1\0'), { kind: 'describe', target: 'statement', name: b('s1') }],
  [frame('D', 'P\0'), { kind: 'describe', target: 'portal', name: b('') }],
  [frame('C', 'Ss1\0'), { kind: 'close', target: 'statement', name: b('s1') }],
  [frame('C', 'Pp\0'), { kind: 'close', target: 'portal', name: b('p') }],
  [frame('E', 'p\0\0\0\0\x64'), { kind: 'execute', portal: b('p'), maxRows: 100 }],
  [frame('S', ''), { kind: 'sync' }],
  [frame('H', ''), { kind: 'flush' }],
  [frame('X', ''), { kind: 'terminate' }],
  [frame('c', ''), { kind: 'copy-done' }],
  [frame('d', '1\t2\n'), { kind: 'copy-data', data: b('1\t2\n') }],
  [frame('f', 'no\0'), { kind: 'copy-fail', reason: b('no') }],
  [
    frame('F', '\0\0\x03\xe9\0\x01\0\x01\0\x02\0\0\0\x01x\xff\xff\xff\xff\0\x01'),
    { kind: 'function-call', functionOid: 1001, formats: [1], values: [b('x'), null], resultFormat: 1 },
  ],
  [frame('p', 'secret\0'), { kind: 'authentication-response', data: b('secret\0') }],
];

const BACKEND_TABLE: readonly (readonly [bytes: Buffer, message: BackendMessage])[] = [
  [frame('R', '\0\0\0\0'), { kind: 'authentication', method: 'ok' }],
  [frame('R', '\0\0\0\x03'), { kind: 'authentication', method: 'cleartext-password' }],
  [frame('R', '\0\0\0\x05salt'), { kind: 'authentication', method: 'md5-password', salt: b('salt') }],
  [frame('R', '\0\0\0\x07'), { kind: 'authentication', method: 'gss' }],
  [frame('R', '\0\0\0\x08x'), { kind: 'authentication', method: 'gss-continue', data: b('x') }],
  [frame('R', '\0\0\0\x09'), { kind: 'authentication', method: 'sspi' }],
  [
    frame('R', '\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0'),
    { kind: 'authentication', method: 'sasl', mechanisms: [b('SCRAM-SHA-256-PLUS'), b('SCRAM-SHA-256')] },
  ],
  [frame('R', '\0\0\0\x0br=n'), { kind: 'authentication', method: 'sasl-continue', data: b('r=n') }],
  [frame('R', '\0\0\0\x0cv=s'), { kind: 'authentication', method: 'sasl-final', data: b('v=s') }],
  [frame('R', '\0\0\0\x02'), { kind: 'authentication', method: 'other', code: 2, data: b('') }],
  [frame('S', 'TimeZone\0UTC\0'), { kind: 'parameter-status', name: b('TimeZone'), value: b('UTC') }],
  [frame('K', '\0\0\x01\0abcd'), { kind: 'backend-key-data', processId: 256, secret: b('abcd') }],
  [
    frame('K', `\0\0\x01\0${'k'.repeat(256)}`),
    { kind: 'backend-key-data', processId: 256, secret: b('k'.repeat(256)) },
  ],
  [frame('Z', 'I'), { kind: 'ready-for-query', status: 'I' }],
  [frame('Z', 'T'), { kind: 'ready-for-query', status: 'T' }],
  [frame('Z', 'E'), { kind: 'ready-for-query', status: 'E' }],
  [frame('1', ''), { kind: 'parse-complete' }],
  [frame('2', ''), { kind: 'bind-complete' }],
  [frame('3', ''), { kind: 'close-complete' }],
  [frame('n', ''), { kind: 'no-data' }],
  [frame('s', ''), { kind: 'portal-suspended' }],
  [frame('I', ''), { kind: 'empty-query-response' }],
  [frame('c', ''), { kind: 'copy-done' }],
  [frame('C', 'INSERT 0 1\0'), { kind: 'command-complete', tag: b('INSERT 0 1') }],
  [
    frame('t', '\0\x02\0\0\0\x17\xff\xff\xff\xff'),
    { kind: 'parameter-description', parameterTypes: [23, 0xffff_ffff] },
  ],
  [
    frame('T', '\0\x01id\0\0\0\x40\0\0\x01\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0'),
    {
      kind: 'row-description',
      fields: [{ name: b('id'), tableOid: 16_384, column: 1, typeOid: 23, typeSize: 4, typeModifier: -1, format: 0 }],
    },
  ],
  [frame('T', '\0\0'), { kind: 'row-description', fields: [] }],
  [frame('D', '\0\x02\0\0\0\x014\xff\xff\xff\xff'), { kind: 'data-row', values: [b('4'), null] }],
  [frame('d', 'row\n'), { kind: 'copy-data', data: b('row\n') }],
  [frame('G', '\0\0\x02\0\0\0\0'), { kind: 'copy-in-response', format: 0, columnFormats: [0, 0] }],
  [frame('H', '\x01\0\x01\0\x01'), { kind: 'copy-out-response', format: 1, columnFormats: [1] }],
  [frame('W', '\0\0\0'), { kind: 'copy-both-response', format: 0, columnFormats: [] }],
  [
    frame('E', 'SERROR\0C42601\0Mno\0\0'),
    {
      kind: 'error',
      fields: [
        { letter: 0x53, value: b('ERROR') },
        { letter: 0x43, value: b('42601') },
        { letter: 0x4d, value: b('no') },
      ],
    },
  ],
  [frame('N', '\0'), { kind: 'notice', fields: [] }],
  [
    frame('A', '\0\0\0\x07news\0hello\0'),
    { kind: 'notification', processId: 7, channel: b('news'), payload: b('hello') },
  ],
  [frame('V', '\0\0\0\x02ok'), { kind: 'function-call-response', value: b('ok') }],
  [frame('V', '\xff\xff\xff\xff'), { kind: 'function-call-response', value: null }],
  [
    frame('v', '\0\x03\0\x02\0\0\0\x01_pq_.x\0'),
    { kind: 'negotiate-protocol-version', newest: 196_610, unknownOptions: [b('_pq_.x')] },
  ],
];

for (const [bytes, message] of FRONTEND_TABLE) {
  test(`client ${message.kind} is ${JSON.stringify(bytes.toString('latin1'))}`, (t) => {
    t.deepEqual(decodeFrontend(bytes[0] as number, bytes.subarray(5)), message);
    t.deepEqual(encodeFrontend(message), bytes);
  });
}

for (const [bytes, message] of BACKEND_TABLE) {
  test(`server ${message.kind} is ${JSON.stringify(bytes.toString('latin1')).slice(0, 90)}`, (t) => {
    t.deepEqual(decodeBackend(bytes[0] as number, bytes.subarray(5)), message);
    t.deepEqual(encodeBackend(message), bytes);
  });
}

test('each message has an encoder of its own that gives the same frame', (t) => {
  const own: Record<string, ((message: never) => Buffer) | undefined> = {
    query: encodeQuery,
    parse: encodeParse,
    bind: encodeBind,
    describe: encodeDescribe,
    execute: encodeExecute,
    close: encodeClose,
    'copy-data': encodeCopyData,
    'copy-fail': encodeCopyFail,
    'function-call': encodeFunctionCall,
    'authentication-response': encodeAuthenticationResponse,
    authentication: encodeAuthentication,
    'parameter-status': encodeParameterStatus,
    'backend-key-data': encodeBackendKeyData,
    notification: encodeNotification,
    'command-complete': encodeCommandComplete,
    'parameter-description': encodeParameterDescription,
    'row-description': encodeRowDescription,
    'data-row': encodeDataRow,
    'copy-in-response': encodeCopyResponse,
    'copy-out-response': encodeCopyResponse,
    'copy-both-response': encodeCopyResponse,
    error: encodeReport,
    notice: encodeReport,
    'function-call-response': encodeFunctionCallResponse,
    'negotiate-protocol-version': encodeNegotiateProtocolVersion,
  };
  const tested = [...FRONTEND_TABLE, ...BACKEND_TABLE].filter(([, message]) => own[message.kind] !== undefined);
  for (const [bytes, message] of tested) t.deepEqual(own[message.kind]?.(message as never), bytes);
  t.deepEqual([...new Set<string>(tested.map(([, message]) => message.kind))].sort(), Object.keys(own).sort());
});

test('the constants are their frames', (t) => {
  const table = { S: SYNC, H: FLUSH, X: TERMINATE, 1: PARSE_COMPLETE, 2: BIND_COMPLETE, 3: CLOSE_COMPLETE };
  const more = { n: NO_DATA, s: PORTAL_SUSPENDED, I: EMPTY_QUERY_RESPONSE, c: COPY_DONE };
  for (const [type, constant] of Object.entries({ ...table, ...more })) t.deepEqual(constant, frame(type, ''));
  for (const status of ['I', 'T', 'E'] as const) t.deepEqual(READY_FOR_QUERY[status], frame('Z', status));
});

const FAULTS: readonly (readonly [rule: string, side: 'frontend' | 'backend', bytes: Buffer])[] = [
  ['a query without NUL', 'frontend', frame('Q', 'select 1')],
  ['a query with bytes behind its NUL', 'frontend', frame('Q', 'select 1\0drop')],
  ['a parse with fewer types than it counts', 'frontend', frame('P', '\0\0\0\x02\0\0\0\0')],
  ['a parse that counts 65535 types', 'frontend', frame('P', '\0\0\xff\xff')],
  ['a parse with a type too many', 'frontend', frame('P', '\0\0\0\0\0\0\0\0')],
  ['a bind with a value of length -2', 'frontend', frame('B', '\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0')],
  ['a bind with a value longer than the body', 'frontend', frame('B', '\0\0\0\0\0\x01\x7f\xff\xff\xff\0\0')],
  ['a bind that counts 65535 values', 'frontend', frame('B', '\0\0\0\0\xff\xff\0\0')],
  ['a describe of neither statement nor portal', 'frontend', frame('D', 'X\0')],
  ['a close of neither statement nor portal', 'frontend', frame('C', '\0\0')],
  ['an execute without a row limit', 'frontend', frame('E', '\0\0\0')],
  ['a sync with a body', 'frontend', frame('S', '\0')],
  ['a copy failure without NUL', 'frontend', frame('f', 'no')],
  ['a function call without a result format', 'frontend', frame('F', '\0\0\0\x01\0\0\0\0')],
  ['a server message from a client', 'frontend', frame('Z', 'I')],
  ['a client message from a server', 'backend', frame('Q', '\0')],
  ['an unknown transaction status', 'backend', frame('Z', 'X')],
  ['a ready for query without a status', 'backend', frame('Z', '')],
  ['a data row with a value of length -2', 'backend', frame('D', '\0\x01\xff\xff\xff\xfe')],
  ['a data row with a value of length -2147483648', 'backend', frame('D', '\0\x01\x80\0\0\0')],
  ['a data row that counts -1 values', 'backend', frame('D', '\xff\xff')],
  ['a row description that ends in a field', 'backend', frame('T', '\0\x01id\0\0\0')],
  ['a cancel key of 3 bytes', 'backend', frame('K', '\0\0\0\0abc')],
  ['a cancel key of 257 bytes', 'backend', frame('K', `\0\0\0\0${'k'.repeat(257)}`)],
  ['an error without an end', 'backend', frame('E', 'SERROR\0')],
  ['an error with bytes behind its end', 'backend', frame('E', 'SERROR\0\0x')],
  ['an empty error body', 'backend', frame('E', '')],
  ['a salt of 3 bytes', 'backend', frame('R', '\0\0\0\x05abc')],
  ['SASL mechanisms without an end', 'backend', frame('R', '\0\0\0\x0aSCRAM-SHA-256\0')],
  ['an authentication request of 3 bytes', 'backend', frame('R', '\0\0\0')],
  ['a negotiation that counts -1 options', 'backend', frame('v', '\0\x03\0\0\xff\xff\xff\xff')],
  ['a negotiation that counts 2^31-1 options', 'backend', frame('v', '\0\x03\0\0\x7f\xff\xff\xff')],
];

for (const [rule, side, bytes] of FAULTS) {
  test(`${rule} is a fault`, (t) => {
    const decode = side === 'frontend' ? decodeFrontend : decodeBackend;
    const result = decode(bytes[0] as number, bytes.subarray(5));
    t.like(result, { kind: 'fault', code: '08P01' });
  });
}

test('channel binding is taken out of the SASL mechanisms and out of nothing else', (t) => {
  const offer: Authentication = {
    kind: 'authentication',
    method: 'sasl',
    mechanisms: [b('SCRAM-SHA-256-PLUS'), b('SCRAM-SHA-256'), b('OAUTHBEARER')],
  };
  t.deepEqual(
    encodeAuthentication(withoutChannelBinding(offer)),
    frame('R', '\0\0\0\x0aSCRAM-SHA-256\0OAUTHBEARER\0\0'),
  );
  const challenge: Authentication = { kind: 'authentication', method: 'sasl-continue', data: b('SCRAM-SHA-256-PLUS') };
  t.is(withoutChannelBinding(challenge), challenge);
});

test("the client's answers to authentication are told apart by what was asked for", (t) => {
  t.deepEqual(decodePasswordMessage(b('secret\0')), { kind: 'password', password: b('secret') });
  t.deepEqual(encodePasswordMessage({ kind: 'password', password: b('secret') }), frame('p', 'secret\0'));
  const first = { kind: 'sasl-initial-response', mechanism: b('SCRAM-SHA-256'), data: b('n,,n=,r=x') } as const;
  const body = 'SCRAM-SHA-256\0\0\0\0\x09n,,n=,r=x';
  t.deepEqual(decodeSaslInitialResponse(b(body)), first);
  t.deepEqual(encodeSaslInitialResponse(first), frame('p', body));
  t.deepEqual(decodeSaslInitialResponse(b('X\0\xff\xff\xff\xff')), {
    kind: 'sasl-initial-response',
    mechanism: b('X'),
    data: null,
  });
  // PgBouncer CVE-2026-6664: a length that overflowed.
  t.is(decodeSaslInitialResponse(b('SCRAM-SHA-256\0\x7f\xff\xff\xffn,,')).kind, 'fault');
  t.is(decodePasswordMessage(b('secret')).kind, 'fault');
});

test('a command tag is a command and a count', (t) => {
  const table: Record<string, [command: string, count: number | undefined]> = {
    'INSERT 0 5': ['INSERT', 5],
    'INSERT 16384 1': ['INSERT', 1],
    'UPDATE 0': ['UPDATE', 0],
    'SELECT 12': ['SELECT', 12],
    'COPY 3': ['COPY', 3],
    COPY: ['COPY', undefined],
    'CREATE TABLE': ['CREATE TABLE', undefined],
    'PREPARE TRANSACTION': ['PREPARE TRANSACTION', undefined],
    COMMIT: ['COMMIT', undefined],
    '': ['', undefined],
  };
  for (const [tag, [command, count]] of Object.entries(table)) t.deepEqual(parseCommandTag(b(tag)), { command, count });
  t.deepEqual(formatCommandTag({ command: 'INSERT', count: 5 }), b('INSERT 0 5'));
  t.deepEqual(formatCommandTag({ command: 'UPDATE', count: 2 }), b('UPDATE 2'));
  t.deepEqual(formatCommandTag({ command: 'COMMIT', count: undefined }), b('COMMIT'));
});

test('an error of our own carries both severities, and every field by its letter', (t) => {
  const texts = { severity: 'ERROR', code: '40001', message: 'no', detail: 'why', hint: 'do', constraint: 'c' };
  t.deepEqual(encodeError(texts), frame('E', 'SERROR\0VERROR\0C40001\0Mno\0Dwhy\0Hdo\0nc\0\0'));
  t.deepEqual(
    encodeNotice({ severity: 'NOTICE', code: '00000', message: 'x' }),
    frame('N', 'SNOTICE\0VNOTICE\0C00000\0Mx\0\0'),
  );
});

test('a NUL in the text of an error cannot end the field early', (t) => {
  const bytes = encodeError({ severity: 'ERROR', code: 'XX000', message: 'a\0Hforged' });
  const report = decodeReport('error', bytes.subarray(5));
  t.is(report.kind === 'fault' ? undefined : readReport(report).message, 'a\u{fffd}Hforged');
  t.is(report.kind === 'fault' ? undefined : readReport(report).hint, undefined);
});

test('an error is read without an SQLSTATE and with only the translated severity', (t) => {
  const report = decodeReport('error', b('SFEHLER\0Mkaputt\0Zunknown\0\0'));
  t.deepEqual(report.kind === 'fault' ? report : readReport(report), { severity: 'FEHLER', message: 'kaputt' });
});

test('a string with NUL is refused by the writer', (t) => {
  t.throws(() => encodeQuery({ kind: 'query', text: b('a\0b') }), { message: /invariant broken/ });
});

test('one writer puts many frames into one Buffer, and keeps nothing of what it gave away', (t) => {
  const out = new FrameWriter(8);
  for (const [, message] of FRONTEND_TABLE) writeFrontend(out, message);
  const first = out.take();
  for (const [, message] of BACKEND_TABLE) writeBackend(out, message);
  const second = out.take();
  t.deepEqual(first, Buffer.concat(FRONTEND_TABLE.map(([bytes]) => bytes)));
  t.deepEqual(second, Buffer.concat(BACKEND_TABLE.map(([bytes]) => bytes)));
  t.is(out.take().length, 0);
});
