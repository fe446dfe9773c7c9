import anyTest, { type ExecutionContext, type TestFn } from 'ava';
import { until } from '../../examples/support/until.ts';
import type { Gid } from '../../src/contract/transaction.ts';
import { openStage, type Stage, type Victim } from './stage.ts';

const test = anyTest as TestFn<{ stage: Stage }>;

test.before(async (t) => {
  t.timeout(60_000);
  t.context.stage = await openStage();
});
test.after.always((t) => t.context.stage?.[Symbol.asyncDispose]());

/** Every victim at every gate takes minutes: `MESH_CRASH=all`. Otherwise each victim dies once in each test, where it hurts most. */
const ALL = process.env['MESH_CRASH'] === 'all';
const VICTIMS: readonly Victim[] = ['app', 'sidecar', 'coordinator'];

type Death = readonly [victim: Victim, gate: string];

function deaths(gates: readonly string[], chosen: readonly Death[]): readonly Death[] {
  return ALL ? VICTIMS.flatMap((victim) => gates.map((gate) => [victim, gate] as const)) : chosen;
}

interface End {
  readonly status: string;
  readonly balance: number;
  readonly held: number;
  readonly calls: readonly string[];
}

/** Sends a request, kills the victim at the gate, and waits for the end of the transaction. */
async function endAfter(
  t: ExecutionContext<{ stage: Stage }>,
  path: string,
  victim: Victim,
  gate: string,
): Promise<End> {
  const { stage } = t.context;
  await stage.owner.query('UPDATE account SET balance = 0, held = 0');
  stage.killAt(victim, gate);
  const asked = fetch(`${stage.door}${path}`, { method: 'POST', body: '{}' }).catch(() => undefined);
  const gid = (await stage.killed) as Gid;
  await asked;
  const status = await until(
    `${path} is over after the ${victim} was killed before ${gate}`,
    async () => {
      const view = await stage.coordinator.read(gid, 1_000);
      return view?.status === 'succeed' || view?.status === 'failed' ? view.status : undefined;
    },
    { withinMs: 30_000 },
  );
  const { rows } = await stage.owner.query<{ balance: number; held: number }>('SELECT balance, held FROM account');
  const { balance = NaN, held = NaN } = rows[0] ?? {};
  return { status, balance, held, calls: stage.calls(gid) };
}

test.serial(
  'a workflow ends well whoever is killed between any two of its steps, and does each step once',
  async (t) => {
    t.timeout(300_000);
    const gates = ['one', 'BEGIN', 'UPDATE', 'COMMIT', 'two', 'answer'];
    const chosen: readonly Death[] = [
      ['app', 'two'],
      ['sidecar', 'two'],
      ['coordinator', 'answer'],
    ];
    for (const [victim, gate] of deaths(gates, chosen)) {
      const { status, balance, calls } = await endAfter(t, '/workflow', victim, gate);
      t.is(`${status} ${balance} ${calls.join()}`, 'succeed 1 /one,/two', `${victim} at ${gate}`);
    }
  },
);

test.serial(
  'a message is delivered exactly when its local transaction committed, whoever is killed in between',
  async (t) => {
    t.timeout(300_000);
    const gates = ['msgnotify', 'msgBEGIN', 'msgUPDATE', 'msgCOMMIT', 'msganswer'];
    const chosen: readonly Death[] = [
      ['app', 'msgCOMMIT'],
      ['app', 'msganswer'],
      ['sidecar', 'msganswer'],
      ['coordinator', 'msgCOMMIT'],
    ];
    const must: Readonly<Record<string, string>> = {
      'app msgCOMMIT': 'failed',
      'app msganswer': 'succeed',
      'sidecar msganswer': 'succeed',
      'coordinator msganswer': 'succeed',
    };
    for (const [victim, gate] of deaths(gates, chosen)) {
      const { status, balance, calls } = await endAfter(t, '/message', victim, gate);
      const wanted = status === 'succeed' ? 'succeed 1 /notify' : 'failed 0 ';
      t.is(`${status} ${balance} ${calls.join()}`, wanted, `${victim} at ${gate}`);
      t.is(status, must[`${victim} ${gate}`] ?? status, `${victim} at ${gate}`);
    }
  },
);

test.serial('a TCC transaction is confirmed or cancelled as a whole, whoever is killed in between', async (t) => {
  t.timeout(300_000);
  const gates = ['try', 'tryUPDATE', 'tryCOMMIT', 'tryanswer', 'answer', 'confirmUPDATE', 'confirmanswer'];
  const chosen: readonly Death[] = [
    ['app', 'tryanswer'],
    ['sidecar', 'answer'],
    ['coordinator', 'confirmanswer'],
  ];
  for (const [victim, gate] of deaths(gates, chosen)) {
    const { status, balance, held } = await endAfter(t, '/tcc', victim, gate);
    t.is(`${status} ${balance} ${held}`, status === 'succeed' ? 'succeed 1 0' : 'failed 0 0', `${victim} at ${gate}`);
  }
});
