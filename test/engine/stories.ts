/** Random transactions of every mode, and random lives for them. */
import fc from 'fast-check';
import type { NewTransaction } from '../../src/contract/new-transaction.ts';
import type { BranchId, Instant, Mode, Operation } from '../../src/contract/transaction.ts';
import { decide } from '../../src/engine/decide.ts';
import type { Decision } from '../../src/engine/decision.ts';
import type { Effect } from '../../src/engine/effect.ts';
import type { Event } from '../../src/engine/event.ts';
import type { GlobalTransaction, Terms } from '../../src/engine/global-transaction.ts';
import { begun, begunWith, branchId, CALLBACK, participant, started, stepsOf, T0 } from './sample.ts';

export const MODES: readonly Mode[] = ['mesh', 'saga', 'tcc', 'xa', 'msg', 'workflow'];

export interface Told {
  readonly before: GlobalTransaction;
  readonly event: Event;
  readonly decision: Decision;
  readonly now: Instant;
  /** Every call that any decision so far has asked for, this one included: `action 01`. */
  readonly called: ReadonlySet<string>;
}

/** One entry of a life: what happens, and after how many milliseconds; now and then time goes back, as clocks do. */
type Entry = readonly [Happening, number];
/** `answer` takes one of the calls that are due, if there is one; the others come from outside. */
type Happening = { readonly kind: 'answer'; readonly which: number; readonly result: Result } | Event;
type Result = Extract<Event, { kind: 'replied' }>['result'];
export type Life = readonly Entry[];

const result = fc.constantFrom<Result>('success', 'success', 'success', 'failure', 'ongoing', 'unknown', 'dirty');
const id = fc.constantFrom('00', '01', '02', '03', '04', '05').map((text): BranchId => branchId(text));
const operation = fc.constantFrom<Operation>(
  'commit',
  'rollback',
  'confirm',
  'cancel',
  'compensate',
  'action',
  'msg',
  'workflow',
);
const words = fc.constantFrom('x', 'y');
const ended = fc.constantFrom('succeed' as const, 'failed' as const);

const run = fc.integer({ min: 1, max: 4 });
const terms: fc.Arbitrary<Terms> = fc.record(
  {
    delayMs: fc.integer({ min: 0, max: 9000 }),
    attemptsMax: fc.integer({ min: 1, max: 4 }),
    retryIntervalMs: fc.integer({ min: 10, max: 5000 }),
  },
  { requiredKeys: [] },
);

/** What happens to meshes with runs, and branches on terms of their own. */
const meshOnly: fc.Arbitrary<Event> = fc.oneof(
  fc.nat(9).map((id): Event => ({ kind: 'resume', id: `request ${id}` })),
  fc
    .tuple(run, fc.constantFrom('s1', 's2', 's3'), words)
    .map(([run, step, data]): Event => ({ kind: 'step', run, step: { step, data } })),
  run.map((run): Event => ({ kind: 'submit', run })),
  run.map((run): Event => ({ kind: 'abort', reason: 'r', run })),
  fc
    .tuple(
      fc.option(run, { nil: undefined }),
      fc.constantFrom('m', 'n'),
      fc.constantFrom('msg', 'tcc'),
      terms,
      fc.option(words, { nil: undefined }),
    )
    .map(([run, resource, kind, wished, hash]): Event => {
      const requests = hash === undefined ? {} : { hash, requests: { action: { method: 'PUT', body: hash } } };
      const branch = { ...participant(resource, kind), ...wished, ...requests };
      return { kind: 'enlist', branch, ...(run === undefined ? {} : { run }) };
    }),
);

/** Events from outside; stray answers are among them. */
const outside: fc.Arbitrary<Event> = fc.oneof(
  fc.constantFrom<Event>(
    { kind: 'submit' },
    { kind: 'abort', reason: 'r' },
    { kind: 'woken' },
    { kind: 'retry' },
    { kind: 'resume' },
  ),
  fc.record({ kind: fc.constant('replied' as const), branch: id, operation, result }),
  fc
    .tuple(fc.constantFrom('a', 'b', 'c', 'd'), fc.constantFrom('undo', 'xa', 'tcc', 'saga', 'msg'), words)
    .map(([resource, kind, host]): Event => ({ kind: 'enlist', branch: participant(resource, kind, host) })),
  fc.tuple(id, fc.constantFrom('xa', 'tcc'), words, fc.boolean()).map(([given, kind, host, isQuiet]): Event => {
    const branch = participant(`r${given}`, kind, host);
    const operations = isQuiet ? { ...branch.operations, confirm: '', commit: '' } : branch.operations;
    return { kind: 'enlist', branch: { ...branch, id: given, operations } };
  }),
  fc
    .tuple(id, fc.constantFrom('action', 'rollback'), ended, words)
    .map(([branch, operation, status, data]): Event => ({ kind: 'record', step: { branch, operation, status, data } })),
  ended.map((status): Event => ({ kind: 'conclude', status })),
  fc
    .tuple(fc.option(id, { nil: undefined }), fc.constantFrom('apply-before', 'keep-current', 'retry'))
    .map(([branch, how]): Event => ({ kind: 'resolve', how, ...(branch === undefined ? {} : { branch }) })),
  { weight: 4, arbitrary: meshOnly },
);

