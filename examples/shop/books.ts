/** What stands in the shop's databases, read behind the services' and the sidecars' backs. */
import type { ClubBooks } from './club/database.ts';
import { query, SERVICES, type ServiceName, type TextRow } from './databases.ts';

export interface Order {
  readonly id: string;
  readonly customer: string;
  readonly item: string;
  readonly quantity: string;
  readonly amount: string;
  readonly state: string;
}

export interface Books {
  readonly orders: readonly Order[];
  /** By account. */
  readonly balances: ReadonlyMap<string, string>;
  /** By item. */
  readonly available: ReadonlyMap<string, string>;
  /** Undefined without a club. */
  readonly club: ClubBooks | undefined;
  readonly sums: Sums;
  /** Every row of every business table, as text, in one order: equal texts mean equal databases. */
  readonly dump: string;
}

/** Money in cents, items in pieces, over all rows. */
export interface Sums {
  readonly balances: bigint;
  readonly ledger: bigint;
  /** Amounts of the orders that are placed. */
  readonly placedAmount: bigint;
  readonly available: bigint;
  readonly reserved: bigint;
  /** Pieces in the orders that are placed. */
  readonly placedPieces: bigint;
  /** Orders that are neither placed nor gone. */
  readonly halfDone: bigint;
}

/** Reads everything. `urlOf` leads straight to a database, past the sidecars; `readClub` reads what the club has. */
export async function readBooks(
  urlOf: (database: ServiceName) => string,
  readClub?: () => Promise<ClubBooks>,
): Promise<Books> {
  const orders = await query(
    urlOf('orders'),
    'select id, customer, item, quantity, amount, state from orders order by id',
  );
  const accounts = await query(urlOf('accounts'), 'select id, balance from account order by id');
  const items = await query(urlOf('stock'), 'select id, available from item order by id');
  const dumps: string[] = [];
  for (const database of SERVICES) dumps.push(`database ${database}\n${await dump(urlOf(database))}`);
  const club = await readClub?.();
  if (club !== undefined) dumps.push(club.dump);
  return {
    club,
    orders: orders as unknown as readonly Order[],
    balances: new Map(accounts.map((row) => [row['id'] ?? '', row['balance'] ?? ''])),
    available: new Map(items.map((row) => [row['id'] ?? '', row['available'] ?? ''])),
    sums: await readSums(urlOf),
    dump: dumps.join('\n'),
  };
}

async function readSums(urlOf: (database: ServiceName) => string): Promise<Sums> {
  const [orders = {}] = await query(
    urlOf('orders'),
    `select coalesce(sum(amount * 100) filter (where state = 'placed'), 0)::bigint as amount,
            coalesce(sum(quantity) filter (where state = 'placed'), 0)::bigint as pieces,
            count(*) filter (where state <> 'placed') as half
       from orders`,
  );
  const [accounts = {}] = await query(
    urlOf('accounts'),
    `select (select sum(balance * 100)::bigint from account) as balances,
            (select coalesce(sum(amount * 100), 0)::bigint from ledger) as ledger`,
  );
  const [stock = {}] = await query(
    urlOf('stock'),
    `select (select sum(available) from item) as available,
            (select coalesce(sum(quantity), 0) from reservation) as reserved`,
  );
  return {
    balances: whole(accounts, 'balances'),
    ledger: whole(accounts, 'ledger'),
    placedAmount: whole(orders, 'amount'),
    available: whole(stock, 'available'),
    reserved: whole(stock, 'reserved'),
    placedPieces: whole(orders, 'pieces'),
    halfDone: whole(orders, 'half'),
  };
}

function whole(row: TextRow, name: string): bigint {
  return BigInt(row[name] ?? 0);
}

/** All rows of all tables in the schema public. */
export async function dump(url: string): Promise<string> {
  const tables = await query(
    url,
    `select c.relname as name, quote_ident(c.relname) as quoted
       from pg_catalog.pg_class c
      where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
      order by c.relname`,
  );
  const parts: string[] = [];
  for (const table of tables) {
    const rows = await query(
      url,
      `select t::text as line from public.${table['quoted']} t order by t::text collate "C"`,
    );
    parts.push(`table ${table['name']}`, ...rows.map((row) => row['line'] ?? ''));
  }
  return parts.join('\n');
}

/** What global transactions have left behind in one database: undo records and row locks. `url` logs in as `atomesh`. */
export async function leftovers(url: string): Promise<{ readonly records: number; readonly locks: number }> {
  const [row = {}] = await query(
    url,
    'select (select count(*) from atomesh.undo_record) as records, (select count(*) from atomesh.row_lock) as locks',
  );
  return { records: Number(row['records']), locks: Number(row['locks']) };
}
