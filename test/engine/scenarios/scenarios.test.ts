/**
 * Stories of transactions, as data: each file beside this one has those of a mode. A story is told through `decide` alone, event by event, and
 * after each the state has to be what it says. What is not said must not be there.
 *
 * ```yaml
 * - story: what happens, as a sentence
 *   begin: { steps: [ac, ac], timeout: 30s }   # a step with `a` has an action, with `c` a compensation
 *   events:
 *     - { at: 0s, event: begins, status: submitted, calls: [action 01] }
 *     - { at: 1s, event: action 01 success, calls: [action 02] }
 *     - { at: 9s, event: abort, refused: TRANSACTION_DECIDED, calls: [action 02] }
 * ```
 *
 * | field | meaning |
 * | --- | --- |
 * | `at` | how long after the begin, in `ms`, `s` or `m`; never earlier than the event before |
 * | `event` | `begins`, `time passes`, `the coordinator restarts`: nothing but time; `enlist <resource> [<kind>]`; `submit`; `abort`; `retry`; `stop`; `resume`; `<operation> <branch> <result>`: what a call answers; `record <branch>`: a step of a workflow; `conclude succeed` or `failed`; of a mesh that is a workflow `run <id>`, `step <run> <name>`, `submit <run>` |
 * | `status` | the status from then on; absent: as before |
 * | `calls` | every call that is due then; a call that is under way stays due until it is answered; absent: none |
 * | `refused` | the code of the error that whoever made the event gets; absent: it is taken |
 *
 * `begin` may also have `callback`: the initiator is asked, as `msg` or `workflow`. A mesh has nothing else there.
 * A call that is due only because time has passed must have been announced: the decision before asked to be woken by then.
 */
