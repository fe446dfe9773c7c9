/** DTM's protocol over the runner: begin, decide, register, record, whatever the request travelled by. */
import type { CodedError } from '../contract/errors.ts';
import type { NewTransaction } from '../contract/new-transaction.ts';
import type { Gid, Instant, Mode } from '../contract/transaction.ts';
import type { Event } from '../engine/event.ts';
import type { GlobalTransaction } from '../engine/global-transaction.ts';
import type { Log } from '../platform/log.ts';
import type { Records } from '../runner/ports.ts';
import type { Outcome, Runner } from '../runner/runner.ts';
import { readBranch } from './branch.ts';
import type { Read } from './custom-data.ts';
import { type DtmDefaults, readGid, readMode, readNewTransaction, topicsOf } from './new-transaction.ts';
import { failure, fault, ongoing, refusedBy, SUCCESS, unknownGid } from './reply.ts';
import type { DtmBranch, DtmReply, DtmService, DtmTransaction, DtmWorkflow } from './service.ts';
import { createTargetCheck, type TargetCheck } from './target.ts';
import { createTopics, type Topics } from './topics.ts';
import { progressViews, transactionView } from './view.ts';

/** `wait_result` waits until the transaction rests, and never longer than this; a client that goes away earlier ends it. */
const WAIT_MS_MAX = 600_000;

/** What all branches of one transaction may bring along: each change writes the whole transaction. */
const PAYLOAD_CHARACTERS_MAX = 16 * 1024 * 1024;
/** Topics that one message may name: each is looked up in the store. */
const TOPICS_MAX = 1000;
/** Types whose branches are registered one by one. */
const ENLISTING: ReadonlySet<Mode> = new Set<Mode>(['tcc', 'xa', 'mesh']);

export interface DtmServiceOptions {
  readonly defaults: DtmDefaults;
  readonly newGid: () => Gid;
  readonly now: () => Instant;
  readonly log: Log;
}

/** DTM's protocol over `runner`; topics are kept in `records`. */
export function createDtmService(runner: Runner, records: Records, options: DtmServiceOptions): DtmService {
  return new Service(runner, records, options);
}

class Service implements DtmService {
  readonly #runner: Runner;
  readonly #options: DtmServiceOptions;
  readonly #targetFault: TargetCheck;
  readonly #topics: Topics;

  constructor(runner: Runner, records: Records, options: DtmServiceOptions) {
    this.#runner = runner;
    this.#options = options;
    this.#targetFault = createTargetCheck();
    this.#topics = createTopics(records, options.now, (url) => this.#targetFault(url, protocolOf(url)));
  }

  newGid(): string {
    return this.#options.newGid();
  }

  async prepare(request: DtmTransaction): Promise<DtmReply> {
    const wanted = await this.#read(request);
    if (!wanted.ok) return fault(wanted.message);
    const { gid, mode } = wanted.value;
    // DTM would keep it undecided for ever; here it would run.
    if (mode === 'saga') return fault('trans type: saga cannot be prepared; submit it');
    const outcome = await this.#runner.startNew(wanted.value, 'prepared');
    if (!outcome.ok) return refusedBy(outcome.error, gid);
    const { status } = outcome.value.transaction;
    return status === 'prepared' ? SUCCESS : failure(`current status '${status}', cannot prepare.`);
  }

  async submit(request: DtmTransaction, signal: AbortSignal): Promise<DtmReply> {
    const mode = readMode(request.transType);
    if (!mode.ok) return fault(mode.message);
    if (mode.value === 'workflow') return this.#conclude(request);
    const known = mode.value === 'saga' ? undefined : await this.#known(request.gid);
    const wanted = await this.#read(request, known);
    if (!wanted.ok) return fault(wanted.message);
    const { gid } = wanted.value;
    const act = (): Promise<Outcome<GlobalTransaction>> => this.#submitted(wanted.value, known);
    const outcome = request.waitResult ? await this.#runner.andWait(gid, WAIT_MS_MAX, signal, act) : await act();
    if (!outcome.ok) return this.#notSubmitted(outcome.error, gid);
    const { status, reason = '' } = outcome.value;
    if (status === 'succeed') return SUCCESS;
    if (request.waitResult) {
      return status === 'failed' ? failure(reason) : ongoing('wait result not return success:');
    }
    return status === 'submitted' ? SUCCESS : failure(`current status '${status}', cannot sumbmit.`);
  }

