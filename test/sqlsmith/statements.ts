/** Statements of SQLsmith (https://github.com/anse1/sqlsmith), which knows every function and operator of the server. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type pg from 'pg';
import type { Mesh } from '../sql-e2e/mesh.ts';
import type { Batch, Step } from '../rollback-equality/grammar.ts';

const BYTES_MAX = 512 * 1024 * 1024;
const MS_MAX = 120_000;
/** Most of what it makes are queries; of those that change no row only few are wanted. */
const CHANGES = /^\s*(?:insert|update|delete|merge|with)\b/i;
const QUERIES_EACH = 20;
/** How many of its queries there are for each statement that is left of them here. */
const QUERIES_A_STATEMENT = 10;
const STATEMENTS_A_BATCH = 5;

/** It writes names as the catalogue has them, without the quotes that these need. */
const UNQUOTED: readonly (readonly [RegExp, string])[] = [
  [/(?<!")Mixed "Case/g, '"Mixed ""Case"'],
  [/(?<!")(Odd Table|Key A|Pair Of|ü;--)(?!")/g, '"$1"'],
  [/(?<=\.)select\b/g, '"select"'],
];

export type Smithed =
  | { readonly kind: 'batches'; readonly batches: readonly Batch[] }
  | { readonly kind: 'missing'; readonly why: string };

/**
 * Batches of its statements over the tables of a mesh, at most `most` statements that the server understands; `missing` where it is
 * not installed or cannot read the catalogue.
 */
export async function smith({ server, owner }: Mesh, seed: number, most: number): Promise<Smithed> {
  const target = `host=127.0.0.1 port=${server.port} dbname=shop user=${server.user}`;
  const options = [
    '--dry-run',
    '--exclude-catalog',
    `--seed=${seed}`,
    `--max-queries=${most * QUERIES_A_STATEMENT}`,
    `--target=${target}`,
  ];
  let output: string;
  try {
    output = (await promisify(execFile)('sqlsmith', options, { maxBuffer: BYTES_MAX, timeout: MS_MAX })).stdout;
  } catch (error) {
    const why = (error as Error).message.split('\n')[0] ?? '';
    return { kind: 'missing', why: `sqlsmith did not run (Debian: apt-get install sqlsmith): ${why}` };
  }
  const texts = UNQUOTED.reduce((text, [name, quoted]) => text.replaceAll(name, quoted), output)
    .split(/;\s*\n/)
    .map((text) => text.trim())
    .filter((text, index) => text !== '' && (CHANGES.test(text) || index % QUERIES_EACH === 0));
  const steps: Step[] = [];
  for (const text of texts) {
    if (steps.length >= most) break;
    if (!(await isUnderstood(owner, text))) continue;
    steps.push({ kind: 'statement', sql: [text], protocol: 'simple', isGuarded: true });
  }
  const batches: Batch[] = [];
  for (let at = 0; at < steps.length; at += STATEMENTS_A_BATCH) {
    const local = { isBlock: true, end: 'COMMIT' as const, steps: steps.slice(at, at + STATEMENTS_A_BATCH) };
    batches.push({ settings: 0, sessions: [[local], []], order: [], isTwoGids: false });
  }
  return { kind: 'batches', batches };
}

/** It is older than the servers, and guesses at types that it does not know: what is no statement to them proves nothing. */
async function isUnderstood(client: pg.Client, text: string): Promise<boolean> {
  try {
    await client.query(`PREPARE smithed AS ${text}`);
  } catch {
    return false;
  }
  await client.query('DEALLOCATE smithed');
  return true;
}
