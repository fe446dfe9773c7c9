import test from 'ava';
import pg from 'pg';
import { until } from '../../examples/support/until.ts';
import { openStage, type Gate } from './stage.ts';

const SCHEMA = `CREATE TABLE account (id int PRIMARY KEY, v int NOT NULL); INSERT INTO account VALUES (1, 0);
CREATE TABLE bare (v int NOT NULL); INSERT INTO bare VALUES (0)`;

/** Where the sidecar dies while the application's local transaction ends. */
const FIRST_PHASE: readonly Gate[] = (['enlist', 'PREPARE TRANSACTION'] as const).flatMap((step) => [
  { when: 'before', step },
  { when: 'after', step },
]);

/** Where it dies while the decision is carried out. */
const SECOND_PHASE: Readonly<Record<'submit' | 'abort', readonly Gate[]>> = {
  submit: (['commit', 'COMMIT PREPARED'] as const).flatMap((step) => [
    { when: 'before', step },
    { when: 'after', step },
  ]),
  abort: (['rollback', 'ROLLBACK PREPARED'] as const).flatMap((step) => [
    { when: 'before', step },
    { when: 'after', step },
  ]),
};

test('a sidecar that is killed between any two steps leaves nothing in doubt', async (t) => {
  await using stage = await openStage(SCHEMA);
  const { coordinator, owner } = stage;

  /** One change with images and one without; true when the client has heard COMMIT. */
  const spend = async (gid: string): Promise<boolean> => {
    const client = new pg.Client(stage.through);
    client.on('error', () => undefined);
    try {
      await client.connect();
      await client.query(`BEGIN /*atomesh_gid='${gid}'*/`);
      await client.query('UPDATE account SET v = v + 1');
      await client.query('UPDATE bare SET v = v + 1');
      return (await client.query('COMMIT')).command === 'COMMIT';
    } catch {
      return false;
    } finally {
      await client.end().catch(() => undefined);
    }
  };
  const values = async (): Promise<string> => {
    const { rows } = await owner.query<{ all: string }>(
      `SELECT concat_ws(' ', (SELECT v FROM account), (SELECT v FROM bare), (SELECT count(*) FROM pg_prepared_xacts),
        (SELECT count(*) FROM atomesh.undo_record), (SELECT count(*) FROM atomesh.row_lock)) AS all`,
    );
    return rows[0]?.all ?? '';
  };
  let kept = 0;
  const run = async (name: string, gate: Gate, decide: (heard: boolean) => 'submit' | 'abort'): Promise<void> => {
    const isFirst = FIRST_PHASE.includes(gate);
    const { gid } = await coordinator.begin({ timeoutMs: 60_000, retryIntervalMs: 50 });
    let killed = isFirst ? stage.killAt(gate) : undefined;
    const heard = await spend(gid);
    t.is(heard, !isFirst, name);
    killed ??= stage.killAt(gate);
    const decision = decide(heard);
    await (decision === 'submit' ? coordinator.submit(gid) : coordinator.abort(gid, {}));
    await killed;
    const status = await until(name, async () => {
      const view = await coordinator.read(gid, 1_000);
      return view?.status === 'succeed' || view?.status === 'failed' ? view.status : undefined;
    });
    t.is(status, decision === 'submit' ? 'succeed' : 'failed', name);
    if (decision === 'submit') kept += 1;
    t.is(await values(), `${kept} ${kept} 0 0 0`, name);
  };
  for (const gate of FIRST_PHASE) await run(`${gate.when} ${gate.step}`, gate, () => 'abort');
  for (const decision of ['submit', 'abort'] as const) {
    for (const gate of SECOND_PHASE[decision])
      await run(`${decision}: ${gate.when} ${gate.step}`, gate, () => decision);
  }
});
