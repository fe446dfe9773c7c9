/**
 * The value types that option tables are made of: durations, sizes, addresses, secrets. Every message says what is
 * expected and never repeats the value: whoever reports it knows the place, and whether the value may be shown.
 */
import { z } from 'zod';

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const UNIT_BYTES: Readonly<Record<string, number>> = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

/** A reference such as `${env:NAME}` may stand for any text, so patterns for editors let it through. */
const REFERENCE = '\\$\\{(?:env|file):';

/** A text with a pattern, for values that stay texts. `expected` completes "expected …". */
export function pattern(form: RegExp, expected: string) {
  return z
    .string({ error: `expected ${expected}` })
    .regex(form, { error: `expected ${expected}` })
    .meta({ pattern: `${form.source}|${REFERENCE}` });
}

function parsed<T>(expected: string, form: RegExp, parse: (match: RegExpExecArray) => T | undefined) {
  return z
    .string({ error: `expected ${expected}` })
    .meta({ pattern: `${form.source}|${REFERENCE}` })
    .transform((text, context) => {
      const match = form.exec(text);
      const value = match === null ? undefined : parse(match);
      if (value !== undefined) return value;
      context.addIssue({ code: 'custom', message: `expected ${expected}` });
      return z.NEVER;
    });
}

function withUnit(units: Readonly<Record<string, number>>, expected: string) {
  const form = new RegExp(`^([0-9]+(?:\\.[0-9]+)?) ?(${Object.keys(units).join('|')})$`);
  return parsed(expected, form, ([, count, unit]) => {
    const value = Math.round(Number(count) * (units[unit ?? ''] ?? 0));
    return Number.isSafeInteger(value) ? value : undefined;
  });
}

/** A duration such as `500ms`, `30s`, `5m`, `2h`, `7d`; read as whole milliseconds. */
export const duration = withUnit(UNIT_MS, 'a duration with its unit, such as 500ms, 30s, 5m, 2h or 7d');

/** A size such as `64KiB` or `1MiB`; read as whole bytes. */
export const byteSize = withUnit(UNIT_BYTES, 'a size with its unit, such as 512B, 64KiB, 4MiB or 1GiB');

/** Where a listener binds. Port 0 asks the system for a free one. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

const ADDRESS = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s/]+)):([0-9]{1,5})$/;

function addressOf([, bracketed, plain, port]: RegExpExecArray): Address | undefined {
  return Number(port) > 65_535 ? undefined : { host: bracketed ?? plain ?? '', port: Number(port) };
}

/** `host:port`, with an IPv6 host in brackets. */
export const address = parsed('an address such as 127.0.0.1:9700 or [::1]:9700', ADDRESS, addressOf);

/** The same, or `off` for a listener that is not wanted. */
export const addressOrOff = parsed(
  'an address such as 127.0.0.1:9700, or off',
  new RegExp(`^off$|${ADDRESS.source}`),
  (match): Address | 'off' | undefined => (match[0] === 'off' ? 'off' : addressOf(match)),
);

/** An absolute http or https URL without credentials, query or fragment; read without a trailing slash. */
export const httpUrl = parsed(
  'a URL such as http://127.0.0.1:3000, without user, query or fragment',
  /^https?:\/\/[^\s@?#/]+(?:\/[^\s?#]*)?$/,
  ([text]) => (URL.canParse(text) ? text.replace(/\/$/, '') : undefined),
);

/** A text that never shows in logs, errors or dumps: it prints as `***`. */
export class Secret {
  readonly #text: string;
  constructor(text: string) {
    this.#text = text;
  }
  /** The text itself. */
  reveal(): string {
    return this.#text;
  }
  toString(): string {
    return '***';
  }
  toJSON(): string {
    return '***';
  }
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return '***';
  }
}

const SECRET = 'expected a text that is not empty, best given as ${env:NAME} or ${file:/path}';

/** A secret; write it as `${env:NAME}` or `${file:/path}`. `writeOnly` marks it for whoever reads the table. */
export const secret = z
  .string({ error: SECRET })
  .min(1, { error: SECRET })
  .transform((text) => new Secret(text))
  .meta({ writeOnly: true });

const BEARER = 'expected a text of visible ASCII characters without spaces, best given as ${env:NAME} or ${file:/path}';

/** A secret that travels as bearer token: only what a header can carry and every client sends alike (RFC 9110 §5.5, VCHAR). */
export const bearerToken = z
  .string({ error: BEARER })
  .regex(/^[\x21-\x7e]+$/, { error: BEARER })
  .meta({ pattern: `^[!-~]+$|${REFERENCE}` })
  .transform((text) => new Secret(text))
  .meta({ writeOnly: true });

/** How much is logged. */
export const logOptions = z
  .strictObject({
    level: z
      .enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'])
      .default('info')
      .describe('The least severe messages that are logged'),
  })
  .prefault({})
  .describe('The log on standard error, one JSON object a line');
