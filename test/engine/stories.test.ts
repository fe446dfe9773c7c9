import test from 'ava';
import fc from 'fast-check';
import { isFinal, type Instant, type Mode } from '../../src/contract/transaction.ts';
import { predecessorsOf } from '../../src/engine/branches/steps.ts';
import { decide } from '../../src/engine/decide.ts';
import type { GlobalTransaction } from '../../src/engine/global-transaction.ts';
import { outcomeOf } from '../../src/engine/status.ts';
import { begunAs, life, live, MODES, type Life, type Told } from './stories.ts';

/** Lets `see` look at every decision in random lives of transactions of the mode. A failure prints its seed and the smallest life. */
function checkLives(mode: Mode, see: (told: Told) => void): void {
  fc.assert(
    fc.property(begunAs(mode), life, (first, entries) => {
      live(first, entries, see);
    }),
    { numRuns: 1000 },
  );
}

function must(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}

/** Nobody could be asked anything: it waits for a person, or for its initiator. */
function isLeft({ mode, status, branches, callback }: GlobalTransaction): boolean {
  if (mode === 'msg' || mode === 'workflow') return status === 'prepared' && callback === undefined;
  return status === 'aborting' && branches.every((branch) => branch.status === 'dirty' || branch.status === 'succeed');
}

for (const mode of MODES) {
  test(`${mode}: what is unfinished always has a call or a wake due, unless there is nobody to ask`, (t) => {
    checkLives(mode, ({ decision: { next, effects } }) => {
      must(effects.length > 0 === (!isFinal(next.status) && !isLeft(next)), `due: ${JSON.stringify(effects)}`);
    });
    t.pass();
  });

  test(`${mode}: an outcome never changes, and what is over changes in nothing and calls nobody`, (t) => {
    checkLives(mode, ({ before, decision: { next, effects } }) => {
      const known = outcomeOf(before);
      must(known === 'undecided' || outcomeOf(next) === known, 'the outcome changed');
      must(!isFinal(before.status) || (next === before && effects.length === 0), 'what was over went on');
      must(isFinal(next.status) === (next.finishedAt !== undefined), 'over without an end, or the other way round');
    });
    t.pass();
  });

  test(`${mode}: calls have a URL and are due, at most one for each branch, and at most one wake, which lies ahead`, (t) => {
    checkLives(mode, ({ decision: { next, effects }, now }) => {
      const wakes = effects.filter((effect) => effect.kind === 'wake');
      must(wakes.length <= 1 && wakes.every(({ at }) => at > now), 'wakes');
      const calls = effects.filter((effect) => effect.kind === 'call');
      must(new Set(calls.map(({ branch }) => branch)).size === calls.length, 'two calls to one branch');
      for (const call of calls) {
        const branch = [...next.branches, next.callback].find((candidate) => candidate?.id === call.branch);
        must(branch !== undefined && branch.status === 'prepared', 'a call to a branch that is done');
        must((branch?.notBefore ?? now) <= now, 'a call before its time');
        must(call.urls.length > 0 && call.urls.every((url) => url !== ''), 'a call to nowhere');
      }
    });
    t.pass();
  });

  test(`${mode}: requests and successes that come twice change nothing the second time`, (t) => {
    checkLives(mode, ({ event, decision, now }) => {
      // A call of a workflow is a try whatever it answers: only the program itself says how it ended.
      const isTry = event.kind === 'replied' && (event.result !== 'success' || event.operation === 'workflow');
      if (isTry || event.kind === 'resume') return;
      const again = decide(decision.next, event, now);
      const isSign = mode === 'workflow' ? event.kind === 'record' : event.kind === 'step' || event.kind === 'enlist';
      if (isSign) must(JSON.stringify(again.next) === JSON.stringify(decision.next), 'recorded twice');
      else must(again.next === decision.next, 'changed by a repetition');
      if (decision.refused === undefined) must(again.refused === undefined, 'refused by a repetition');
    });
    t.pass();
  });

  test(`${mode}: a refused event changes no more than the time does, and a second look nothing at all`, (t) => {
    checkLives(mode, ({ before, decision: { next, refused }, now }) => {
      const passed = decide(before, { kind: 'woken' }, now).next;
      must(refused === undefined || JSON.stringify(next) === JSON.stringify(passed), 'a refusal changed something');
      must(refused === undefined || refused.hint.length > 0, 'a refusal without a hint');
      must(decide(next, { kind: 'woken' }, now).next === next, 'a second look changed something');
    });
    t.pass();
  });

  test(`${mode}: whatever has happened, it ends once everybody answers`, (t) => {
    fc.assert(
      fc.property(begunAs(mode), life, (first, entries) => {
        const { state, now } = answerEverything(...stateAfter(first, entries));
        must(isFinal(state.status) || isLeft(state) || mode === 'workflow', `still ${state.status} at ${now}`);
      }),
      { numRuns: 1000 },
    );
    t.pass();
  });

  test(`${mode}: a state survives its way through JSON`, (t) => {
    fc.assert(
      fc.property(begunAs(mode), life, (first, entries) => {
        const { state, now } = live(first, entries);
        const read = JSON.parse(JSON.stringify(state)) as GlobalTransaction;
        const woken = { kind: 'woken' } as const;
        must(JSON.stringify(decide(read, woken, now)) === JSON.stringify(decide(state, woken, now)), 'lost in JSON');
      }),
      { numRuns: 300 },
    );
    t.pass();
  });
}

