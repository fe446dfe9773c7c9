/** SASLprep of passwords (RFC 4013), with the deviations of PostgreSQL, whose stored passwords have to be met. */
import { LEFT_TO_RIGHT, PROHIBITED, RIGHT_TO_LEFT, UNASSIGNED } from './code-points.ts';

/** RFC 3454, C.1.2. */
const SPACES = /[\u00a0\u1680\u2000-\u200b\u202f\u205f\u3000]/g;
/** RFC 3454, B.1, without U+200B, which is a space above and comes first. */
// oxlint-disable-next-line no-misleading-character-class -- the code points themselves are meant, not what they combine to
const NOTHING = /[\u00ad\u034f\u1806\u180b\u180c\u180d\u200c\u200d\u2060\ufe00-\ufe0f\ufeff]/gu;
const ASCII = /^[\0-\x7f]*$/;

/**
 * The bytes that a password stands for in SCRAM. A password that cannot be prepared is taken as it is: so do the server when a password
 * is set, and libpq (PG source: pg_saslprep and its callers). As there, what is prohibited is looked for before the normalisation.
 */
export function preparedPassword(password: string): Buffer {
  if (ASCII.test(password)) return Buffer.from(password);
  const mapped = password.replace(SPACES, ' ').replace(NOTHING, '');
  return Buffer.from(isAllowed(mapped) ? mapped.normalize('NFKC') : password);
}

function isAllowed(text: string): boolean {
  const codes = Array.from(text, (character) => character.codePointAt(0) ?? 0);
  const [first] = codes;
  const last = codes.at(-1);
  if (first === undefined || last === undefined) return false;
  if (codes.some((code) => PROHIBITED.has(code) || UNASSIGNED.has(code))) return false;
  if (!codes.some((code) => RIGHT_TO_LEFT.has(code))) return true;
  // RFC 3454, section 6: either direction, but not both, and the right-to-left one from end to end.
  return RIGHT_TO_LEFT.has(first) && RIGHT_TO_LEFT.has(last) && !codes.some((code) => LEFT_TO_RIGHT.has(code));
}
