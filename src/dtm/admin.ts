/** What operators and DTM's admin page ask: transactions and topics as they are stored, and three ways to intervene. */
import { CodedError } from '../contract/errors.ts';
import { isFinal, parseGid, type Gid, type GlobalStatus, type Instant, type Mode } from '../contract/transaction.ts';
import type { GlobalTransaction } from '../engine/global-transaction.ts';
import type { Log } from '../platform/log.ts';
import type { ListFilter, Records, StoredRecord } from '../runner/ports.ts';
import type { Outcome, Runner } from '../runner/runner.ts';
import { pageOf } from '../runner/view.ts';
import { isRecordKey } from './record-key.ts';
import { failure, fault, refusedBy, SUCCESS, unknownGid } from './reply.ts';
import type { DtmReply } from './service.ts';
import { branchViews, nextTryAt, transactionView, type Json } from './view.ts';

/** Transactions or records in one answer, at most. */
const LIMIT_MAX = 1000;
/** So many pages are looked through for transactions that wait. */
const PAGES_MAX = 2000;
/** Read at once: each may carry megabytes of payload. */
const PAGE = 50;

/** What `/all` may be narrowed by. Instants in milliseconds. */
export interface DtmFilter {
  readonly gid: string;
  /** `next_position` of the page before; empty for the first. */
  readonly position: string;
  readonly limit: number;
  readonly status: string;
  readonly transType: string;
  readonly createdFrom: number | undefined;
  readonly createdUntil: number | undefined;
}

/** Nothing rejects but for defects. */
export interface DtmAdmin {
  /** `{transaction, branches}`; of an unknown gid null and none. */
  query(gid: string): Promise<DtmReply<Json>>;
  /** `{transactions, next_position}` in the order of gid. */
  all(filter: DtmFilter): Promise<DtmReply<Json>>;
  /** Gives a transaction up: it has failed, and nothing is called any more. */
  forceStop(gid: string): Promise<DtmReply>;
  /** Everything that waits in this transaction is tried now. */
  resetNextCronTime(gid: string): Promise<DtmReply>;
  /** The same for up to `limit` transactions whose next try is more than `timeoutMs` away: `{has_remaining, succeed_count}`. */
  resetCronTime(timeoutMs: number, limit: number): Promise<DtmReply<Json>>;
  /** `{kv, next_position}`: the records of a category, in the order of their keys. */
  scanKv(category: string, position: string, limit: number): Promise<DtmReply<Json>>;
  /** `{kv}` with the one record, or none. */
  queryKv(category: string, key: string): Promise<DtmReply<Json>>;
}

export interface DtmAdminOptions {
  readonly now: () => Instant;
  readonly log: Log;
}