function stateAfter(first: GlobalTransaction, entries: Life): [GlobalTransaction, Instant] {
  const { state, now } = live(first, entries);
  return [state, now];
}

/** Answers each due call with success, and lets the time pass to the next wake when there is none. */
function answerEverything(first: GlobalTransaction, from: Instant): { state: GlobalTransaction; now: Instant } {
  let state = first;
  let now = from;
  for (let round = 0; round < 50 && !isFinal(state.status); round += 1) {
    const { next, effects } = decide(state, { kind: 'woken' }, now);
    state = next;
    const calls = effects.filter((effect) => effect.kind === 'call');
    const wake = effects.find((effect) => effect.kind === 'wake');
    if (calls.length === 0 && wake !== undefined) now = wake.at;
    for (const { branch, operation } of calls) {
      state = decide(state, { kind: 'replied', branch, operation, result: 'success' }, now).next;
    }
  }
  return { state, now };
}

test('saga: compensated is exactly what may have been called, the steps without an action that were reached included', (t) => {
  checkLives('saga', ({ decision: { next }, called }) => {
    if (next.status !== 'aborting' && next.status !== 'failed') return;
    for (const { id, operations, action, compensation } of next.branches) {
      const mayHaveRun = operations.action === undefined ? action === 'succeed' : called.has(`action ${id}`);
      must((compensation !== undefined) === mayHaveRun, `step ${id}: ${compensation}`);
    }
  });
  t.pass();
});

test('saga: an action is called when all before it have succeeded, a compensation when all after it are compensated', (t) => {
  checkLives('saga', ({ decision: { next, effects } }) => {
    for (const effect of effects) {
      if (effect.kind !== 'call') continue;
      const index = next.branches.findIndex(({ id }) => id === effect.branch);
      if (effect.operation === 'action') {
        must(next.status === 'submitted', 'an action after the turn');
        const before = predecessorsOf(next, index).map((other) => next.branches[other]);
        must(
          before.every((branch) => branch?.action === 'succeed'),
          'an action before its time',
        );
      } else {
        const after = next.branches.filter((_, other) => predecessorsOf(next, other).includes(index));
        must(
          after.every(({ compensation }) => compensation !== 'due'),
          'a compensation before its time',
        );
      }
    }
  });
  t.pass();
});

test('saga: it succeeds only by the success of every action', (t) => {
  checkLives('saga', ({ decision: { next } }) => {
    if (next.status !== 'succeed') return;
    must(
      next.branches.every(({ action }) => action === 'succeed'),
      'succeeded without an action',
    );
  });
  t.pass();
});

test('message: nothing is delivered before the submit or the delay, and what is submitted is delivered to the last step', (t) => {
  checkLives('msg', ({ decision: { next, effects }, now }) => {
    const isDelivery = effects.some((effect) => effect.kind === 'call' && effect.operation === 'action');
    must(!isDelivery || (next.status === 'submitted' && (next.holdUntil ?? now) <= now), 'delivered too early');
    if (next.status === 'succeed')
      must(
        next.branches.every(({ status }) => status === 'succeed'),
        'a step was left out',
      );
  });
  t.pass();
});

