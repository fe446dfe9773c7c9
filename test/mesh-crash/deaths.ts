/** Who dies where, and what must hold afterwards: all or nothing, once, and as the client was told. */
import { setTimeout } from 'node:timers/promises';
import { until } from '../../examples/support/until.ts';
import type { ErrorBody } from '../../src/contract/errors.ts';
import type { Gid } from '../../src/contract/transaction.ts';
import type { Stage, Victim } from './stage.ts';

interface Death {
  readonly path: string;
  readonly victim: Victim;
  readonly gate: string;
}

/** The gates of one request: between the steps of the application, and around each request of the sidecar and the coordinator. */
const GATES: Readonly<Record<string, { readonly app: readonly string[]; readonly relays: readonly string[] }>> = {
  '/workflow': {
    app: ['one', 'BEGIN', 'UPDATE', 'COMMIT', 'two', 'answer'],
    relays: ['coordinator begin', 'coordinator step POST', 'bank /one', 'coordinator answer', 'coordinator submit'],
  },
  '/message': {
    app: ['msgnotify', 'msgBEGIN', 'msgUPDATE', 'msgCOMMIT', 'msganswer'],
    relays: ['coordinator enlist', 'coordinator submit', 'bank action'],
  },
  '/tcc': {
    app: [
      'tryBEGIN',
      'tryUPDATE',
      'tryCOMMIT',
      'tryanswer',
      'answer',
      'confirmBEGIN',
      'confirmCOMMIT',
      'confirmanswer',
    ],
    relays: ['coordinator begin', 'coordinator enlist', 'self try', 'coordinator submit', 'self confirm'],
  },
  '/full': { app: ['answer', 'cancelCOMMIT', 'cancelanswer'], relays: ['coordinator abort', 'self cancel'] },
  '/saga': { app: ['answer'], relays: ['coordinator enlist', 'bank action', 'coordinator abort', 'bank compensate'] },
};
const VICTIMS: readonly Victim[] = ['app', 'sidecar', 'coordinator'];

/** All of them: at the relays the application has nothing at stake. */
export const DEATHS: readonly Death[] = Object.entries(GATES).flatMap(([path, { app, relays }]) => [
  ...app.flatMap((gate) => VICTIMS.map((victim) => ({ path, victim, gate }))),
  ...relays.flatMap((relay) =>
    ['before', 'after'].flatMap((when) =>
      (['sidecar', 'coordinator'] as const).map((victim) => ({ path, victim, gate: relay.replace(' ', ` ${when} `) })),
    ),
  ),
]);

interface Told {
  readonly gid: string | null;
  readonly outcome: string | null;
  readonly isSafe: boolean;
}

/** Sends the request, kills the victim, waits for the end, and repeats the request where the client was told that it may. Answers what is wrong. */
export async function faultOf(stage: Stage, { path, victim, gate }: Death): Promise<string | undefined> {
  await stage.owner.query('UPDATE account SET balance = 0, held = 0');
  stage.killAt(victim, gate);
  const died = await untilDeath(stage, path);
  if (died === undefined) return 'the gate was never reached';
  const { gid, told } = died;
  const status = await endOf(stage, gid);
  const found = await foundBy(stage, path, gid);
  const wanted = status === 'succeed' ? WHOLE[path] : NOTHING[path];
  const seen = `${status}: ${found}`;
  if (wanted === undefined || !wanted.test(found)) return seen;
  if (told?.outcome === 'committed' && status !== 'succeed') return `told committed, and ${seen}`;
  if (told?.outcome === 'rolled-back' && status !== 'failed') return `told rolled back, and ${seen}`;
  if (told?.isSafe !== true) return undefined;
  // Told that it may repeat it, the client does; then there are not two of it.
  if (status === 'succeed') return `told that it may repeat what ${seen}`;
  const again = await ask(stage, path);
  if (again?.gid === null || again === undefined)
    return `a repetition was answered without a transaction, after ${seen}`;
  await endOf(stage, again.gid as Gid);
  const total = await balanceOf(stage);
  return /^[01] 0$/.test(total) ? undefined : `after a repetition there is ${total}`;
}

/** Asks until a request has come to the gate: one may meet a connection to somebody who has just been killed for the last death. */
async function untilDeath(stage: Stage, path: string): Promise<{ gid: Gid; told: Told | undefined } | undefined> {
  for (let tries = 1; tries <= 3; tries += 1) {
    const asked = ask(stage, path);
    const given = asked.then(async () => await setTimeout(AFTER_ANSWER_MS, undefined, { ref: false }));
    const gid = await Promise.race([stage.killed, given]);
    if (gid !== undefined) return { gid: gid as Gid, told: await asked };
  }
  return undefined;
}

/** Confirms and deliveries come after the answer. */
const AFTER_ANSWER_MS = 8_000;

/** Balance and held, and what the bank was asked at least once. */
const WHOLE: Readonly<Record<string, RegExp>> = {
  '/workflow': /^1 0 \/one,\/two$/,
  '/message': /^1 0 \/notify$/,
  '/tcc': /^1 0 $/,
};
/** A call without a route is not taken back; a saga is compensated where it was booked. */
const NOTHING: Readonly<Record<string, RegExp>> = {
  '/workflow': /^0 0 (?:\/one)?(?:,\/two)?$/,
  '/message': /^0 0 $/,
  '/tcc': /^0 0 $/,
  '/full': /^0 0 $/,
  '/saga': /^0 0 (?:(?:\/book,)*(?:,?\/unbook)+)?$/,
};

async function foundBy(stage: Stage, path: string, gid: Gid): Promise<string> {
  const calls = stage.calls(gid);
  // Whoever delivers or compensates asks until it has the answer; the program itself asks once.
  const isRepeated = path === '/message' || path === '/saga';
  return `${await balanceOf(stage)} ${(isRepeated ? [...new Set(calls)] : calls).join()}`;
}

async function balanceOf(stage: Stage): Promise<string> {
  const { rows } = await stage.owner.query<{ balance: number; held: number }>('SELECT balance, held FROM account');
  const { balance = NaN, held = NaN } = rows[0] ?? {};
  return `${balance} ${held}`;
}

/** `none` when it was never begun. */
async function endOf(stage: Stage, gid: Gid): Promise<string> {
  return await until(
    `${gid} is over`,
    async () => {
      const view = await stage.coordinator.read(gid, 1_000);
      if (view === undefined) return 'none';
      return view.status === 'succeed' || view.status === 'failed' ? view.status : undefined;
    },
    { withinMs: 30_000 },
  );
}

async function ask(stage: Stage, path: string): Promise<Told | undefined> {
  const response = await fetch(`${stage.door}${path}`, { method: 'POST', body: '{}' }).catch(() => undefined);
  if (response === undefined) return undefined;
  const { headers } = response;
  const text = await response.text().catch(() => '');
  const isOwn = headers.get('atomesh-error-source') === 'sidecar';
  const isSafe = isOwn && (JSON.parse(text) as ErrorBody).error.retry === 'safe';
  return { gid: headers.get('atomesh-gid'), outcome: headers.get('atomesh-outcome'), isSafe };
}
