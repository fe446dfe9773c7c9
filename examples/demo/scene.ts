/** What a scene is, and how every scene ends: with a table, and with the checks that hold for all of them. */
import type { BranchView, TransactionView } from '../../src/contract/messages.ts';
import { leftovers, readBooks, type Books } from '../shop/books.ts';
import { SERVICES } from '../shop/databases.ts';
import type { OrderRequest, Shop } from '../shop/stage.ts';
import type { Answer } from '../support/http.ts';
import { until } from '../support/until.ts';
import type { Screen } from './screen.ts';

export interface Scene {
  readonly title: string;
  readonly story: readonly string[];
  /** The one order of this scene. */
  readonly order: OrderRequest;
  /** Sent to the express route, which gives its orders three seconds. */
  readonly isExpress?: boolean;
  /** How its global transaction must end. */
  readonly ends: 'succeed' | 'failed';
  /** Does what the story says, with all of the customer's waiting, and resolves with the customer's answer. */
  play(act: Act): Promise<Answer>;
}

/** What a scene works with. */
export interface Act {
  readonly shop: Shop;
  readonly signal: AbortSignal;
  /** Sends the scene's order, once; resolves with what the customer hears. */
  readonly send: () => Promise<Answer>;
  readonly step: (text: string) => void;
  readonly check: (holds: boolean, text: string, found?: string) => void;
  /** The global transaction that this scene's order began, once the coordinator has it. */
  readonly transaction: () => Promise<TransactionView>;
}

export interface Evening {
  readonly shop: Shop;
  readonly screen: Screen;
  readonly signal: AbortSignal;
  /** What the databases held before the first scene. */
  readonly opening: Books;
}

const END_MS = 20_000;

/** Reads what all databases hold, past the sidecars. */
export function lookIntoBooks({ databases, club }: Shop): Promise<Books> {
  return readBooks((database) => databases.url(database, 'shop'), club && (() => club.database.books()));
}

/** Plays one scene; answers how many of its checks failed. Rejects when the scene could not be played to its end. */
export async function playScene(evening: Evening, number: number, scene: Scene): Promise<number> {
  const { shop, screen, signal } = evening;
  let failed = 0;
  const check = (holds: boolean, text: string, found?: string): void => {
    if (!holds) failed += 1;
    screen.check(holds, text, found);
  };

  screen.scene(number, scene.title, scene.story);
  const before = await lookIntoBooks(shop);
  const earlier = new Set((await shop.transactions()).map(({ gid }) => gid));
  const transaction = async (): Promise<TransactionView> =>
    await until(
      'the coordinator knows the transaction of this order',
      async () => (await shop.transactions()).find(({ gid }) => !earlier.has(gid)),
      { signal },
    );
  const answer = await scene.play({
    shop,
    signal,
    send: () => send(shop, screen, scene),
    step: screen.step,
    check,
    transaction,
  });
  const ended = await shop.transaction((await transaction()).gid, END_MS);
  const residue = await untilClean(shop, signal);
  const after = await lookIntoBooks(shop);

  screen.table(tableOf(scene.order, before, after, ended));
  check(
    ended.status === scene.ends,
    scene.ends === 'succeed' ? 'the coordinator committed it' : 'the coordinator rolled it back',
    [`status ${ended.status}`, ...ended.branches.map(branchLine)].join('\n        '),
  );
  if (scene.ends === 'succeed') checkCommitted(check, answer, before, after, scene.order);
  else checkRolledBack(check, answer, before, after);
  checkSums(check, evening.opening, after);
  checkPoints(check, evening.opening, after);
  check(residue === '', 'no undo record, row lock or unfinished transaction is left', residue);
  return failed;
}

function send(shop: Shop, screen: Screen, { order, isExpress = false }: Scene): Promise<Answer> {
  const { customer, quantity, item, card } = order;
  const points = card === undefined ? '' : `, with points on the card of ${card}`;
  screen.step(`POST ${isExpress ? '/orders/express' : '/orders'}: ${quantity} × ${item} for ${customer}${points}`);
  const answer = shop.order(order, { express: isExpress }).then((heard) => {
    screen.step(`${customer} hears ${heard.status}: ${JSON.stringify(heard.body)}`);
    return heard;
  });
  // A scene may fail before it waits for the answer: the rejection is then nobody's any more.
  answer.catch(() => undefined);
  return answer;
}

type Check = Act['check'];

function checkCommitted(check: Check, answer: Answer, before: Books, after: Books, order: OrderRequest): void {
  check(answer.status === 201, 'the customer was told that it is done (201)', String(answer.status));
  const known = new Set(before.orders.map(({ id }) => id));
  const added = after.orders.filter(({ id }) => !known.has(id));
  const paid = after.sums.ledger - before.sums.ledger;
  const reserved = after.sums.reserved - before.sums.reserved;
  const points = Number(after.club?.booked.get(added[0]?.id ?? '') ?? 0);
  const isComplete = added.length === 1 && added[0]?.state === 'placed' && paid > 0n;
  check(
    isComplete && reserved === BigInt(order.quantity) && points > 0 === (order.card !== undefined),
    order.card === undefined
      ? 'all three databases have it: one order placed, paid and reserved'
      : 'all four databases have it: one order placed, paid and reserved, and its points on the card',
    `${added.length} orders, ${cents(paid)} paid, ${reserved} reserved, ${points} points`,
  );
}

