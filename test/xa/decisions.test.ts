import { setTimeout as late } from 'node:timers/promises';
import test from 'ava';
import { planBound } from '../../proxy/postgres/undo/text/execute.ts';
import { createLocalPreparation } from '../../proxy/branch/xa/preparation.ts';
import { escalatedPlan, preparedPlan, type Preparing } from '../../proxy/postgres/xa/planner.ts';
import { admit, bind, escalated, newSession, ready, succeeded, type SessionState } from '../../proxy/sql/session.ts';
import type { Capture, StatementPlan, TransactionVerb } from '../../proxy/sql/statement.ts';
import type { CoordinatorClient } from '../../src/client/coordinator-client.ts';
import type { Gid, GlobalStatus } from '../../src/contract/transaction.ts';

const GID = 'gid-1' as Gid;
const CHANGE: StatementPlan = { kind: 'change', isPlain: false };
/** What has no images may run anything. */
const CODE: StatementPlan = { kind: 'change', isPlain: false, runsCode: true };
const CAPTURE = {
  kind: 'capture',
  capture: {
    command: 'UPDATE',
    sql: 'entering',
    sqlWhenEntered: 'entered',
    returnsRows: false,
    clientParameters: 0,
    ownParameters: [],
  },
} as const;
const LOCKING = {
  kind: 'capture',
  capture: { ...CAPTURE.capture, read: { waits: true, keepsLocks: true, places: { ahead: 0, inserted: [] } } },
} as const;
const refusal = { code: '0A000', message: 'no images', hint: 'Do otherwise.' };
const ESCALATES: StatementPlan = { kind: 'refuse', refusal, escalates: true };
const REFUSED: StatementPlan = { kind: 'refuse', refusal };

/** What becomes of a plan. */
function planned(plan: StatementPlan, preparing: Preparing, waits?: Capture): StatementPlan {
  return preparedPlan(plan, preparing, () => waits);
}

test('what has no images runs where its local transaction can be prepared, and what nothing takes back never does', (t) => {
  t.deepEqual(planned(ESCALATES, 'escalated'), CODE);
  t.is(planned(REFUSED, 'escalated'), REFUSED);
  t.is(planned(CAPTURE, 'escalated'), CAPTURE);
  t.is(planned(REFUSED, 'all'), REFUSED);
  t.deepEqual(planned(ESCALATES, 'all'), CODE);
  t.deepEqual(planned(CAPTURE, 'all'), CHANGE);
  t.is(planned(LOCKING, 'all'), LOCKING);
  t.deepEqual(escalatedPlan(ESCALATES), CODE);
  t.is(escalatedPlan(CAPTURE), CAPTURE);
});

test('where nothing can be prepared the refusal says which setting would change that', (t) => {
  const plan = planned(ESCALATES, 'unavailable');
  t.regex(plan?.kind === 'refuse' ? plan.refusal.hint : '', /^Do otherwise\. .*max_prepared_transactions/);
  t.is(planned(REFUSED, 'unavailable'), REFUSED);
  t.is(planned(CAPTURE, 'unavailable'), CAPTURE);
});

test('a change that is not captured goes with its text as it waits for row locks of others, where there is one', (t) => {
  const waits = LOCKING.capture;
  t.deepEqual(planned(ESCALATES, 'escalated', waits), { ...CODE, waits });
  t.deepEqual(planned(CAPTURE, 'all', waits), { ...CHANGE, waits });
  for (const plan of [REFUSED, CAPTURE, LOCKING]) t.is(planned(plan, 'escalated', waits), plan);
  const plan = planned(ESCALATES, 'escalated', waits);
  t.like(admit(inBlock(), plan), { kind: 'enter', waits });
  t.like(admit(escalated(inBlock()), plan), { kind: 'entered', waits });
  t.deepEqual(planBound(plan), plan);
  const executes = planned(ESCALATES, 'escalated', { ...waits, execute: { arguments: undefined, types: [] } });
  t.deepEqual(planBound(executes), CODE, 'by the time that it runs the name may stand for another statement');
});

const control = (verb: TransactionVerb): StatementPlan => ({ kind: 'control', verb });

function inBlock(): SessionState {
  const bound = bind(ready(newSession, 'open'), { gid: GID }, 'local');
  if (bound.kind === 'refused') throw new Error(bound.refusal.message);
  return bound.state;
}

test('one change without images makes the whole local transaction one that is prepared, up to its end', (t) => {
  t.like(admit(inBlock(), CHANGE), { kind: 'enter' });
  const state = escalated(inBlock());
  t.like(admit(state, CHANGE), { kind: 'entered' });
  t.deepEqual(admit(state, control('commit')), { kind: 'prepare', chains: false });
  t.deepEqual(admit(state, control('commit-and-chain')), { kind: 'prepare', chains: true });
  t.deepEqual(admit(state, control('rollback')), { kind: 'forward' });
  t.deepEqual(admit(succeeded(state, CAPTURE), control('commit')), { kind: 'prepare', chains: false });
  t.deepEqual(admit(escalated(succeeded(inBlock(), CAPTURE)), control('commit')), { kind: 'prepare', chains: false });
  t.deepEqual(admit({ ...state, block: 'failed' }, control('commit')), { kind: 'forward' });
  t.false(ready(state, 'idle').prepares);
});

test('what is rolled back to a savepoint is entered again, and the local transaction stays one that is prepared', (t) => {
  const saved = succeeded(inBlock(), { kind: 'control', verb: 'savepoint', name: 'a' });
  const back = succeeded(escalated(saved), { kind: 'control', verb: 'rollback-to', name: 'a' });
  t.like(admit(back, CHANGE), { kind: 'enter' });
  t.deepEqual(admit(back, control('commit')), { kind: 'prepare', chains: false });
});

test('whether a global transaction can still commit is asked where it is configured, for so long', async (t) => {
  const answers = (status: GlobalStatus | undefined | 'silent' | 'broken'): Pick<CoordinatorClient, 'read'> => ({
    async read() {
      if (status === 'silent') await late(1_000);
      if (status === 'broken') throw new Error('broken');
      return status === undefined
        ? undefined
        : ({ status: status === 'silent' ? 'prepared' : status } as Awaited<ReturnType<CoordinatorClient['read']>>);
    },
  });
  const codeFor = async (
    status: Parameters<typeof answers>[0],
    askMs: number | undefined,
  ): Promise<string | undefined> =>
    (
      await createLocalPreparation({
        coordinator: answers(status),
        xa: { canCommit: askMs !== undefined, timeout: askMs ?? 0 },
      }).mayCommit(GID)
    )?.code;
  t.is(await codeFor('silent', undefined), undefined);
  t.is(await codeFor('prepared', 20), undefined);
  for (const status of ['submitted', 'aborting', 'failed', undefined] as const)
    t.is(await codeFor(status, 20), '40000');
  for (const status of ['silent', 'broken'] as const) t.is(await codeFor(status, 20), '08006');
});