/** The operators' part of DTM's protocol over `runner` and `records`. */
export function createDtmAdmin(runner: Runner, records: Records, { now, log }: DtmAdminOptions): DtmAdmin {
  return { query, all, forceStop, resetNextCronTime, resetCronTime, scanKv, queryKv };

  async function query(text: string): Promise<DtmReply<Json>> {
    if (text === '') return fault('no gid specified');
    const known = await read(text);
    if (known.ok) {
      return found({ transaction: transactionView(known.value), branches: branchViews(known.value) });
    }
    if (known.error.code === 'GID_UNKNOWN') return found({ transaction: null, branches: [] });
    return refusedBy(known.error, text);
  }

  async function all(filter: DtmFilter): Promise<DtmReply<Json>> {
    if (filter.gid !== '') {
      const known = await read(filter.gid);
      if (known.ok) return found({ transactions: [transactionView(known.value)], next_position: '' });
      if (known.error.code === 'GID_UNKNOWN') return found({ transactions: null, next_position: '' });
      return refusedBy(known.error, filter.gid);
    }
    const narrowed = listFilterOf(filter);
    if (narrowed === undefined) return found({ transactions: [], next_position: '' });
    const limit = most(filter.limit);
    const outcome = await pageOf((part) => runner.list(part), { ...narrowed, limit }, transactionView);
    if (!outcome.ok) return refusedBy(outcome.error, '');
    return found({ transactions: outcome.value.views, next_position: outcome.value.next ?? '' });
  }

  async function forceStop(text: string): Promise<DtmReply> {
    const gid = parseGid(text);
    if (gid === undefined) return unknownGid(text);
    const outcome = await runner.giveUp(gid);
    if (outcome.ok) return SUCCESS;
    if (outcome.error.code !== 'TRANSACTION_DECIDED') return refusedBy(outcome.error, text);
    const known = await runner.read(gid);
    return failure(`global transaction force stop error. status: ${known.ok ? known.value.status : 'unknown'}. error:`);
  }

  async function resetNextCronTime(text: string): Promise<DtmReply> {
    const gid = parseGid(text);
    if (gid === undefined) return unknownGid(text);
    const outcome = await runner.retry(gid);
    return outcome.ok ? SUCCESS : refusedBy(outcome.error, text);
  }

  async function resetCronTime(timeoutMs: number, limit: number): Promise<DtmReply<Json>> {
    const later = (now() + timeoutMs) as Instant;
    const outcome = await waitingBeyond(later, most(limit) + 1);
    if (!outcome.ok) return refusedBy(outcome.error, '');
    const gids = outcome.value.slice(0, most(limit));
    const outcomes = await Promise.all(gids.map((gid) => runner.retry(gid)));
    return found({
      has_remaining: outcome.value.length > gids.length,
      succeed_count: outcomes.filter(({ ok }) => ok).length,
    });
  }

  /** Up to `limit` transactions in which a call waits for an instant after `later`. Those that only wait for their initiator do not count. */
  async function waitingBeyond(later: Instant, limit: number): Promise<Outcome<readonly Gid[]>> {
    const gids: Gid[] = [];
    let after = '';
    for (let pages = 0; pages < PAGES_MAX; pages += 1) {
      const outcome = await runner.list({ dueAfter: later, after, limit: PAGE });
      if (!outcome.ok) return outcome;
      for (const transaction of outcome.value) {
        if (waitsForCall(transaction, later) && gids.push(transaction.gid) === limit) return { ok: true, value: gids };
      }
      const last = outcome.value.at(-1);
      if (last === undefined || outcome.value.length < PAGE) break;
      after = last.gid;
    }
    return { ok: true, value: gids };
  }

  async function scanKv(category: string, position: string, limit: number): Promise<DtmReply<Json>> {
    if (!isRecordKey(category) || (position !== '' && !isRecordKey(position))) {
      return found({ kv: [], next_position: '' });
    }
    const listed = await stored(records.listRecords(category, position, most(limit) + 1));
    if (!listed.ok) return listed.reply;
    const page = listed.value.slice(0, most(limit));
    const isLast = listed.value.length === page.length;
    return found({ kv: page.map(recordView), next_position: isLast ? '' : (page.at(-1)?.key ?? '') });
  }

  async function queryKv(category: string, key: string): Promise<DtmReply<Json>> {
    if (!isRecordKey(category) || !isRecordKey(key)) return found({ kv: [] });
    const record = await stored(records.readRecord(category, key));
    if (!record.ok) return record.reply;
    return found({ kv: record.value === undefined ? [] : [recordView(record.value)] });
  }

  async function stored<T>(
    answer: Promise<T>,
  ): Promise<{ readonly ok: true; readonly value: T } | { readonly ok: false; readonly reply: DtmReply<Json> }> {
    try {
      return { ok: true, value: await answer };
    } catch (cause) {
      log.error({ err: cause }, 'the store failed for records');
      return { ok: false, reply: fault('the store failed; send the same request again') };
    }
  }

  /** A text that cannot be a gid is one that nobody has begun. */
  async function read(text: string): Promise<Outcome<GlobalTransaction>> {
    const gid = parseGid(text);
    return gid === undefined
      ? { ok: false, error: new CodedError('GID_UNKNOWN', 'no gid has this form') }
      : runner.read(gid);
  }
}

function most(limit: number): number {
  return Math.max(1, Math.min(limit, LIMIT_MAX));
}

function found(value: Json): DtmReply<Json> {
  return { kind: 'success', value };
}

const STATUSES: ReadonlySet<string> = new Set<GlobalStatus>(['prepared', 'submitted', 'aborting', 'succeed', 'failed']);
const MODES: ReadonlySet<string> = new Set<Mode>(['mesh', 'saga', 'tcc', 'xa', 'msg', 'workflow']);

/** Undefined when nothing can match: a word that is none, or a position that no page ended with. */
function listFilterOf(filter: DtmFilter): Omit<ListFilter, 'limit'> | undefined {
  const { position, status, transType, createdFrom, createdUntil } = filter;
  const after = parseGid(position);
  if (position !== '' && after === undefined) return undefined;
  if ((status !== '' && !STATUSES.has(status)) || (transType !== '' && !MODES.has(transType))) return undefined;
  return {
    ...(after === undefined ? {} : { after }),
    ...(status === '' ? {} : { status: status as GlobalStatus }),
    ...(transType === '' ? {} : { mode: transType as Mode }),
    ...(createdFrom === undefined ? {} : { createdFrom: createdFrom as Instant }),
    // Both ends are inside, as with DTM.
    ...(createdUntil === undefined ? {} : { createdBefore: (createdUntil + 1) as Instant }),
  };
}

function waitsForCall(transaction: GlobalTransaction, later: Instant): boolean {
  const { deadline: _, holdUntil: __, callback, ...calls } = transaction;
  // An initiator that has never been asked still has its time, and may be at work.
  const isAsked = callback !== undefined && callback.attempts > 0;
  return !isFinal(transaction.status) && (nextTryAt(isAsked ? { ...calls, callback } : calls) ?? 0) > later;
}

/** As DTM's KVStore prints (svr/storage/kv.go). */
function recordView({ category, key, value, version, createdAt, updatedAt }: StoredRecord): Json {
  return {
    id: 0,
    create_time: new Date(createdAt).toISOString(),
    update_time: new Date(updatedAt).toISOString(),
    cat: category,
    k: key,
    v: value,
    version,
  };
}
