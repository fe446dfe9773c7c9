/** The barrier in Redis, through `redis` (node-redis 5): the user hands in the client, so that nothing is imported here. */
import { CodedError } from '../../contract/errors.ts';
import { INITIATOR, type Gid } from '../../contract/transaction.ts';
import { FailureError } from '../errors.ts';
import { CHECK_ADJUST, QUERY_PREPARED, type RedisScript } from './redis-scripts.ts';
import { barrierIdOf, undoneBy } from './rows.ts';
import type { BarrierChoice, BarrierOutcome, BarrierStore, BranchIdentity } from './types.ts';

/** What the barrier asks of a client; one of `createClient`, `createClientPool` or `createCluster` of `redis` has it. */
export interface RedisClient {
  eval(script: string, options: RedisArguments): Promise<unknown>;
  evalSha(sha1: string, options: RedisArguments): Promise<unknown>;
}

/** What a script is called with. */
export interface RedisArguments {
  keys: string[];
  arguments: string[];
}

export interface RedisBarrierOptions extends BarrierChoice {
  /**
   * How long barriers live; 604,800 (seven days) when absent. Longer than a global transaction may stay unfinished: what comes
   * after that takes effect again, or undoes nothing.
   */
  readonly expireSeconds?: number;
}

/** A change of an amount that never goes below zero, such as a stock. */
export interface RedisAdjustment {
  /** The key of the amount, an integer. */
  readonly key: string;
  /** What is added; negative to take away. */
  readonly amount: number;
}

const EXPIRE_SECONDS = 604_800;
const EXPIRE_SECONDS_MAX = 3_153_600_000;

/**
 * Adds to the amount once for this operation, if there is an amount and as much as is taken; `done` carries the new amount.
 * Rejects with a `FailureError` when an action, try or message finds too little: nothing was changed, and the answer is final.
 * An undoing operation that finds too little rejects with a `CodedError` `BRANCH_DIRTY`: it has to be asked again.
 * Rejects with the client's error, and nothing changed, when the key holds something else than an integer.
 */
export async function redisCheckAdjustAmount(
  client: RedisClient,
  branch: BranchIdentity,
  { key, amount }: RedisAdjustment,
  options: RedisBarrierOptions = {},
): Promise<BarrierOutcome<number>> {
  if (!Number.isSafeInteger(amount)) {
    throw new CodedError('BAD_REQUEST', `${amount} cannot be added to ${key}`, { hint: 'Use a safe integer.' });
  }
  const barrierId = barrierIdOf(options);
  const undone = undoneBy(branch.op);
  const keys = [key, barrierKey(branch, branch.op, barrierId)];
  if (undone !== undefined) keys.push(barrierKey(branch, undone, barrierId));
  const [kind, left] = (await run(client, CHECK_ADJUST, keys, [String(amount), expiry(options)])) as string[];
  switch (kind) {
    case 'done':
      return { kind, value: Number(left) };
    case 'repeated':
    case 'absorbed':
    case 'fenced':
      return { kind };
    case 'insufficient':
      throw tooLittle(branch, key, amount, left);
    default:
      throw new CodedError('INTERNAL', `the barrier's script answered ${String(kind)}`);
  }
}

/**
 * One adjustment as a local transaction, for `doAndSubmit` of a message and for `serveBehindBarrier`. `work` gets the new amount, to
 * make its result of; it comes after the adjustment, which it cannot take back. So an error of its is never a failure: it rejects as a
 * `CodedError` `OUTCOME_UNKNOWN`, and the next one who asks hears that the operation took effect.
 */
export function redisLocalTransaction(
  client: RedisClient,
  adjustment: RedisAdjustment,
  options: RedisBarrierOptions = {},
): Pick<BarrierStore<number>, 'call' | 'queryPrepared'> {
  return {
    async call(branch, work, choice = {}) {
      const outcome = await redisCheckAdjustAmount(client, branch, adjustment, { ...options, ...choice });
      if (outcome.kind !== 'done') return outcome;
      try {
        return { kind: 'done', value: await work(outcome.value) };
      } catch (cause) {
        throw new CodedError('OUTCOME_UNKNOWN', `${adjustment.key} is adjusted, but what came after it failed`, {
          retry: 'safe',
          hint: 'Do in work only what cannot fail: Redis has no rollback.',
          cause,
        });
      }
    },
    queryPrepared: (gid) => redisQueryPrepared(client, gid, options),
  };
}

/** How the operation `msg` of the message `gid` ended in Redis; one that did not take effect is fenced first, and never will. */
export async function redisQueryPrepared(
  client: RedisClient,
  gid: Gid,
  options: RedisBarrierOptions = {},
): Promise<'committed' | 'rolled-back'> {
  const key = barrierKey({ gid, branchId: INITIATOR }, 'msg', barrierIdOf(options));
  const value = await run(client, QUERY_PREPARED, [key], [expiry(options)]);
  return value === 'rollback' ? 'rolled-back' : 'committed';
}

function barrierKey(
  { gid, branchId }: Pick<BranchIdentity, 'gid' | 'branchId'>,
  op: string,
  barrierId: string,
): string {
  return `${gid}-${branchId}-${op}-${barrierId}`;
}

/** By name, and by its text when the server does not know it: a restarted one has forgotten it. */
async function run(client: RedisClient, script: RedisScript, keys: string[], values: string[]): Promise<unknown> {
  const options: RedisArguments = { keys, arguments: values };
  try {
    return await client.evalSha(script.sha1, options);
  } catch (error) {
    if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error;
  }
  return client.eval(script.text, options);
}

function expiry({ expireSeconds = EXPIRE_SECONDS }: RedisBarrierOptions): string {
  if (Number.isInteger(expireSeconds) && expireSeconds >= 1 && expireSeconds <= EXPIRE_SECONDS_MAX) {
    return String(expireSeconds);
  }
  throw new CodedError('BAD_REQUEST', `barriers cannot live ${expireSeconds} s`, {
    hint: `Use 1 to ${EXPIRE_SECONDS_MAX}, longer than a global transaction may stay unfinished.`,
  });
}

function tooLittle({ op, gid }: BranchIdentity, key: string, amount: number, left: string | undefined): Error {
  const found = left === undefined || left === '' ? 'there is none' : `there are ${left}`;
  const message = `${op} of ${gid} cannot add ${amount} to ${key}: ${found}`;
  if (undoneBy(op) === undefined && op !== 'confirm' && op !== 'commit') return new FailureError(message);
  return new CodedError('BRANCH_DIRTY', message, {
    retry: 'safe',
    hint: 'Somebody else took what has to be taken back. Put the amount right; the operation is asked for again.',
  });
}
