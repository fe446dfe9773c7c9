/** Clients of MySQL in a process of their own: a text or a prepared statement, one at a time. A question is a `Load` as JSON, its answer a `LoadAnswer`. */
import { closedLoop, medianOf } from '../measure.ts';
import { LoadClient } from './load-client.ts';

export interface Load {
  readonly port: number;
  readonly clients: number;
  readonly seconds: number;
  /** `text`: a row by a text of its own; `prepared`: by a statement with a parameter. */
  readonly kind: 'text' | 'prepared';
}

export interface LoadAnswer {
  readonly perSecond: number;
  /** Median time of one statement, in milliseconds. */
  readonly medianMs: number;
}

const ROWS = 10_000;
const PREPARE = 'select balance from account where id = ?';

async function run({ port, clients: count, seconds, kind }: Load): Promise<LoadAnswer> {
  const clients = await Promise.all(Array.from({ length: count }, () => LoadClient.open(port)));
  const times: number[] = [];
  let row = 0;
  try {
    for (const client of clients) await client.prepare(PREPARE);
    const done = await closedLoop(count, { seconds }, async (place) => {
      row = (row % ROWS) + 1;
      const start = performance.now();
      if (kind === 'prepared') await clients[place]?.execute(row);
      else await clients[place]?.say(PREPARE.replace('?', String(row)));
      times.push(performance.now() - start);
    });
    return { perSecond: done.count / done.seconds, medianMs: medianOf(times) };
  } finally {
    for (const client of clients) client.end();
  }
}

process.on('message', (question) => {
  run(JSON.parse(String(question)) as Load).then(
    (answer) => process.send?.(answer),
    (error: unknown) => process.send?.({ error: String(error) }),
  );
});
process.on('disconnect', () => process.exit(0));
process.send?.({ port: 0 });
