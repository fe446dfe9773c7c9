/**
 * Judges a history by what is promised: all of a global transaction or nothing of it, no dirty write, no lost change, and with FOR UPDATE
 * inside a global transaction no read of what is not committed. Pure.
 *
 * Lists tell the order of their changes by themselves, as in Elle (https://github.com/jepsen-io/elle): who appends is behind whoever's
 * value comes before, and who reads is behind whoever's value comes last. Those two relations must have no circle.
 */
import type { Attempt, History, Operation } from './history.ts';

/** Everything that is wrong, one sentence each; empty when nothing is. */
export function check(history: History): readonly string[] {
  return [
    ...history.leftovers,
    ...endFaults(history),
    ...movementFaults(history),
    ...balanceFaults(history),
    ...listFaults(history),
    ...readFaults(history),
    ...circleFaults(history),
  ];
}

function endFaults({ attempts, ended }: History): readonly string[] {
  return attempts.flatMap(({ gid, told }) => {
    const status = ended.get(gid);
    if (status !== 'succeed' && status !== 'failed') return [`${gid} did not end: it is ${status ?? 'unknown'}`];
    const isContrary =
      (told === 'committed' && status !== 'succeed') || (told === 'rolled back' && status !== 'failed');
    return isContrary ? [`${gid} is ${status}, and its client was told that it ${told}`] : [];
  });
}

function of<Kind extends Operation['kind']>(
  { operations }: Attempt,
  kind: Kind,
): readonly Extract<Operation, { kind: Kind }>[] {
  return operations.filter((operation): operation is Extract<Operation, { kind: Kind }> => operation.kind === kind);
}

function isCommitted({ ended }: History, { gid }: Attempt): boolean {
  return ended.get(gid) === 'succeed';
}

/** The movements are those of the global transactions that committed: all of each, and of no other. */
function movementFaults(history: History): readonly string[] {
  const wanted = history.attempts
    .filter((attempt) => isCommitted(history, attempt))
    .flatMap((attempt) => of(attempt, 'move').map(({ account, amount }) => `${attempt.gid} ${account} ${amount}`));
  const found = history.movements.map(({ gid, account, amount }) => `${gid} ${account} ${amount}`);
  return [
    ...minus(wanted, found).map((movement) => `lost: ${movement} was committed and is not there`),
    ...minus(found, wanted).map((movement) => `too much: ${movement} is there, and was not committed`),
  ];
}

/** Elements of `one` that `other` does not have, or not as often. */
function minus(one: readonly string[], other: readonly string[]): readonly string[] {
  const left = new Map<string, number>();
  for (const item of other) left.set(item, (left.get(item) ?? 0) + 1);
  return one.filter((item) => {
    const count = left.get(item) ?? 0;
    left.set(item, count - 1);
    return count <= 0;
  });
}

/** The movements of an account, in order, lead to its balance without a gap, and totals are what they were at first. */
function balanceFaults(history: History): readonly string[] {
  const { accounts, movements, balanceAtFirst } = history;
  const faults: string[] = [];
  for (const { account, version, balance } of accounts) {
    const chain = movements
      .filter((movement) => movement.account === account)
      .toSorted((a, b) => a.version - b.version);
    let expected = balanceAtFirst;
    for (const [index, movement] of chain.entries()) {
      expected += movement.amount;
      if (movement.version !== index + 1) faults.push(`version ${index + 1} of ${account} is missing, or there twice`);
      if (movement.balance !== expected)
        faults.push(`${movement.gid} left ${movement.balance} in ${account}, where ${expected} should be`);
    }
    if (balance !== expected || version !== chain.length)
      faults.push(
        `${account} holds ${balance} at version ${version}, and its history says ${expected} at ${chain.length}`,
      );
  }
  const total = balanceAtFirst * accounts.length;
  for (const attempt of history.attempts) {
    for (const read of of(attempt, 'total'))
      if (read.total !== total) faults.push(`${attempt.gid} read a total of ${read.total}, and not ${total}`);
  }
  return faults;
}

