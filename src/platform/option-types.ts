/** The value types that option tables are made of: durations, sizes, addresses, secrets. */
import { z } from 'zod';

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const UNIT_BYTES: Readonly<Record<string, number>> = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

function withUnit(units: Readonly<Record<string, number>>, what: string) {
  const pattern = new RegExp(`^([0-9]+(?:\\.[0-9]+)?) ?(${Object.keys(units).join('|')})$`);
  return z.string({ error: what }).transform((text, context) => {
    const [, count, unit] = pattern.exec(text) ?? [];
    if (count === undefined || unit === undefined) {
      context.addIssue({ code: 'custom', message: `expected ${what}, found "${text}"` });
      return z.NEVER;
    }
    return Number(count) * (units[unit] ?? 0);
  });
}

/** A duration such as `500ms`, `30s`, `5m`, `2h`, `7d`; read as milliseconds. */
export const duration = withUnit(UNIT_MS, 'a duration with its unit, such as 500ms, 30s, 5m, 2h or 7d');

/** A size such as `64KiB` or `1MiB`; read as bytes. */
export const byteSize = withUnit(UNIT_BYTES, 'a size with its unit, such as 512B, 64KiB, 4MiB or 1GiB');

/** Where a listener binds. Port 0 asks the system for a free one. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** `host:port`, with an IPv6 host in brackets. */
export const address = z.string({ error: 'expected an address such as 127.0.0.1:9700' }).transform((text, context) => {
  const [, bracketed, plain, port] = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):([0-9]{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || port === undefined || Number(port) > 65_535) {
    context.addIssue({
      code: 'custom',
      message: `expected an address such as 127.0.0.1:9700 or [::1]:9700, found "${text}"`,
    });
    return z.NEVER;
  }
  return { host, port: Number(port) };
});

/** An absolute http or https URL without credentials, query or fragment; read without a trailing slash. */
export const httpUrl = z
  .string({ error: 'expected a URL such as http://127.0.0.1:3000' })
  .transform((text, context) => {
    const url = URL.parse(text);
    if (
      url === null ||
      !/^https?:$/.test(url.protocol) ||
      url.username !== '' ||
      url.search !== '' ||
      url.hash !== ''
    ) {
      context.addIssue({
        code: 'custom',
        message: `expected a URL such as http://127.0.0.1:3000, without user, query or fragment, found "${text}"`,
      });
      return z.NEVER;
    }
    return text.replace(/\/$/, '');
  });

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

/** A secret; write it as `${env:NAME}` or `${file:/path}`. */
export const secret = z
  .string({ error: 'expected a text, best given as ${env:NAME} or ${file:/path}' })
  .min(1)
  .transform((text) => new Secret(text));

/** How much is logged. */
export const logOptions = z
  .strictObject({ level: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info') })
  .prefault({});