const happening: fc.Arbitrary<Happening> = fc.oneof(
  { weight: 1, arbitrary: outside },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('answer' as const), which: fc.nat(7), result }) },
);

/** What happens to a transaction. */
export const life: fc.Arbitrary<Life> = fc.array(fc.tuple(happening, fc.integer({ min: -2000, max: 9000 })), {
  maxLength: 60,
});

/** An order without circles: each step comes after some of those that are before it in a shuffled line. */
const order = fc
  .tuple(fc.shuffledSubarray([0, 1, 2, 3], { minLength: 4 }), fc.array(fc.nat(3), { minLength: 4, maxLength: 4 }))
  .map(([line, masks]) =>
    line.map((place, index) =>
      line.flatMap((other, at) => (other < place && (masks[index] ?? 0) & (1 << (at % 2)) ? [at] : [])),
    ),
  );

const request: fc.Arbitrary<Partial<NewTransaction>> = fc.record(
  {
    steps: fc
      .array(fc.constantFrom('ac', 'ac', 'ac', 'a', 'c', '-'), { maxLength: 4 })
      .map((texts) => stepsOf(...texts)),
    order,
    timeoutMs: fc.integer({ min: 1, max: 60_000 }),
    retryIntervalMs: fc.integer({ min: 10, max: 5000 }),
    retryLimit: fc.integer({ min: 0, max: 5 }),
    delayMs: fc.integer({ min: 1, max: 20_000 }),
    callback: fc.constant(CALLBACK),
  },
  { requiredKeys: ['steps'] },
);

/** A transaction of the mode, as it is begun. */
export function begunAs(mode: Mode): fc.Arbitrary<GlobalTransaction> {
  if (mode === 'mesh') return fc.constantFrom(begun(), begunWith('msg'), begunWith('workflow'));
  return fc
    .tuple(request, fc.constantFrom('prepared', 'submitted'))
    .map(([{ order, steps = [], ...wanted }, status]) => {
      const hasSteps = mode === 'saga' || mode === 'msg';
      const isOrdered = hasSteps && order !== undefined && order.flat().every((before) => before < steps.length);
      return started(mode, hasSteps ? status : 'prepared', {
        ...wanted,
        steps: hasSteps ? steps : [],
        ...(isOrdered ? { order: order.slice(0, steps.length) } : {}),
      });
    });
}

/** Lives through `life`; `see` looks at each decision. Answers the last state, and when that was. */
export function live(
  first: GlobalTransaction,
  entries: Life,
  see: (told: Told) => void = () => undefined,
): { readonly state: GlobalTransaction; readonly now: Instant } {
  let state = first;
  let now: number = T0;
  const called = new Set<string>();
  const note = (effects: readonly Effect[]): void => {
    for (const effect of effects) if (effect.kind === 'call') called.add(`${effect.operation} ${effect.branch}`);
  };
  note(decide(first, { kind: 'woken' }, T0).effects);
  for (const [happens, passed] of entries) {
    const due = decide(state, { kind: 'woken' }, now as Instant).effects;
    now += passed;
    const event = happens.kind === 'answer' ? answerTo(due, happens.which, happens.result) : happens;
    const decision = decide(state, event, now as Instant);
    note(decision.effects);
    see({ before: state, event, decision, now: now as Instant, called });
    state = decision.next;
  }
  return { state, now: now as Instant };
}

function answerTo(due: readonly Effect[], which: number, result: Result): Event {
  const calls = due.filter((effect) => effect.kind === 'call');
  const call = calls[which % Math.max(1, calls.length)];
  if (call === undefined) return { kind: 'woken' };
  return { kind: 'replied', branch: call.branch, operation: call.operation, result };
}
