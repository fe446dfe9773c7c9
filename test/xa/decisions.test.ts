import { setTimeout as late } from 'node:timers/promises';
import test from 'ava';
import { createPreparation } from '../../proxy/postgres/xa/preparation.ts';
import { escalatedPlan, preparingPlanner, type Preparing } from '../../proxy/postgres/xa/planner.ts';
import type { Planner } from '../../proxy/sql/planner.ts';
import { admit, bind, escalated, newSession, ready, succeeded, type SessionState } from '../../proxy/sql/session.ts';
import type { StatementPlan, TransactionVerb } from '../../proxy/sql/statement.ts';
import type { CoordinatorClient } from '../../src/client/coordinator-client.ts';
import type { Gid, GlobalStatus } from '../../src/contract/transaction.ts';

const GID = 'gid-1' as Gid;
const CHANGE: StatementPlan = { kind: 'change', isPlain: false };
/** What has no images may run anything. */
const CODE: StatementPlan = { kind: 'change', isPlain: false, runsCode: true };
const CAPTURE: StatementPlan = {
  kind: 'capture',
  capture: {
    command: 'UPDATE',
    sql: 'entering',
    sqlWhenEntered: 'entered',
    returnsRows: false,
    clientParameters: 0,
    ownParameters: [],
  },
};
const LOCKING: StatementPlan = {
  kind: 'capture',
  capture: { ...CAPTURE.capture, read: { waits: true, keepsLocks: true, places: { ahead: 0, inserted: [] } } },
};
const refusal = { code: '0A000', message: 'no images', hint: 'Do otherwise.' };
const ESCALATES: StatementPlan = { kind: 'refuse', refusal, escalates: true };
const REFUSED: StatementPlan = { kind: 'refuse', refusal };

/** What becomes of a plan. */
function planned(
  plan: StatementPlan,
  preparing: Preparing,
  work: 'undo' | 'operation' = 'undo',
): StatementPlan | undefined {
  const planner: Planner = {
    plan: () => ({ kind: 'plans', plans: [{ plan, start: 0, length: 1 }] }),
    learn: () => undefined,
    forget: () => undefined,
    catalogueMoved: () => undefined,
    knowsNames: false,
    pathMoved: () => undefined,
  };
  const result = preparingPlanner(planner, preparing).plan('x', new Map(), 0, work);
  return result.kind === 'plans' ? result.plans[0]?.plan : undefined;
}

test('what has no images runs where its local transaction can be prepared, and what nothing takes back never does', (t) => {
  t.deepEqual(planned(ESCALATES, 'escalated'), CODE);
  t.is(planned(REFUSED, 'escalated'), REFUSED);
  t.is(planned(CAPTURE, 'escalated'), CAPTURE);
  t.is(planned(REFUSED, 'all'), REFUSED);
  t.deepEqual(planned(ESCALATES, 'all'), CODE);
  t.deepEqual(planned(CAPTURE, 'all'), CHANGE);
  t.deepEqual(planned(LOCKING, 'all'), { kind: 'pass' });
  t.deepEqual(escalatedPlan(ESCALATES), CODE);
  t.is(escalatedPlan(CAPTURE), CAPTURE);
});

test('where nothing can be prepared the refusal says which setting would change that', (t) => {
  const plan = planned(ESCALATES, 'unavailable');
  t.regex(plan?.kind === 'refuse' ? plan.refusal.hint : '', /^Do otherwise\. .*max_prepared_transactions/);
  t.is(planned(REFUSED, 'unavailable'), REFUSED);
  t.is(planned(CAPTURE, 'unavailable'), CAPTURE);
});

test('inside an operation nothing is prepared', (t) => {
  for (const preparing of ['escalated', 'all', 'unavailable'] as const)
    for (const plan of [ESCALATES, CAPTURE, CHANGE]) t.is(planned(plan, preparing, 'operation'), plan);
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
    (await createPreparation({ finisher: 'f', coordinator: answers(status), askMs }).mayCommit(GID))?.code;
  t.is(await codeFor('silent', undefined), undefined);
  t.is(await codeFor('prepared', 20), undefined);
  for (const status of ['submitted', 'aborting', 'failed', undefined] as const)
    t.is(await codeFor(status, 20), '40000');
  for (const status of ['silent', 'broken'] as const) t.is(await codeFor(status, 20), '08006');
});
