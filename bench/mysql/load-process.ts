/** Clients of MySQL in a process of their own: a text or a prepared statement, one at a time. A question is a `Load` as JSON, its answer a `LoadAnswer`. */
import { closedLoop, medianOf } from '../measure.ts';
import { LoadClient } from './load-client.ts';

export interface Load {
  readonly port: number;
  readonly clients: number;
  readonly seconds: number;
  /** `text`: a row by a text of its own; `prepared`: by a statement with a parameter. */
  readonly kind: 'text' | 'prepared';
  /** The statement, with one `?` for the row; without it one that reads a row. */
  readonly sql?: string;
  /** In place of the statement: texts, each list of them in one write, when those before are answered. `?` is the row. */
  readonly texts?: readonly (readonly string[])[];
  /** What each client says once, at its start: its own, by its number. */
  readonly first?: readonly string[];
}

export interface LoadAnswer {
  readonly perSecond: number;
  /** Median time of one statement, in milliseconds. */
  readonly medianMs: number;
}

const ROWS = 200_000;
const SELECT = 'select balance from account where id = ?';

async function run({
  port,
  clients: count,
  seconds,
  kind,
  sql = SELECT,
  texts,
  first = [],
}: Load): Promise<LoadAnswer> {
  const clients = await Promise.all(Array.from({ length: count }, () => LoadClient.open(port)));
  const times: number[] = [];
  let row = 0;
  try {
    for (const [place, client] of clients.entries()) {
      const said = first[place];
      if (said !== undefined) await client.say(said);
      await client.prepare(sql);
    }
    const done = await closedLoop(count, { seconds }, async (place) => {
      // Rows of its own for each client, so that none waits for another.
      row += 1;
      const own = ((row * count + place) % ROWS) + 1;
      const start = performance.now();
      for (const together of texts ?? []) {
        await clients[place]?.say(...together.map((text) => text.replaceAll('?', String(own))));
      }
      if (texts === undefined && kind === 'prepared') await clients[place]?.execute(own);
      else if (texts === undefined) await clients[place]?.say(sql.replace('?', String(own)));
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
