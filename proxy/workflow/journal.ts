/**
 * The journal of the workflows that run at this sidecar: every call that a program makes is looked up among what earlier runs have
 * recorded, and what is answered for good is recorded before the program hears of it.
 */
import { CodedError } from '../../src/contract/errors.ts';
import type { Gid, Mark } from '../../src/contract/transaction.ts';
import type { Log } from '../../src/platform/log.ts';
import type { Gate, HeldAnswer, Verdict } from '../http/admission.ts';
import type { Journal, JournalEntry, JournaledCall } from '../outbound/journal.ts';
import { isFinalStatus } from './conclude.ts';
import { superseded, type WorkflowRun } from './run.ts';
import { callName, hashOf, type PlacedCall } from './step.ts';
import { withoutFraming } from './send.ts';

/** A recorded answer is given with this header. */
const REPLAYED_HEADER = 'atomesh-replayed';
const KEY_HEADER = 'idempotency-key';
/** What may be sent twice without harm (RFC 9110 §9.2.2). */
const IDEMPOTENT = /^(?:GET|HEAD|OPTIONS|TRACE|PUT|DELETE)$/;

export interface JournalParts {
  /** The runs that are under way here. */
  readonly runs: ReadonlyMap<Gid, WorkflowRun>;
  /** Answers are recorded up to this size, in bytes. */
  readonly bodyBytesMax: number;
  readonly log: Log;
}

/** The journal over `runs`. */
export function openJournal({ runs, bodyBytesMax, log }: JournalParts): Journal {
  return {
    async enter(call) {
      const run = runOf(call.mark, runs);
      if (run instanceof CodedError) return refuse(run);
      const body = await call.body();
      if (body instanceof CodedError) return refuse(body);
      const hash = body.byteLength === 0 ? '' : hashOf(body);
      const taken = await run.take({ method: call.method, url: call.url, hash });
      switch (taken.kind) {
        case 'refused':
          log.error(
            { gid: run.gid, run: run.number, err: taken.error.message },
            'a workflow does not do what it did before',
          );
          return refuse(taken.error);
        case 'recorded': {
          const { status, headers, body: recorded = Buffer.alloc(0) } = taken.answer;
          const isOfHead = call.method === 'HEAD';
          return {
            kind: 'answer',
            answer: { status, headers: [...headers, REPLAYED_HEADER, 'true'], body: recorded, isOfHead },
            run: run.number,
            step: callName(taken.call),
            headers: keyHeaders(run, taken.call, call),
          };
        }
        case 'new':
          return await begin(run, taken.call, call, bodyBytesMax);
      }
    },
  };
}

/** The run that a call belongs to; only the one that is under way here may call. */
function runOf({ gid, operation }: Mark, runs: ReadonlyMap<Gid, WorkflowRun>): WorkflowRun | CodedError {
  const run = runs.get(gid);
  return run === undefined || operation?.task !== `run${run.number}` ? superseded(gid) : run;
}

/** A call that goes out. One that may not be repeated is recorded first: a later run that finds no end of it cannot go on. */
async function begin(
  run: WorkflowRun,
  place: PlacedCall,
  call: JournaledCall,
  bodyBytesMax: number,
): Promise<JournalEntry> {
  const step = callName(place);
  const isRepeatable = call.isBranch || IDEMPOTENT.test(call.method);
  if (!isRepeatable) {
    try {
      await run.record({ kind: 'started', call: place });
    } catch (cause) {
      run.release(place);
      return refuse(recordingError(cause, 'The call was not made'));
    }
  }
  return {
    kind: 'call',
    run: run.number,
    step,
    headers: keyHeaders(run, place, call),
    gate: openCallGate({ run, call: place, isRepeatable }, bodyBytesMax),
  };
}

/** A key of the step's own for a call that has none. */
function keyHeaders({ gid }: WorkflowRun, place: PlacedCall, { headers }: JournaledCall): readonly string[] {
  const hasKey = headers.some((name, index) => index % 2 === 0 && name.toLowerCase() === KEY_HEADER);
  return hasKey ? [] : [KEY_HEADER, hashOf(`${gid} ${callName(place)}`)];
}

interface MadeCall {
  readonly run: WorkflowRun;
  readonly call: PlacedCall;
  /** Where it is not, `started` is recorded, and no later run begins without an answer for good. */
  readonly isRepeatable: boolean;
}

function openCallGate({ run, call, isRepeatable }: MadeCall, bodyBytesMax: number): Gate {
  /**
   * Set while its name must stay taken, whoever leaves: its end is being recorded. A program that leaves later, while it reads the answer,
   * has not heard it.
   */
  let isRecording = false;
  let hasLeft = false;

  const answered = async ({ status, headers, body }: HeldAnswer): Promise<Verdict> => {
    if (!isFinalStatus(status)) {
      if (isRepeatable) await run.tried(call);
      run.release(call);
      return PASS;
    }
    // Too long or endless: it is passed on without a record. A later run may ask again for what may be repeated, and no later run
    // begins after what may not, because it stands as started.
    if (body === undefined || isStream(headers)) return PASS;
    isRecording = true;
    try {
      await run.finish(call, { status, headers: recordedHeaders(call, headers), body });
      // Read after the wait: the program may have left meanwhile, and then its next try is answered from the records.
      isRecording = false;
      if (hasLeft) run.release(call);
      return PASS;
    } catch (cause) {
      run.release(call);
      const error = recordingError(cause, 'The call was answered, and its answer could not be recorded');
      return { kind: 'replace', error, headers: [] };
    }
  };
  return {
    keeps: bodyBytesMax,
    answered,
    failed() {
      run.release(call);
      return Promise.resolve([]);
    },
    clientLeft() {
      // Once: by a second time its next try may have taken the place.
      if (hasLeft) return;
      hasLeft = true;
      if (!isRecording) run.release(call);
    },
  };
}

const PASS: Verdict = { kind: 'pass', headers: [] };

/** The length of a body is said anew with each answer, but for HEAD, whose program has asked for nothing else perhaps. */
function recordedHeaders({ method }: PlacedCall, headers: readonly string[]): readonly string[] {
  const length = headers.findIndex((name, index) => index % 2 === 0 && name.toLowerCase() === 'content-length');
  const recorded = withoutFraming(headers);
  return method === 'HEAD' && length !== -1 ? [...recorded, 'content-length', headers[length + 1] ?? ''] : recorded;
}

/** The end of a gRPC call is in its trailers, which are not kept. */
function isStream(headers: readonly string[]): boolean {
  return headers.some(
    (name, index) =>
      index % 2 === 0 &&
      name.toLowerCase() === 'content-type' &&
      /^(?:application\/grpc|text\/event-stream)/i.test(headers[index + 1] ?? ''),
  );
}

function recordingError(cause: unknown, what: string): CodedError {
  if (cause instanceof CodedError && cause.code !== 'COORDINATOR_UNREACHABLE') return cause;
  return new CodedError('COORDINATOR_UNREACHABLE', `${what}: the coordinator does not answer`, {
    retry: 'safe',
    hint: 'Answer with a 5xx: the workflow is run again from its recorded steps',
    cause,
  });
}

function refuse(error: CodedError): JournalEntry {
  return { kind: 'refuse', error };
}