function checkRolledBack(check: Check, answer: Answer, before: Books, after: Books): void {
  check(answer.status >= 400, `the customer was told that it failed (${answer.status})`, String(answer.status));
  check(
    after.dump === before.dump,
    `all ${after.club === undefined ? 'three' : 'four'} databases are exactly as before, every row of every table compared as text`,
    `rows that differ:\n${difference(before.dump, after.dump)}`,
  );
}

function checkSums(check: Check, { sums: opening }: Books, { sums: now }: Books): void {
  const money = opening.balances + opening.ledger;
  check(
    now.balances + now.ledger === money && now.ledger === now.placedAmount,
    `no money came or went: ${cents(now.balances)} in accounts + ${cents(now.ledger)} paid for orders = ${cents(money)}`,
    `${cents(now.balances)} in accounts, ${cents(now.ledger)} in the ledger, ${cents(now.placedAmount)} in placed orders`,
  );
  const pieces = opening.available + opening.reserved;
  check(
    now.available + now.reserved === pieces && now.reserved === now.placedPieces && now.halfDone === 0n,
    `no goods came or went: ${now.available} in stock + ${now.reserved} reserved = ${pieces}`,
    `${now.available} in stock, ${now.reserved} reserved, ${now.placedPieces} in placed orders, ${now.halfDone} orders half done`,
  );
}

/** Only where there is a club. */
function checkPoints(check: Check, { club: opening }: Books, { club: now, orders }: Books): void {
  if (opening === undefined || now === undefined) return;
  const placed = new Set(orders.filter(({ state }) => state === 'placed').map(({ id }) => id));
  const isBookedForNothing = [...now.booked.keys()].some((order) => !placed.has(order));
  check(
    now.unbooked === opening.unbooked && !isBookedForNothing,
    `no points came or went: those on the cards are ${opening.unbooked} and what was booked for orders`,
    `${now.unbooked} not booked; booked for the orders ${[...now.booked.keys()].join()}`,
  );
}

/** Waits until nothing of any global transaction is left anywhere; answers what still is when it takes too long. */
async function untilClean(shop: Shop, signal: AbortSignal): Promise<string> {
  let residue = '';
  try {
    await until(
      'nothing is left over',
      async () => {
        residue = await residueOf(shop);
        return residue === '' ? true : undefined;
      },
      { signal },
    );
  } catch {
    signal.throwIfAborted();
    if (residue === '') residue = 'could not be read';
  }
  return residue;
}

async function residueOf(shop: Shop): Promise<string> {
  const found: string[] = [];
  const note = (service: string, { records, locks }: { readonly records: number; readonly locks: number }): void => {
    if (records + locks > 0) found.push(`${records} undo records and ${locks} row locks in ${service}`);
  };
  for (const service of SERVICES) note(service, await leftovers(shop.databases.url(service, 'atomesh')));
  if (shop.club !== undefined) note('club', await shop.club.database.leftovers());
  for (const status of ['prepared', 'submitted', 'aborting'] as const) {
    for (const { gid } of await shop.transactions(status)) found.push(`${gid} is ${status}`);
  }
  return found.join(', ');
}

function tableOf(order: OrderRequest, before: Books, after: Books, ended: TransactionView): readonly string[][] {
  const ids = new Set([...before.orders, ...after.orders].map(({ id }) => id));
  const changed = [...ids].filter((id) => orderLine(before, id) !== orderLine(after, id));
  const outcome = ended.status === 'succeed' ? 'committed' : ended.status === 'failed' ? 'rolled back' : ended.status;
  return [
    ['', 'before', 'after'],
    ...(changed.length === 0 ? [['new orders', 'none', 'none']] : []),
    ...changed.map((id) => [`order ${id}`, orderLine(before, id), orderLine(after, id)]),
    ...[...after.balances].map(([id, balance]) => [`balance of ${id}`, before.balances.get(id) ?? '', balance]),
    [`${order.item}s in stock`, before.available.get(order.item) ?? '', after.available.get(order.item) ?? ''],
    ...[...(after.club?.points ?? [])]
      .filter(([card]) => card === order.card)
      .map(([card, points]) => [`points of ${card}`, before.club?.points.get(card) ?? '', points]),
    ['gid', '', ended.gid],
    ['branches', '', ended.branches.map(({ resource }) => resource).join(', ')],
    ['outcome', '', ended.reason === undefined ? outcome : `${outcome}: ${ended.reason}`],
  ];
}

function orderLine(books: Books, id: string): string {
  const order = books.orders.find((candidate) => candidate.id === id);
  if (order === undefined) return '–';
  return `${order.quantity} × ${order.item} for ${order.customer}, ${order.amount}, ${order.state}`;
}

function branchLine({ resource, status, attempts, lastError }: BranchView): string {
  return `${resource}: ${status} after ${attempts} calls${lastError === undefined ? '' : `, ${lastError}`}`;
}

/** The lines that only one of two texts has. */
function difference(before: string, after: string): string {
  const old = before.split('\n');
  const now = after.split('\n');
  const gone = old.filter((line) => !now.includes(line)).map((line) => `        before: ${line}`);
  const come = now.filter((line) => !old.includes(line)).map((line) => `        after:  ${line}`);
  return [...gone, ...come].join('\n');
}

function cents(amount: bigint): string {
  return (Number(amount) / 100).toFixed(2);
}
