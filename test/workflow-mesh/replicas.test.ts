import anyTest, { type ExecutionContext, type TestFn } from 'ava';
import { until } from '../../examples/support/until.ts';
import type { ErrorBody } from '../../src/contract/errors.ts';
import type { TransactionView } from '../../src/contract/messages.ts';
import type { Gid } from '../../src/contract/transaction.ts';
import { startParticipant, type Participant } from './participant.ts';
import { startReplicas, type Replicas } from './replicas.ts';

const test = anyTest as TestFn<{ replicas: Replicas; bank: Participant }>;

test.before(async (t) => {
  t.timeout(60_000);
  t.context.bank = await startParticipant();
  t.context.replicas = await startReplicas(t.context.bank.url, '1s');
});
test.beforeEach(async (t) => {
  t.context.bank.heard.length = 0;
  await t.context.replicas.owner.query('UPDATE account SET balance = 0');
});
test.after.always(async (t) => {
  await t.context.replicas?.[Symbol.asyncDispose]();
  await t.context.bank?.[Symbol.asyncDispose]();
});

const ADD = 'UPDATE account SET balance = balance + 1';

/** How the transaction ended, the balance, and what the bank was asked. */
async function end(t: ExecutionContext<{ replicas: Replicas; bank: Participant }>, gid: Gid): Promise<string> {
  const { replicas, bank } = t.context;
  const { status } = await until<TransactionView>(`${gid} is over`, async () => {
    const view = await replicas.coordinator.read(gid, 2_000);
    return view?.status === 'succeed' || view?.status === 'failed' ? view : undefined;
  });
  const { rows } = await replicas.owner.query<{ balance: number }>('SELECT balance FROM account');
  return `${status} ${rows[0]?.balance} ${bank.calls.join(', ')}`;
}

test.serial(
  'a run that is silent for too long is taken over by another replica, and nothing that it still does counts',
  async (t) => {
    const { replicas } = t.context;
    const { a, owner } = replicas;
    const goOn = Promise.withResolvers<void>();
    const late: string[] = [];
    replicas.serve(async (mark, replica) => {
      await replica.call(mark, '/out');
      await replica.sql(mark, ADD);
      if (replica === a) {
        await goOn.promise;
        late.push(String(await replica.call(mark, '/late')));
        late.push(
          await replica.sql(mark, ADD).then(
            () => 'done',
            () => 'refused',
          ),
        );
        return 200;
      }
      await replica.call(mark, '/in');
      return 200;
    });
    const asking = fetch(`${a.door}/trips`, { method: 'POST', body: '{}' });
    const { gid } = await until('the other replica has ended the workflow', async () => {
      const [found] = (await replicas.coordinator.list({ status: 'succeed' })).transactions;
      return found;
    });
    goOn.resolve();
    const reply = await asking;
    const { error } = (await reply.json()) as ErrorBody;
    t.is(`${reply.status} ${error.code} ${error.retry}`, '503 OUTCOME_UNKNOWN ask');
    t.is(reply.headers.get('atomesh-gid'), gid);
    t.deepEqual(late, ['409', 'refused']);
    t.is(await end(t, gid), 'succeed 1 POST /out, POST /in');
    const { rows } = await owner.query('SELECT 1 FROM atomesh.undo_record');
    t.is(rows.length, 0);
  },
);

test.serial(
  'a workflow whose replica has died goes on at another one, from its records, and takes effect once',
  async (t) => {
    const { replicas } = t.context;
    const { a } = replicas;
    const marks: string[] = [];
    const stuck = Promise.withResolvers<void>();
    replicas.serve(async (mark, replica) => {
      marks.push(`${mark} at ${replica.name}`);
      await replica.call(mark, '/out');
      await replica.sql(mark, ADD);
      if (replica === a) {
        stuck.resolve();
        return await new Promise<never>(() => undefined);
      }
      await replica.call(mark, '/in');
      return 200;
    });
    const asking = fetch(`${a.door}/trips`, { method: 'POST', body: '{}' });
    await stuck.promise;
    // Where the other one has taken over already, the client may have an answer from before the death.
    await Promise.all([a.kill(), asking.catch(() => undefined)]);
    const [gid = ''] = marks[0]?.split('/') ?? [];
    t.is(await end(t, gid as Gid), 'succeed 1 POST /out, POST /in');
    // On a slow machine a run may be taken over once more; what has taken effect is the same.
    t.is(marks[0], `${gid}/00/run1 at a`);
    t.regex(marks.at(-1) ?? '', /\/00\/run\d+ at b$/);
  },
);
