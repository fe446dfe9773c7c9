/** The planner alone, without a network and a server: what a known text costs it while others come that never come again. */
import pg from 'pg';
import { loadParser } from '../../proxy/postgres/parse.ts';
import { createPlanner } from '../../proxy/postgres/plan.ts';
import { medianOf, type Result } from '../measure.ts';

const SETTINGS = new Map([
  ['server_version', '18'],
  ['client_encoding', 'UTF8'],
  ['standard_conforming_strings', 'on'],
]);
const TEXTS_BETWEEN = 20;
/** A known text is looked up, and never parsed again: that would take five times as long. */
const KNOWN_MS_MAX = 0.02;

/** Plans `texts` texts in a database with such a table, and a known one between them. */
export async function measurePlanning(
  connectionString: string,
  table: string,
  texts: number,
): Promise<readonly Result[]> {
  await loadParser();
  const client = new pg.Client({ connectionString });
  await client.connect();
  const planner = createPlanner({ mode: 'undo', maxRows: 1_000, carriesBarrier: true });
  const plan = (text: string): ReturnType<typeof planner.plan> => planner.plan(text, SETTINGS, 0, 'undo');
  const timed = (text: string): number => {
    const start = performance.now();
    plan(text);
    return performance.now() - start;
  };
  const known = `update ${table} set balance = balance + 1 where id = $1`;
  const asked = plan(known);
  if (asked.kind === 'facts-needed') {
    const { rows } = await client.query({ text: asked.sql, values: [...asked.parameters], rowMode: 'array' });
    planner.learn(rows as (string | null)[][], 0);
  }
  await client.end();
  plan(known);
  const during: number[] = [];
  const others: number[] = [];
  for (let number = 0; number < texts; number += 1) {
    others.push(timed(`update ${table} set balance = ${number} where id = ${number}`));
    if (number % TEXTS_BETWEEN === 0) during.push(timed(known));
  }
  const value = medianOf(during);
  return [
    {
      name: `planning a known text while ${texts} others come, against planning those (at most)`,
      value,
      unit: 'ms',
      baseline: medianOf(others),
      ratio: value / medianOf(others),
      target: KNOWN_MS_MAX,
      pass: value <= KNOWN_MS_MAX,
    },
  ];
}
