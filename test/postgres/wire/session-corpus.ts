/** A session with every message in it, in bytes: what the damage of the tests is done to. */
import {
  encodeBackend,
  encodeFrontend,
  type BackendMessage,
  type FrontendMessage,
} from '../../../proxy/postgres/wire/messages.ts';

const text = (value: string): Buffer => Buffer.from(value);

const FRONTEND: readonly FrontendMessage[] = [
  { kind: 'authentication-response', data: text('md5abc\0') },
  { kind: 'query', text: text('begin') },
  { kind: 'parse', statement: text('s'), text: text('select $1'), parameterTypes: [23] },
  { kind: 'describe', target: 'statement', name: text('s') },
  {
    kind: 'bind',
    portal: text('p'),
    statement: text('s'),
    formats: [1],
    values: [text('\0\0\0\x05'), null],
    resultFormats: [0],
  },
  { kind: 'execute', portal: text('p'), maxRows: 0 },
  { kind: 'close', target: 'portal', name: text('p') },
  { kind: 'flush' },
  { kind: 'sync' },
  { kind: 'function-call', functionOid: 1, formats: [0], values: [text('1')], resultFormat: 0 },
  { kind: 'copy-data', data: text('1\t2\n') },
  { kind: 'copy-done' },
  { kind: 'copy-fail', reason: text('x') },
  { kind: 'terminate' },
];

const BACKEND: readonly BackendMessage[] = [
  { kind: 'negotiate-protocol-version', newest: 196_608, unknownOptions: [text('_pq_.x')] },
  { kind: 'authentication', method: 'sasl', mechanisms: [text('SCRAM-SHA-256')] },
  { kind: 'authentication', method: 'ok' },
  { kind: 'parameter-status', name: text('TimeZone'), value: text('UTC') },
  { kind: 'backend-key-data', processId: 7, secret: text('abcd') },
  { kind: 'parse-complete' },
  { kind: 'parameter-description', parameterTypes: [23] },
  {
    kind: 'row-description',
    fields: [{ name: text('a'), tableOid: 0, column: 0, typeOid: 25, typeSize: -1, typeModifier: -1, format: 0 }],
  },
  { kind: 'bind-complete' },
  { kind: 'data-row', values: [text('5'), null] },
  { kind: 'portal-suspended' },
  { kind: 'command-complete', tag: text('SELECT 1') },
  { kind: 'close-complete' },
  { kind: 'no-data' },
  { kind: 'empty-query-response' },
  { kind: 'notification', processId: 7, channel: text('c'), payload: text('') },
  { kind: 'function-call-response', value: text('1') },
  { kind: 'copy-in-response', format: 0, columnFormats: [0, 0] },
  { kind: 'copy-out-response', format: 0, columnFormats: [0] },
  { kind: 'copy-both-response', format: 0, columnFormats: [] },
  { kind: 'copy-data', data: text('1\n') },
  { kind: 'copy-done' },
  { kind: 'notice', fields: [{ letter: 0x4d, value: text('hm') }] },
  { kind: 'error', fields: [{ letter: 0x43, value: text('42601') }] },
  { kind: 'ready-for-query', status: 'I' },
];

export const SESSION: Readonly<Record<'frontend' | 'backend', Buffer>> = {
  frontend: Buffer.concat(FRONTEND.map(encodeFrontend)),
  backend: Buffer.concat(BACKEND.map(encodeBackend)),
};
