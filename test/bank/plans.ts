/** What clients do: transfers between accounts, looks at all of them, and lists that are appended to and read. */
import type { Random } from '../simulation/random.ts';
import { bothServices, type Plan, type Work } from './client.ts';
import { ACCOUNTS_EACH, LISTS_EACH, type Change } from './server.ts';
import { SERVICES, type Service, type Stage } from './stage.ts';

const REFUSED = 0.15;
const LOOKS = 0.1;
/** Of the changes where it can be done. */
const BY_ROUTINE = 0.2;

/** A transfer between two accounts, or now and then a look at all of them. */
export function bankPlan(stage: Stage, random: Random, gid: string): Plan {
  if (random.chance(LOOKS)) return lookPlan();
  const amount = random.between(1, 50);
  const name = (service: Service): string => `${service} ${random.between(1, ACCOUNTS_EACH)}`;
  const legs = bothServices(random).map((service, index) => ({
    service,
    work: moving(
      { gid, account: name(service), amount: index === 0 ? -amount : amount },
      { isLockedFirst: random.chance(0.5), isByRoutine: random.chance(BY_ROUTINE) && stage.prepares(service) },
    ),
  }));
  return { parts: legs, isHeld: random.chance(0.3), isRefused: random.chance(REFUSED) };
}

function moving(
  change: Change,
  { isLockedFirst, isByRoutine }: { readonly isLockedFirst: boolean; readonly isByRoutine: boolean },
): Work {
  const { account, amount } = change;
  return async (session, note) => {
    // What a routine changes is named nowhere in the statement: whoever calls one locks the rows himself (docs/xa.md).
    if (isLockedFirst || isByRoutine) await session.lock(account);
    note({ kind: 'move', account, amount });
    await (isByRoutine ? session.moveByRoutine(change) : session.move(change));
  };
}

/** Reads every account with its row locked, and knows the total when it has read the last. */
function lookPlan(): Plan {
  let total = 0;
  const parts = SERVICES.map((service, index) => ({
    service,
    work: (async (session, note) => {
      for (const balance of await session.balances()) total += balance;
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
  return async (session, note) => {
    for (const { key, isAppend } of steps) {
      if (isAppend) {
        const value = nextValue();
        note({ kind: 'append', key, value });
        await session.append(key, value);
      } else {
        note({ kind: 'read', key, items: await session.items(key) });
      }
    }
  };
}
