/**
 * What a client inside a global transaction hears, in lines that must be those of a client without a sidecar. Left out is only what
 * differs by design:
 * - of errors and notices the position in the text, and the place in the server's source: another text may have run;
 * - the words for a portal that the sidecar does not know: it may have been bound without the gid, and must not run
 *   (nor does it in a block that has failed);
 * - the words for a change in a read-only transaction, which name the capturing statement;
 * - the warnings and errors about the ends and beginnings of blocks: a pipeline of several changes runs in a block of the sidecar's;
 * - when a changed setting is told, which a server does whenever it is ready, if only for the sidecar.
 */
import { decodeReport } from '../../proxy/postgres/wire/error.ts';
import { HEADER_BYTES } from '../../proxy/postgres/wire/frames.ts';
import type { Received } from '../sql-passthrough/support/raw-client.ts';
import { exactLine } from './play.ts';

/** The lines of a session. */
export function insideLines(frames: readonly Received[]): readonly string[] {
  return frames
    .map((frame) => (frame.type === 'E' || frame.type === 'N' ? reportLine(frame) : exactLine(frame)))
    .filter((line) => !ABOUT_BLOCKS.test(line) && !line.startsWith('S '));
}

/** Position, internal position and query, context; file, line and routine. */
const LEFT_OUT = 'PpqWFLR';
/** PG source: src/backend/utils/errcodes.txt. */
const SIMPLIFIED: Readonly<Record<string, string>> = {
  '25P02': 'no such portal',
  '25006': 'read only',
  '25P01': 'no such block or savepoint',
  '3B001': 'no such block or savepoint',
};
const ABOUT_BLOCKS = /^N .* C25(P01|001) /;
const NO_SUCH_PORTAL = /^portal ".*" does not exist$|^atomesh: this portal was bound before/;

function reportLine({ type, bytes }: Received): string {
  const report = decodeReport('error', bytes.subarray(HEADER_BYTES));
  if (report.kind === 'fault') return `${type} ${report.message}`;
  const fields = report.fields.map(({ letter, value }) => [String.fromCharCode(letter), value.toString()] as const);
  if (fields.some(([letter, value]) => letter === 'M' && NO_SUCH_PORTAL.test(value))) return `${type} no such portal`;
  const code = fields.find(([letter]) => letter === 'C')?.[1] ?? '';
  const simplified = type === 'E' ? SIMPLIFIED[code] : undefined;
  if (simplified !== undefined) return `E ${simplified}`;
  return [type, ...fields.flatMap(([letter, value]) => (LEFT_OUT.includes(letter) ? [] : [letter + value]))].join(
    ' | ',
  );
}
