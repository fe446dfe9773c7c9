/** The options of outbound routes, and what has to hold inside one. */
import { z } from 'zod';
import { duration, pattern } from '../../src/platform/option-types.ts';
import { routeFaults } from './route.ts';

const STATUS = 'a status such as 409, a class of them such as 2xx, or a range such as 500-504';

const statusRange = z
  .union([z.int().min(100).max(599), pattern(/^(?:[1-5]xx|[1-5][0-9]{2}(?:-[1-5][0-9]{2})?)$/, STATUS)], {
    error: `expected ${STATUS}`,
  })
  .transform((value, context): readonly [from: number, to: number] => {
    const text = String(value);
    if (text.endsWith('xx')) return [Number(`${text.charAt(0)}00`), Number(`${text.charAt(0)}99`)];
    const [from, to = from] = text.split('-').map(Number);
    if (from !== undefined && to !== undefined && from <= to) return [from, to];
    context.addIssue({ code: 'custom', message: `expected ${STATUS}` });
    return z.NEVER;
  });

/** HTTP statuses, read as ranges with both ends included. */
export const statuses = z.array(statusRange).min(1).max(20);

/** What HTTP statuses of an operation's answer mean. */
export const resultRules = z
  .strictObject({
    success: statuses.prefault(['2xx']).describe('It has taken effect'),
    failure: statuses.prefault([409]).describe('It has not and never will: do not ask again'),
    ongoing: statuses.prefault([425]).describe('Not yet: ask again at a fixed interval'),
  })
  .transform((rules, context) => {
    const all = [...rules.success, ...rules.failure, ...rules.ongoing];
    const overlap = all.find(([from, to], index) =>
      all.slice(index + 1).some((other) => from <= other[1] && other[0] <= to),
    );
    if (overlap === undefined) return rules;
    context.addIssue({
      code: 'custom',
      message: `expected each status once: ${overlap.join(' to ')} means two things`,
    });
    return z.NEVER;
  });

const DAY_MS = 86_400_000;

/** A duration of at least a millisecond that the coordinator takes (docs/api.md). */
const upToADay = duration.refine((ms) => ms >= 1 && ms <= DAY_MS, { error: 'expected a duration from 1ms to 1d' });

const OPERATION =
  'a method and a URL, such as "POST http://hotel/rooms/confirm", or grpc://host:port/package.Service/Method';
/** Placeholders of these texts are filled in for each call; see `template.ts`. */
const TEMPLATE = { format: 'atomesh-template' };

const operationText = pattern(/^(?:(?:GET|POST|PUT|PATCH|DELETE) https?:\/\/\S+|grpcs?:\/\/\S+)$/, OPERATION);

const operation = z
  .union(
    [
      operationText,
      z.strictObject({
        request: operationText.meta(TEMPLATE).describe('The method and the URL'),
        headers: z
          .record(
            pattern(/^[a-z0-9!#$%&'*+.^_`|~-]+$/, 'the name of a header in lower case'),
            z.string().meta(TEMPLATE),
          )
          .default({})
          .describe('Headers that are sent with it'),
        body: z.string().meta(TEMPLATE).optional().describe('The body; by default that of the call itself'),
      }),
    ],
    { error: `expected ${OPERATION}` },
  )
  .meta(TEMPLATE)
  .transform((value) => (typeof value === 'string' ? { request: value, headers: {}, body: undefined } : value));

/** One entry of `outbound.routes`. */
export const outboundRoute = z
  .strictObject({
    match: pattern(
      /^(?:(?:\*|[A-Z]+) https?:\/\/[^\s/?#@]+\/[^\s?#]*|grpcs?:\/\/[^\s/?#@]+\/[^\s/?#]+\/[^\s/?#]+)$/,
      'a method and a URL, such as "POST http://hotel/rooms/{room}", or grpc://host/package.Service/Method',
    ).describe('The calls that it is for: {name} and * stand for one segment of the path, /** at the end for the rest'),
    tcc: z
      .strictObject({
        confirm: operation.describe('Makes what the call has reserved final'),
        cancel: operation.describe('Gives it back'),
      })
      .optional()
      .describe('The call reserves; the outcome of the global transaction confirms or cancels it'),
    saga: z
      .strictObject({ compensate: operation.describe('Undoes what the call has done') })
      .optional()
      .describe('The call takes effect at once; a rollback compensates it'),
    message: z
      .strictObject({
        delay: duration
          .refine((ms) => ms <= 30 * DAY_MS, { error: 'expected a duration of at most 30d' })
          .prefault('0s')
          .describe('Delivered at the earliest so long after the commit'),
        attempts: z
          .int()
          .min(1)
          .max(1_000_000)
          .optional()
          .describe('Given up, visibly, after so many tries; by default never'),
        retryInterval: upToADay.optional().describe("Between the first two tries; by default the coordinator's own"),
      })
      .optional()
      .describe('The call is stored and answered with 202; it is delivered once the global transaction has committed'),
    timeout: upToADay.optional().describe('How long the other service may take to begin its answer, for each try'),
    retry: z
      .strictObject({
        attempts: z.int().min(2).max(20).default(3).describe('Tries in all'),
        interval: duration.prefault('200ms').describe('From the end of one try to the next'),
      })
      .optional()
      .describe(
        'Sends the call again when it is not answered, or with 502, 503 or 504; branch calls and safe methods only',
      ),
    results: resultRules.optional().describe('What the statuses of the operations that the coordinator calls mean'),
  })
  .transform((route, context) => {
    for (const { path, expected } of routeFaults(route)) {
      context.addIssue({ code: 'custom', path: [...path], message: `expected ${expected}` });
    }
    return route;
  });
