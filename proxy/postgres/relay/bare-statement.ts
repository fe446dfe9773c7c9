/** Takes comments that carry a gid or a trace off the statements of messages on their way to the server. */
import { stripTraceComments } from '../../binding/strip-comment.ts';
import { FRONTEND, HEADER_BYTES, type FrameReader } from '../wire/frames.ts';
import { decodeParse, encodeParse } from '../wire/parse.ts';
import { decodeQuery, encodeQuery } from '../wire/query.ts';

/** The whole message without such comments: itself where there are none, and when it holds no statement. */
export function withoutTraceComments(frame: Buffer): Buffer {
  const type = frame[0];
  if ((type !== FRONTEND.query && type !== FRONTEND.parse) || !frame.includes(END_OF_COMMENT)) return frame;
  const body = frame.subarray(HEADER_BYTES);
  if (type === FRONTEND.query) {
    const query = decodeQuery(body);
    const text = query.kind === 'fault' ? undefined : bare(query.text);
    return text === undefined ? frame : encodeQuery({ kind: 'query', text });
  }
  const parse = decodeParse(body);
  const text = parse.kind === 'fault' ? undefined : bare(parse.text);
  return parse.kind === 'fault' || text === undefined ? frame : encodeParse({ ...parse, text });
}

/** The same of the whole message that a reader is at; undefined when that is itself. */
export function bareInstead({ bytes, start, end }: FrameReader): Buffer | undefined {
  const frame = bytes.subarray(start, end);
  const bare = withoutTraceComments(frame);
  return bare === frame ? undefined : bare;
}

/**
 * The text without such comments; undefined when it has none. A comment in front becomes as many blanks as it had characters, so that
 * the server's errors tell positions of the client's own text. Text in another encoding than UTF-8 stays as it is.
 */
function bare(bytes: Buffer): Buffer | undefined {
  const text = bytes.toString('utf8');
  if (!Buffer.from(text).equals(bytes)) return undefined;
  const stripped = stripTraceComments(text);
  if (stripped.text === text) return undefined;
  return Buffer.from(' '.repeat(stripped.charactersInFront) + stripped.text);
}

const END_OF_COMMENT = '*/';
