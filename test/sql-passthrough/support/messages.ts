/** Messages of a client, in a line each. */
import type { FrontendMessage } from '../../../proxy/postgres/wire/messages.ts';

export const text = (value: string): Buffer => Buffer.from(value);
const optional = (value: string | null): Buffer | null => (value === null ? null : text(value));

export const query = (sql: string): FrontendMessage => ({ kind: 'query', text: text(sql) });
export const parse = (name: string, sql: string, parameterTypes: readonly number[] = []): FrontendMessage => ({
  kind: 'parse',
  statement: text(name),
  text: text(sql),
  parameterTypes,
});
export const bind = (portal: string, statement: string, values: readonly (string | null)[] = []): FrontendMessage => ({
  kind: 'bind',
  portal: text(portal),
  statement: text(statement),
  formats: [],
  values: values.map(optional),
  resultFormats: [],
});
export const describe = (target: 'statement' | 'portal', name: string): FrontendMessage => ({
  kind: 'describe',
  target,
  name: text(name),
});
export const execute = (portal: string, maxRows = 0): FrontendMessage => ({
  kind: 'execute',
  portal: text(portal),
  maxRows,
});
export const close = (target: 'statement' | 'portal', name: string): FrontendMessage => ({
  kind: 'close',
  target,
  name: text(name),
});
export const sync: FrontendMessage = { kind: 'sync' };
export const flush: FrontendMessage = { kind: 'flush' };
export const terminate: FrontendMessage = { kind: 'terminate' };
export const copyData = (data: string): FrontendMessage => ({ kind: 'copy-data', data: text(data) });
export const copyDone: FrontendMessage = { kind: 'copy-done' };
export const copyFail: FrontendMessage = { kind: 'copy-fail', reason: text('no more') };
export const call = (functionOid: number, ...values: readonly (string | null)[]): FrontendMessage => ({
  kind: 'function-call',
  functionOid,
  formats: [],
  values: values.map(optional),
  resultFormat: 0,
});