test('workflow: what is recorded stays as it is, and its end is what the program said', (t) => {
  checkLives('workflow', ({ before, event, decision: { next } }) => {
    for (const [index, step] of (before.progress ?? []).entries())
      must(next.progress?.[index] === step, 'a step changed');
    if (isFinal(before.status) || !isFinal(next.status)) return;
    must(event.kind === 'conclude' && event.status === next.status, 'ended by something else');
  });
  t.pass();
});

for (const mode of ['mesh', 'tcc', 'xa'] as const) {
  test(`${mode}: nobody joins after the decision, and no branch leaves, changes its identity, or is asked for both outcomes`, (t) => {
    checkLives(mode, ({ before, decision: { next }, called }) => {
      must(before.status === 'prepared' || next.branches.length === before.branches.length, 'joined late');
      must(new Set(next.branches.map(({ id }) => id)).size === next.branches.length, 'two branches with one id');
      for (const [index, { id, kind, resource }] of before.branches.entries()) {
        const branch = next.branches[index];
        must(branch?.id === id && branch.kind === kind && branch.resource === resource, 'another branch');
      }
      const isCommit = ['commit', 'confirm', 'action'].some((word) =>
        [...called].some((call) => call.startsWith(word)),
      );
      const isBack = ['rollback', 'cancel', 'compensate'].some((word) =>
        [...called].some((call) => call.startsWith(word)),
      );
      must(!isCommit || !isBack, 'both outcomes');
    });
    t.pass();
  });
}

test('mesh: of a workflow only the newest run records, enlists and ends, and what is recorded stays', (t) => {
  checkLives('mesh', ({ before, event, decision: { next, refused } }) => {
    for (const [index, step] of (before.steps ?? []).entries()) must(next.steps?.[index] === step, 'a step changed');
    const newest = before.run?.number;
    if (newest === undefined) return must(next.run === undefined && next.steps === undefined, 'runs of no workflow');
    must([newest, newest + 1].includes(next.run?.number ?? 0), 'runs were passed over');
    const isEnd = before.status === 'prepared' && next.status === 'submitted';
    must(!isEnd || (event.kind === 'submit' && event.run === newest), 'ended by something else than its newest run');
    if (!('run' in event) || event.run === undefined || isFinal(before.status)) return;
    must(
      (refused?.code === 'RUN_SUPERSEDED') === event.run < newest,
      `run ${event.run} of ${newest}: ${refused?.code}`,
    );
  });
  t.pass();
});

test('mesh: what a message is decided to be is what its initiator said, or somebody who asked for it', (t) => {
  checkLives('mesh', ({ before, event, decision: { next } }) => {
    if (before.callback?.operations.msg === undefined || before.status !== 'prepared') return;
    const isAnswer = event.kind === 'replied' && event.operation === 'msg' && event.branch === before.callback.id;
    const outcome = outcomeOf(next);
    const isCommit = event.kind === 'submit' || (isAnswer && event.result === 'success');
    const isRollback = event.kind === 'abort' || (isAnswer && event.result === 'failure');
    must(outcome !== 'commit' || isCommit, 'committed by nobody');
    must(outcome !== 'rollback' || isRollback, 'rolled back by nobody');
  });
  t.pass();
});

test('mesh: a message is not delivered before its delay, and given up exactly when it was tried as often as wished', (t) => {
  checkLives('mesh', ({ decision: { next, effects }, now }) => {
    for (const branch of next.branches) {
      const { id, status, attempts, attemptsMax, delayMs } = branch;
      const isCalled = effects.some((effect) => effect.kind === 'call' && effect.branch === id);
      must(!isCalled || attempts < (attemptsMax ?? Infinity), 'called once too often');
      must(
        (status === 'abandoned') === (status !== 'succeed' && attempts === attemptsMax),
        `${status} after ${attempts}`,
      );
      const isHeld = delayMs !== undefined && attempts === 0 && next.status === 'submitted' && isCalled;
      must(!isHeld || (branch.notBefore ?? Infinity) <= now, 'delivered too early');
    }
  });
  t.pass();
});
