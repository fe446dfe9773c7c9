/** What coordinators send each other: an event that a client of one asked for, for a transaction that the other holds. */
import { z } from 'zod';
import { type BranchId, type Gid, parseBranchId, parseGid } from '../contract/transaction.ts';
import type { Event } from '../engine/event.ts';

/** The path under which each coordinator takes events from the others. */
export const PEER_PATH = '/v1/peers/events';

/** What is sent there, as JSON. */
export interface PeerRequest {
  readonly gid: Gid;
  readonly event: Event;
}

/** What a client can ask for. Answers of branches and wakes are each coordinator's own. */
type Asked = Exclude<Event['kind'], 'replied' | 'woken'>;

const gid = z.string().refine((text): text is Gid => parseGid(text) !== undefined);
const branchId = z.string().refine((text): text is BranchId => parseBranchId(text) !== undefined);
const operation = z.enum(['commit', 'rollback', 'confirm', 'cancel', 'action', 'compensate', 'msg', 'workflow']);
const milliseconds = z.number().nonnegative();
const ended = z.enum(['succeed', 'failed']);
const run = z.int().positive();
const statuses = z.array(z.tuple([z.int(), z.int()]).readonly());
const texts = z.record(z.string(), z.string());

/** Strict: what another version means by more than this, this one would lose. The sender has checked what the values mean. */
const EVENTS: { readonly [Kind in Asked]: z.ZodType<Extract<Event, { readonly kind: Kind }>> } = {
  enlist: z.strictObject({
    kind: z.literal('enlist'),
    branch: z.strictObject({
      id: branchId.exactOptional(),
      kind: z.enum(['undo', 'xa', 'tcc', 'saga', 'msg']),
      resource: z.string(),
      operations: z.partialRecord(operation, z.string()),
      payload: z.string().exactOptional(),
      hash: z.string().exactOptional(),
      requests: z
        .partialRecord(
          operation,
          z.strictObject({
            method: z.string().exactOptional(),
            headers: texts.exactOptional(),
            body: z.string().exactOptional(),
          }),
        )
        .exactOptional(),
      results: z.strictObject({ success: statuses, failure: statuses, ongoing: statuses }).exactOptional(),
      delayMs: milliseconds.exactOptional(),
      attemptsMax: z.int().positive().exactOptional(),
      retryIntervalMs: milliseconds.exactOptional(),
      requestTimeoutMs: milliseconds.exactOptional(),
    }),
    run: run.exactOptional(),
  }),
  submit: z.strictObject({
    kind: z.literal('submit'),
    delayMs: milliseconds.exactOptional(),
    run: run.exactOptional(),
    ended: run.exactOptional(),
  }),
  abort: z.strictObject({ kind: z.literal('abort'), reason: z.string(), run: run.exactOptional() }),
  retry: z.strictObject({
    kind: z.literal('retry'),
    by: z.string().exactOptional(),
    reason: z.string().exactOptional(),
  }),
  resolve: z.strictObject({
    kind: z.literal('resolve'),
    branch: branchId.exactOptional(),
    how: z.enum(['apply-before', 'keep-current', 'retry']),
    by: z.string().exactOptional(),
    reason: z.string().exactOptional(),
  }),
  stop: z.strictObject({
    kind: z.literal('stop'),
    by: z.string().exactOptional(),
    reason: z.string().exactOptional(),
  }),
  resume: z.strictObject({ kind: z.literal('resume'), id: z.string().exactOptional() }),
  step: z.strictObject({
    kind: z.literal('step'),
    run,
    step: z.strictObject({ step: z.string(), data: z.string() }),
  }),
  record: z.strictObject({
    kind: z.literal('record'),
    step: z.strictObject({ branch: branchId, operation: z.string(), status: ended, data: z.string() }),
  }),
  conclude: z.strictObject({
    kind: z.literal('conclude'),
    status: ended,
    result: z.string().exactOptional(),
    reason: z.string().exactOptional(),
  }),
};

const REQUEST: z.ZodType<PeerRequest> = z.strictObject({
  gid,
  event: z.union(Object.values(EVENTS) as readonly z.ZodType<Event>[]),
});

/** The request in `text`; undefined when it is none that this version knows. */
export function peerRequestOf(text: string): PeerRequest | undefined {
  try {
    return REQUEST.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