import { readFileSync, readdirSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { parse } from 'yaml';
import { z } from 'zod';
import type { BranchKind, Instant, Mode } from '../../../src/contract/transaction.ts';
import { branchIdOf } from '../../../src/engine/branches/id.ts';
import { decide } from '../../../src/engine/decide.ts';
import type { Effect } from '../../../src/engine/effect.ts';
import type { Event } from '../../../src/engine/event.ts';
import type { GlobalTransaction } from '../../../src/engine/global-transaction.ts';
import { after, begun, begunWith, branchId, CALLBACK, participant, reply, started, stepsOf, T0 } from '../sample.ts';

const UNIT_MS = { ms: 1, s: 1000, m: 60_000 } as const;
const duration = z
  .string()
  .regex(/^[0-9.]+(?:ms|s|m)$/)
  .transform((text) => Number.parseFloat(text) * UNIT_MS[text.replace(/^[0-9.]+/, '') as keyof typeof UNIT_MS]);
const strings = z.array(z.string()).default([]);

const stories = z.array(
  z.strictObject({
    story: z.string(),
    begin: z.strictObject({
      steps: strings,
      timeout: duration.optional(),
      callback: z.enum(['msg', 'workflow']).optional(),
    }),
    events: z.array(
      z.strictObject({
        at: duration,
        event: z.string(),
        status: z.enum(['prepared', 'submitted', 'aborting', 'succeed', 'failed']).optional(),
        calls: strings,
        refused: z.string().optional(),
      }),
    ),
  }),
);
type Story = z.infer<typeof stories>[number];

/** The forms of `event`, and what each is; a group in brackets is a word of the form. */
const FORMS: readonly (readonly [RegExp, (words: readonly string[], state: GlobalTransaction) => Event])[] = [
  [/^(?:begins|time passes|the coordinator restarts)$/, () => ({ kind: 'woken' })],
  [
    /^enlist (\S+)(?: (\S+))?$/,
    ([resource = '', kind], { mode, branches }) => {
      const branch = participant(resource, (kind ?? KINDS[mode]) as BranchKind);
      // Initiators of DTM's protocol number their branches themselves.
      return { kind: 'enlist', branch: mode === 'mesh' ? branch : { ...branch, id: branchIdOf(branches.length + 1) } };
    },
  ],
  [/^submit(?: (\d+))?$/, ([run]) => ({ kind: 'submit', ...(run === undefined ? {} : { run: Number(run) }) })],
  [/^abort$/, () => ({ kind: 'abort', reason: 'no stock' })],
  [/^(retry|stop|resume)$/, ([kind]) => ({ kind: kind as 'retry' | 'stop' | 'resume' })],
  [/^run (\S+)$/, ([id = '']) => ({ kind: 'resume', id })],
  [/^step (\d+) (\S+)$/, ([run, step = '']) => ({ kind: 'step', run: Number(run), step: { step, data: 'e30=' } })],
  [
    /^record (\d+)$/,
    ([id = '']) => ({
      kind: 'record',
      step: { branch: branchId(id), operation: 'action', status: 'succeed', data: 'e30=' },
    }),
  ],
  [/^conclude (succeed|failed)$/, ([status]) => ({ kind: 'conclude', status: status as 'succeed' | 'failed' })],
  [
    /^(\S+) (\d+) (success|failure|ongoing|unknown|dirty)$/,
    ([operation, id = '', result]) =>
      reply(id, operation as Parameters<typeof reply>[1], result as Parameters<typeof reply>[2]),
  ],
];

/** What takes part in a transaction of the mode when it is not said. */
const KINDS: Readonly<Partial<Record<Mode, BranchKind>>> = { mesh: 'undo', tcc: 'tcc', xa: 'xa' };

function eventOf(text: string, state: GlobalTransaction): Event {
  for (const [form, make] of FORMS) {
    const words = form.exec(text);
    if (words !== null) return make(words.slice(1), state);
  }
  throw new Error(`"${text}" is no event`);
}

function firstState(mode: Mode, { steps, timeout, callback }: Story['begin']): GlobalTransaction {
  if (mode === 'mesh') return callback === undefined ? begun() : begunWith(callback);
  return started(mode, mode === 'saga' ? 'submitted' : 'prepared', {
    steps: stepsOf(...steps),
    ...(timeout === undefined ? {} : { timeoutMs: timeout }),
    ...(callback === undefined ? {} : { callback: CALLBACK }),
  });
}

function tell(t: ExecutionContext, mode: Mode, { begin, events }: Story): void {
  let state = firstState(mode, begin);
  let due: readonly Effect[] = decide(state, { kind: 'woken' }, T0).effects;
  let status = state.status;
  let last: Instant = T0;
  for (const [index, { at, event: text, status: said = status, calls, refused }] of events.entries()) {
    const where = `event ${index + 1}, ${text}`;
    const now = after(at);
    const event = eventOf(text, state);
    const decision = decide(state, event, now);
    const called = callsOf(decision.effects);
    t.true(now >= last, `${where}: it is earlier than the one before`);
    t.is<string | undefined, string | undefined>(decision.refused?.code, refused, where);
    t.is(decision.next.status, said, where);
    t.deepEqual(called, calls, where);
    if (event.kind === 'woken' && called.some((call) => !callsOf(due).includes(call))) {
      t.true(
        due.some((effect) => effect.kind === 'wake' && effect.at <= now),
        `${where}: nobody has asked to be woken`,
      );
    }
    state = decision.next;
    due = decision.effects;
    status = said;
    last = now;
  }
}

function callsOf(effects: readonly Effect[]): readonly string[] {
  return effects.flatMap((effect) => (effect.kind === 'call' ? [`${effect.operation} ${effect.branch}`] : []));
}

for (const file of readdirSync(import.meta.dirname).filter((name) => name.endsWith('.yaml'))) {
  const mode = file.replace('.yaml', '') as Mode;
  for (const story of stories.parse(parse(readFileSync(`${import.meta.dirname}/${file}`, 'utf8')))) {
    test(`${mode}: ${story.story}`, (t) => tell(t, mode, story));
  }
}
