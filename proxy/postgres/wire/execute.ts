/** Execute, and CommandComplete with its tag. PortalSuspended and EmptyQueryResponse are in bodiless.ts. */
import { BodyReader, encoder, type FrameWriter, type ProtocolFault } from './body.ts';
import { BACKEND, FRONTEND } from './frames.ts';

export interface Execute {
  readonly kind: 'execute';
  readonly portal: Buffer;
  /** After this many rows the server answers PortalSuspended; zero or less: no limit. */
  readonly maxRows: number;
}

export interface CommandComplete {
  readonly kind: 'command-complete';
  /** `UPDATE 5`, `INSERT 0 1`, `CREATE TABLE`: ASCII, whatever the client_encoding. */
  readonly tag: Buffer;
}

/** A command tag in its parts. */
export interface CommandTag {
  /** `UPDATE`, `CREATE TABLE`. */
  readonly command: string;
  /** Rows returned, changed or copied; undefined for commands that do not count. Exact up to 2^53. */
  readonly count: number | undefined;
}

export function decodeExecute(body: Buffer): Execute | ProtocolFault {
  const from = new BodyReader('Execute', body);
  return from.end({ kind: 'execute', portal: from.cstring(), maxRows: from.int32() });
}

export function writeExecute(out: FrameWriter, message: Execute): void {
  out.begin(FRONTEND.execute).cstring(message.portal).int32(message.maxRows).end();
}

export const encodeExecute: (message: Execute) => Buffer = encoder(writeExecute);

export function decodeCommandComplete(body: Buffer): CommandComplete | ProtocolFault {
  const from = new BodyReader('CommandComplete', body);
  return from.end({ kind: 'command-complete', tag: from.cstring() });
}

export function writeCommandComplete(out: FrameWriter, message: CommandComplete): void {
  out.begin(BACKEND.commandComplete).cstring(message.tag).end();
}

export const encodeCommandComplete: (message: CommandComplete) => Buffer = encoder(writeCommandComplete);

/** Splits a tag: the count is its last number. `INSERT 0 5` has an oid before, which is always 0 since PostgreSQL 12. */
export function parseCommandTag(tag: Buffer): CommandTag {
  const words = tag.toString('latin1').split(' ');
  const isNumber = (word: string | undefined): boolean => word !== undefined && /^\d+$/.test(word);
  const count = isNumber(words.at(-1)) ? Number(words.pop()) : undefined;
  if (words[0] === 'INSERT' && isNumber(words.at(-1))) words.pop();
  return { command: words.join(' '), count };
}

/** The tag that the server gives for `command` over `count` rows; `parseCommandTag` turned round. */
export function formatCommandTag(tag: CommandTag): Buffer {
  if (tag.count === undefined) return Buffer.from(tag.command, 'latin1');
  return Buffer.from(`${tag.command === 'INSERT' ? 'INSERT 0' : tag.command} ${tag.count}`, 'latin1');
}
