/** What a client says in a global transaction that is cut at every message: as data. */
import type { FrontendMessage } from '../../proxy/postgres/wire/messages.ts';
import { emptied } from '../sql/emptied.ts';
import { commented } from '../sql-e2e/prove.ts';
import { say } from '../sql-e2e/wire-client.ts';

export const SCHEMA = `
  CREATE TABLE account (id int PRIMARY KEY, code text UNIQUE, balance int NOT NULL, note text);
  -- Its rows cannot be told apart, so what changes it has no row images.
  CREATE TABLE journal (note text);
  CREATE TABLE entry (id int PRIMARY KEY, account int NOT NULL REFERENCES account, amount int NOT NULL);`;

export const TABLES = ['account', 'entry', 'journal'] as const;

export const DATA = `
  ${emptied(TABLES)}
  INSERT INTO account SELECT n, 'c' || n, 100, NULL FROM generate_series(1, 6) n;
  INSERT INTO entry VALUES (1, 1, 100), (2, 2, 100);`;

/** What a client sends in one write; each step waits for the answers of the one before. */
export type Step = (gid: string) => readonly FrontendMessage[];

export interface Flow {
  readonly name: string;
  /** The database at the sidecar: they differ in their mode only. */
  readonly mode: 'undo' | 'xa';
  readonly steps: readonly Step[];
  /** A row of the flow is held by another global transaction, which is rolled back once the flow has met it. */
  readonly meetsHolder?: true;
}

/** Takes a row that flows with `meetsHolder` change. */
export const HOLD = 'UPDATE account SET balance = 0 WHERE id = 1';

const simple =
  (text: string): Step =>
  (gid) => [say.query(commented(text, gid))];

const extended =
  (text: string, ...values: readonly (string | number)[]): Step =>
  (gid) => [...say.run(commented(text, gid), values), say.sync];

/** Begin, changes of all kinds, savepoints kept and rolled back, commit. */
const BLOCK = [
  'BEGIN',
  'UPDATE account SET balance = balance - 30 WHERE id = 1',
  'SAVEPOINT a',
  "UPDATE account SET note = 'lost' WHERE id IN (1, 2)",
  'ROLLBACK TO a',
  'INSERT INTO entry VALUES (10, 1, -30), (11, 2, 30)',
  'RELEASE a',
  'DELETE FROM entry WHERE id = 1',
  'COMMIT',
] as const;

const SINGLE = "UPDATE account SET balance = balance + 1, code = code || 'x' WHERE id IN (1, 2)";

/** Named statements, parameters, rows that come back, all in one pipeline. */
const pipeline: Step = (gid) => [
  ...say.run(commented('BEGIN', gid)),
  say.parse('UPDATE account SET balance = balance + $1 WHERE id = $2 RETURNING id, balance', 'add'),
  say.bind([5, 1], 'add'),
  say.describe(),
  say.execute(),
  say.bind([-5, 2], 'add'),
  say.execute(),
  ...say.run('INSERT INTO entry VALUES ($1, 1, 5)', [10]),
  ...say.run('COMMIT'),
  say.sync,
];

const UNDO: readonly Omit<Flow, 'mode'>[] = [
  { name: 'a block by the simple protocol', steps: BLOCK.map(simple) },
  {
    name: 'a block by the extended protocol',
    steps: [
      extended('BEGIN'),
      extended('UPDATE account SET balance = balance - $1 WHERE id = $2 RETURNING balance', 30, 1),
      extended('DELETE FROM entry WHERE account = $1', 2),
      extended('COMMIT'),
    ],
  },
  { name: 'a statement of its own by the simple protocol', steps: [simple(SINGLE)] },
  {
    name: 'a statement of its own by the extended protocol',
    steps: [extended('UPDATE account SET balance = balance + $1 WHERE id = 1 RETURNING balance', 7)],
  },
  { name: 'a block in one pipeline', steps: [pipeline] },
  {
    name: 'a block that waits for a row of another global transaction',
    meetsHolder: true,
    steps: [simple('BEGIN'), simple('DELETE FROM entry WHERE id = 2'), simple(SINGLE), simple('COMMIT')],
  },
  {
    name: 'a statement of its own that waits for a row of another global transaction',
    meetsHolder: true,
    steps: [extended(SINGLE)],
  },
];

const XA: readonly Omit<Flow, 'mode'>[] = [
  { name: 'a block by the simple protocol', steps: BLOCK.map(simple) },
  { name: 'a statement of its own by the extended protocol', steps: [extended(SINGLE)] },
  { name: 'a block in one pipeline', steps: [pipeline] },
];

/** In undo mode a local transaction with a change that has no row images is prepared. */
const ESCALATED: Omit<Flow, 'mode'> = {
  name: 'a block that is escalated',
  steps: [
    simple('BEGIN'),
    simple(SINGLE),
    simple("INSERT INTO journal VALUES ('paid')"),
    simple('DELETE FROM entry WHERE id = 2'),
    simple('COMMIT'),
  ],
};

export const FLOWS: readonly Flow[] = [
  ...[...UNDO, ESCALATED].map((flow) => ({ ...flow, mode: 'undo' as const })),
  ...XA.map((flow) => ({ ...flow, mode: 'xa' as const })),
];
