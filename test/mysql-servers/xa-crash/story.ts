/** One global transaction over both databases, in which somebody dies, and what has to hold of it in the end. */
import mysql from 'mysql2/promise';
import { until } from '../../../examples/support/until.ts';
import type { Gid } from '../../../src/contract/transaction.ts';
import type { Moment } from './gate.ts';
import type { Death, Stage, Victim } from './stage.ts';

export interface Story {
  readonly death: Death;
  /** How it is decided where both local transactions are known to be committed; otherwise it is rolled back. */
  readonly decision: 'submit' | 'abort';
}

const VICTIMS: readonly Victim[] = ['sidecar', 'server', 'coordinator'];

/** Each place where each of them can die. */
export const STORIES: readonly Story[] = VICTIMS.flatMap((victim) => [
  ...(['XA END', 'XA PREPARE'] as const).flatMap((command) => around(victim, command, 'submit')),
  ...around(victim, 'XA COMMIT', 'submit'),
  ...around(victim, 'XA ROLLBACK', 'abort'),
  ...(['submit', 'abort'] as const).map((decision): Story => ({ death: { victim, at: 'heard' }, decision })),
]);

function around(victim: Victim, command: Moment['command'], decision: Story['decision']): readonly Story[] {
  return (['before', 'after'] as const).map((when) => ({ death: { victim, at: { when, command } }, decision }));
}

/** For people. */
export function nameOf({ death: { victim, at }, decision }: Story): string {
  return `${decision}, ${victim} dies ${at === 'heard' ? 'when the client has heard' : `${at.when} ${at.command}`}`;
}

/** Tells it to its end. `kept`: how many have been committed before. Answers whether this one was; rejects with what is not as it has to be. */
export async function tell(stage: Stage, { death, decision }: Story, kept: number): Promise<boolean> {
  const { coordinator } = stage;
  const gid = await until(
    'it is begun',
    async () => (await coordinator.begin({ timeoutMs: 60_000, retryIntervalMs: 100 })).gid,
  );
  const isInSecondPhase = death.at !== 'heard' && /COMMIT|ROLLBACK/.test(death.at.command);
  const isFirst = death.at !== 'heard' && !isInSecondPhase;
  let armed = isFirst ? stage.arm(death) : undefined;
  const heard = (await spend(stage, gid, 'one')) && (await spend(stage, gid, 'two'));
  if (death.at === 'heard') await stage.strike(death.victim);
  if (isInSecondPhase) armed = stage.arm(death);
  const decided = heard ? decision : 'abort';
  await until('it is decided', async () => {
    await (decided === 'submit' ? coordinator.submit(gid) : coordinator.abort(gid, {}));
    return true;
  });
  await armed?.over;
  const wanted = decided === 'submit' ? 'succeed' : 'failed';
  let view: unknown;
  await until(`${gid} is over`, async () => {
    const transaction = await coordinator.read(gid, 1_000);
    view = transaction;
    return transaction?.status === wanted ? true : undefined;
  }).catch(async (cause: unknown) => {
    throw new Error(`it is not over: ${JSON.stringify(view)}\n${await stage.lastLines()}`, { cause });
  });
  await isWhole(stage, kept + (decided === 'submit' ? 1 : 0));
  return decided === 'submit';
}

/** One change with images where there are any, and one without; true when the client has heard that both are committed. */
async function spend({ ports }: Stage, gid: Gid, database: 'one' | 'two'): Promise<boolean> {
  let client: mysql.Connection | undefined;
  try {
    client = await mysql.createConnection({ host: '127.0.0.1', port: ports[database], user: 'atomesh', database });
    client.on('error', () => undefined);
    await client.query(`begin /*atomesh_gid='${gid}'*/`);
    await client.query('update account set v = v + 1');
    await client.query('update bare set v = v + 1');
    await client.query('commit');
    return true;
  } catch {
    return false;
  } finally {
    client?.destroy();
  }
}

/** Both databases have the same, nothing is prepared, and no row is locked. */
async function isWhole(stage: Stage, kept: number): Promise<void> {
  const wanted = `${kept} ${kept} ${kept} ${kept} 0 0 0`;
  let found = '';
  await until('nothing is prepared', async () => {
    found = await stage.owner(async (owner) => {
      const [recovered] = await owner.query<mysql.RowDataPacket[]>('xa recover');
      const [[row]] = await owner.query<mysql.RowDataPacket[]>(
        `select concat_ws(' ', (select v from one.account), (select v from one.bare), (select v from two.account), (select v from two.bare),
          ${recovered.length}, (select count(*) from atomesh.row_lock), (select count(*) from atomesh.undo_record)) as found`,
      );
      await owner.query('set innodb_lock_wait_timeout = 1');
      for (const table of ['one.account', 'one.bare', 'two.account', 'two.bare'])
        await owner.query(`update ${table} set v = v`);
      return String(row?.['found']);
    });
    return found === wanted ? true : undefined;
  }).catch((cause: unknown) => {
    throw new Error(`found ${found} in the place of ${wanted}`, { cause });
  });
}
