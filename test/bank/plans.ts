/** What clients do: transfers between accounts, looks at all of them, and lists that are appended to and read. */
import type { Random } from '../simulation/random.ts';
import { bothServices, type Plan, type Work } from './client.ts';
import { ACCOUNTS_EACH, LISTS_EACH, SERVICES, type Service } from './stage.ts';

const REFUSED = 0.15;
const LOOKS = 0.1;

const MOVE =
  'UPDATE account SET balance = balance + $2, version = version + 1 WHERE account = $1 RETURNING version, balance';
const WRITE_DOWN = 'INSERT INTO movement (gid, account, amount, version, balance) VALUES ($1, $2, $3, $4, $5)';

/** A transfer between two accounts, or now and then a look at all of them. */
export function bankPlan(random: Random, gid: string): Plan {
  if (random.chance(LOOKS)) return lookPlan();
  const amount = random.between(1, 50);
  const name = (service: Service): string => `${service} ${random.between(1, ACCOUNTS_EACH)}`;
  const legs = bothServices(random).map((service, index) => ({
    service,
    work: moving(gid, name(service), index === 0 ? -amount : amount, random.chance(0.5)),
  }));
  return { parts: legs, isHeld: random.chance(0.3), isRefused: random.chance(REFUSED) };
}

function moving(gid: string, account: string, amount: number, isLockedFirst: boolean): Work {
  return async (run, note) => {
    if (isLockedFirst) await run('SELECT balance FROM account WHERE account = $1 FOR UPDATE', account);
    note({ kind: 'move', account, amount });
    const [row] = await run<{ version: number; balance: number }>(MOVE, account, amount);
    await run(WRITE_DOWN, gid, account, amount, row?.version, row?.balance);
  };
}

/** Reads every account with its row locked, and knows the total when it has read the last. */
function lookPlan(): Plan {
  let total = 0;
  const parts = SERVICES.map((service, index) => ({
    service,
    work: (async (run, note) => {
      const rows = await run<{ balance: number }>('SELECT balance FROM account ORDER BY account FOR UPDATE');
      total += rows.reduce((sum, { balance }) => sum + balance, 0);
      if (index === SERVICES.length - 1) note({ kind: 'total', total });
    }) satisfies Work,
  }));
  return { parts, isHeld: true, isRefused: false };
}

/** One to four appends and reads of each service's lists. */
export function listPlan(random: Random, nextValue: () => number): Plan {
  const parts = bothServices(random)
    .slice(0, random.between(1, SERVICES.length))
    .map((service) => {
      const steps = Array.from({ length: random.between(1, 4) }, () => ({
        key: `${service} ${random.between(1, LISTS_EACH)}`,
        isAppend: random.chance(0.6),
      }));
      return { service, work: listing(steps, nextValue) };
    });
  return { parts, isHeld: random.chance(0.3), isRefused: random.chance(REFUSED) };
}

function listing(
  steps: readonly { readonly key: string; readonly isAppend: boolean }[],
  nextValue: () => number,
): Work {
  return async (run, note) => {
    for (const { key, isAppend } of steps) {
      if (isAppend) {
        const value = nextValue();
        note({ kind: 'append', key, value });
        await run('UPDATE list SET items = items || $2::int WHERE key = $1', key, value);
      } else {
        const [row] = await run<{ items: readonly number[] }>('SELECT items FROM list WHERE key = $1 FOR UPDATE', key);
        note({ kind: 'read', key, items: row?.items ?? [] });
      }
    }
  };
}