  async abort(request: DtmTransaction): Promise<DtmReply> {
    const { gid } = request;
    const known = await this.#find(gid);
    if (!known.ok) return known.reply;
    const { mode, status } = known.transaction;
    const wanted = request.transType === '' || mode === 'mesh' ? mode : request.transType;
    // Who names another type means another transaction.
    if (mode === 'saga' || mode === 'workflow' || wanted !== mode) {
      return failure(`trans type: '${wanted}' current status '${status}', cannot abort.`);
    }
    const reason = request.rollbackReason === '' ? 'aborted by request' : request.rollbackReason;
    const outcome = await this.#runner.happen(known.transaction.gid, { kind: 'abort', reason });
    if (outcome.ok) return SUCCESS;
    return outcome.error.code === 'TRANSACTION_DECIDED'
      ? failure(`trans type: '${mode}' current status '${await this.#statusOf(gid)}', cannot abort.`)
      : refusedBy(outcome.error, gid);
  }

  async registerBranch(request: DtmBranch): Promise<DtmReply> {
    const known = await this.#find(request.gid);
    const notPrepared = failure(`no trans with gid: ${request.gid} status: prepared found`);
    if (!known.ok) return known.isUnknown ? notPrepared : known.reply;
    const { gid, mode, status, protocol = 'http' } = known.transaction;
    const event = readBranch(request, protocol, this.#targetFault);
    if (!event.ok) return fault(event.message);
    const isFitting = event.value.kind === 'record' ? mode === 'workflow' : ENLISTING.has(mode);
    if (!isFitting) {
      return status === 'prepared'
        ? fault(`trans type: no branch of type '${request.transType}' can join a transaction of type '${mode}'`)
        : notPrepared;
    }
    if (payloadCharacters(known.transaction) + request.payload.length > PAYLOAD_CHARACTERS_MAX) {
      return failure(`data: the branches of ${gid} have more than ${PAYLOAD_CHARACTERS_MAX} characters in base64.`);
    }
    const outcome = await this.#runner.happen(gid, event.value);
    if (outcome.ok) return SUCCESS;
    switch (outcome.error.code) {
      case 'GID_UNKNOWN':
      case 'TRANSACTION_ROLLED_BACK':
        return notPrepared;
      case 'TRANSACTION_DECIDED':
        // Decided; or, of a workflow, a step that another run has recorded with another result.
        return (await this.#statusOf(gid)) === 'prepared' ? fault('storage: UniqueKeyConflict') : notPrepared;
      case 'BAD_REQUEST':
        return fault('storage: UniqueKeyConflict');
      default:
        return refusedBy(outcome.error, gid);
    }
  }

  async prepareWorkflow(request: DtmTransaction): Promise<DtmReply<DtmWorkflow>> {
    const wanted = await this.#read({ ...request, transType: 'workflow' });
    if (!wanted.ok) return fault(wanted.message);
    const { gid } = wanted.value;
    const started = await this.#runner.startNew(wanted.value, 'prepared');
    if (!started.ok) return refusedBy(started.error, gid);
    const { transaction: first, created } = started.value;
    // A run that takes an unfinished workflow up needs no call of ours for a while.
    const resumed =
      created || first.status !== 'prepared' ? undefined : await this.#runner.happen(gid, { kind: 'resume' });
    if (resumed?.ok === false) return refusedBy(resumed.error, gid);
    const transaction = resumed?.value ?? first;
    return {
      kind: 'success',
      value: {
        status: transaction.status,
        rollbackReason: transaction.reason ?? '',
        result: transaction.result ?? '',
        transaction: transactionView(transaction),
        progresses: progressViews(transaction),
      },
    };
  }

  subscribe(topic: string, url: string, remark: string): Promise<DtmReply> {
    return this.#orFault(this.#topics.subscribe(topic, url, remark));
  }

  unsubscribe(topic: string, url: string): Promise<DtmReply> {
    return this.#orFault(this.#topics.unsubscribe(topic, url));
  }

  deleteTopic(topic: string): Promise<DtmReply> {
    return this.#orFault(this.#topics.delete(topic));
  }

  /** What `request` asks for. The topics of a message that is `known` already were looked up when it was prepared. */
  async #read(request: DtmTransaction, known?: GlobalTransaction): Promise<Read<NewTransaction>> {
    const topics = topicsOf(request);
    const { defaults } = this.#options;
    if (topics.length === 0) return readNewTransaction(request, defaults, this.#targetFault, new Map());
    if (topics.length > TOPICS_MAX) return { ok: false, message: `steps: more than ${TOPICS_MAX} topics` };
    if (known !== undefined) {
      return readNewTransaction(request, defaults, () => undefined, new Map(topics.map((topic) => [topic, [topic]])));
    }
    try {
      return readNewTransaction(request, defaults, this.#targetFault, await this.#topics.subscribersOf(topics));
    } catch (cause) {
      return { ok: false, message: this.#storeFault(cause) };
    }
  }

  async #submitted(wanted: NewTransaction, known: GlobalTransaction | undefined): Promise<Outcome<GlobalTransaction>> {
    const { gid, mode } = wanted;
    // What was prepared has nothing to compare in these two: the branches were registered one by one.
    if (known !== undefined && (mode === 'tcc' || mode === 'xa') && known.mode === mode) {
      return this.#runner.happen(gid, { kind: 'submit' });
    }
    const outcome = await this.#runner.startNew(wanted, 'submitted');
    return outcome.ok ? { ok: true, value: outcome.value.transaction } : outcome;
  }

  async #notSubmitted(error: CodedError, gid: Gid): Promise<DtmReply> {
    if (error.code !== 'TRANSACTION_ROLLED_BACK' && error.code !== 'TRANSACTION_DECIDED') return refusedBy(error, gid);
    return failure(`current status '${await this.#statusOf(gid)}', cannot sumbmit.`);
  }

  /** The program of a workflow has ended. */
  async #conclude(request: DtmTransaction): Promise<DtmReply> {
    const { reqExtra } = request;
    const status = reqExtra['status'];
    if (status !== 'succeed' && status !== 'failed') {
      return fault(
        `req_extra.status: expected succeed or failed, found ${JSON.stringify((status ?? '').slice(0, 60))}`,
      );
    }
    const gid = readGid(request.gid);
    if (!gid.ok) return fault(gid.message);
    const reason = reqExtra['rollback_reason'] ?? request.rollbackReason;
    const result = reqExtra['result'] ?? '';
    const event: Event = {
      kind: 'conclude',
      status,
      ...(result === '' ? {} : { result }),
      ...(reason === '' ? {} : { reason }),
    };
    const outcome = await this.#runner.happen(gid.value, event);
    return outcome.ok ? SUCCESS : this.#notSubmitted(outcome.error, gid.value);
  }

  /** The transaction, or how a client of DTM hears that there is none. */
  async #find(
    text: string,
  ): Promise<
    | { readonly ok: true; readonly transaction: GlobalTransaction }
    | { readonly ok: false; readonly isUnknown: boolean; readonly reply: DtmReply }
  > {
    const gid = readGid(text);
    if (!gid.ok) return { ok: false, isUnknown: true, reply: unknownGid(text) };
    const known = await this.#runner.read(gid.value);
    if (known.ok) return { ok: true, transaction: known.value };
    return { ok: false, isUnknown: known.error.code === 'GID_UNKNOWN', reply: refusedBy(known.error, text) };
  }

  async #known(text: string): Promise<GlobalTransaction | undefined> {
    const found = await this.#find(text);
    return found.ok ? found.transaction : undefined;
  }

  async #statusOf(gid: string): Promise<string> {
    return (await this.#known(gid))?.status ?? 'unknown';
  }

  async #orFault(reply: Promise<DtmReply>): Promise<DtmReply> {
    return reply.catch((cause: unknown) => fault(this.#storeFault(cause)));
  }

  #storeFault(cause: unknown): string {
    this.#options.log.error({ err: cause }, 'the store failed for topics');
    return 'the store failed; send the same request again';
  }
}

function protocolOf(url: string): 'http' | 'grpc' {
  return url.startsWith('http://') || url.startsWith('https://') ? 'http' : 'grpc';
}

function payloadCharacters({ branches, progress = [] }: GlobalTransaction): number {
  return (
    branches.reduce((sum, { payload = '' }) => sum + payload.length, 0) +
    progress.reduce((sum, { data }) => sum + data.length, 0)
  );
}