/** The appends that are there at last are those that were committed, each once. */
function listFaults(history: History): readonly string[] {
  const wanted = history.attempts
    .filter((attempt) => isCommitted(history, attempt))
    .flatMap((attempt) => of(attempt, 'append').map(({ key, value }) => `${key} ${value}`));
  const found = [...history.lists].flatMap(([key, values]) => values.map((value) => `${key} ${value}`));
  return [
    ...minus(wanted, found).map((append) => `lost append: ${append} was committed and is not there`),
    ...minus(found, wanted).map((append) => `dirty append: ${append} is there, and was not committed, or twice`),
  ];
}

/** What is read is the beginning of the list as it is at last, with own appends behind it; and nobody gets between a read and an append. */
function readFaults({ attempts, lists }: History): readonly string[] {
  const faults: string[] = [];
  for (const attempt of attempts) {
    const own = new Map<string, number[]>();
    const read = new Map<string, readonly number[]>();
    for (const operation of attempt.operations) {
      if (operation.kind !== 'read' && operation.kind !== 'append') continue;
      const { key } = operation;
      const list = lists.get(key) ?? [];
      const mine = own.get(key) ?? [];
      if (operation.kind === 'append') {
        const before = mine.length === 0 ? read.get(key) : undefined;
        const at = list.indexOf(operation.value);
        if (before !== undefined && at >= 0 && at !== before.length)
          faults.push(`${attempt.gid} read ${key} up to ${before.at(-1)}, and ${operation.value} is not behind that`);
        own.set(key, [...mine, operation.value]);
        continue;
      }
      const others = operation.items.slice(0, operation.items.length - mine.length);
      const isOwn = mine.every((value, index) => operation.items[others.length + index] === value);
      if (!isOwn || !others.every((value, index) => list[index] === value))
        faults.push(`${attempt.gid} read ${operation.items.join()} of ${key}, which ends as ${list.join()}`);
      if (mine.length === 0) read.set(key, operation.items);
    }
  }
  return faults;
}

/** Nobody comes both before and behind another. */
function circleFaults(history: History): readonly string[] {
  const writer = new Map<string, string>();
  for (const attempt of history.attempts)
    for (const { key, value } of of(attempt, 'append')) writer.set(`${key} ${value}`, attempt.gid);
  const next = new Map<string, Set<string>>();
  const precedes = (before: string | undefined, after: string | undefined): void => {
    if (before === undefined || after === undefined || before === after) return;
    next.set(before, (next.get(before) ?? new Set()).add(after));
  };
  for (const [key, values] of history.lists)
    for (const [index, value] of values.entries())
      precedes(writer.get(`${key} ${values[index - 1]}`), writer.get(`${key} ${value}`));
  for (const attempt of history.attempts.filter((each) => isCommitted(history, each)))
    for (const { key, items } of of(attempt, 'read')) precedes(writer.get(`${key} ${items.at(-1)}`), attempt.gid);
  const circle = circleIn(next);
  return circle === undefined ? [] : [`a circle: ${circle.join(' before ')}`];
}

/** The first circle that a search in depth comes upon. */
function circleIn(next: ReadonlyMap<string, ReadonlySet<string>>): readonly string[] | undefined {
  const isDone = new Set<string>();
  for (const start of next.keys()) {
    const trail: { readonly gid: string; readonly rest: Iterator<string> }[] = [];
    const enter = (gid: string): void => void trail.push({ gid, rest: (next.get(gid) ?? new Set()).values() });
    if (!isDone.has(start)) enter(start);
    for (let top = trail.at(-1); top !== undefined; top = trail.at(-1)) {
      const { done, value: gid } = top.rest.next();
      if (done === true) {
        isDone.add(top.gid);
        trail.pop();
        continue;
      }
      const at = trail.findIndex((each) => each.gid === gid);
      if (at >= 0) return [...trail.slice(at).map((each) => each.gid), gid];
      if (!isDone.has(gid)) enter(gid);
    }
  }
  return undefined;
}
