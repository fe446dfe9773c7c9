/** Local transactions of one row each, in a process of their own. A question is an `XaLoad` as JSON, its answer an `XaAnswer`. */
import { closedLoop } from '../measure.ts';
import { LoadClient } from './load-client.ts';

export interface XaLoad {
  readonly port: number;
  readonly clients: number;
  readonly seconds: number;
  /**
   * `plain`: BEGIN, the change, COMMIT. `one-phase`: XA START, the change, XA END and XA COMMIT … ONE PHASE in one write. `prepared`: with
   * XA PREPARE, and XA COMMIT from elsewhere; that needs a new connection each time. `reconnecting`: `plain` on a new connection each time.
   */
  readonly kind: 'plain' | 'one-phase' | 'prepared' | 'reconnecting';
}

export interface XaAnswer {
  readonly perSecond: number;
}

/** So many rows a client, so that none waits for another. */
const ROWS_EACH = 100;
/**
 * So many are prepared before the oldest is ended: servers lose what is ended at the moment in which the connection that prepared it is
 * being closed (proxy/mysql/xa/prepared.ts).
 */
const UNFINISHED_MAX = 16;

class Worker {
  readonly #port: number;
  readonly #place: number;
  #client: LoadClient;
  /** Ends what is prepared. */
  readonly #finisher: LoadClient;
  #count = 0;
  /** Names of what is prepared, the oldest first. */
  readonly #prepared: string[] = [];

  private constructor(port: number, place: number, client: LoadClient, finisher: LoadClient) {
    this.#port = port;
    this.#place = place;
    this.#client = client;
    this.#finisher = finisher;
  }

  static async open(port: number, place: number): Promise<Worker> {
    return new Worker(port, place, await LoadClient.open(port), await LoadClient.open(port));
  }

  async run(kind: XaLoad['kind']): Promise<void> {
    this.#count += 1;
    const id = this.#place * ROWS_EACH + (this.#count % ROWS_EACH) + 1;
    const change = `update account set balance = balance + 1 where id = ${id}`;
    const xid = `'bench-${process.pid}-${this.#place}','${this.#count}',1`;
    const client = this.#client;
    switch (kind) {
      case 'plain':
      case 'reconnecting':
        await client.say('BEGIN');
        await client.say(change);
        await client.say('COMMIT');
        if (kind === 'reconnecting') await this.#reconnect();
        return;
      case 'one-phase':
        await client.say(`XA START ${xid}`);
        await client.say(change);
        return await client.say(`XA END ${xid}`, `XA COMMIT ${xid} ONE PHASE`);
      case 'prepared':
        await client.say(`XA START ${xid}`);
        await client.say(change);
        await client.say(`XA END ${xid}`, `XA PREPARE ${xid}`);
        await this.#reconnect();
        this.#prepared.push(xid);
        return await this.#finish(UNFINISHED_MAX);
    }
  }

  /** Until so many are left. */
  async #finish(left: number): Promise<void> {
    while (this.#prepared.length > left) {
      await this.#finisher.say(`XA COMMIT ${this.#prepared[0] ?? ''}`);
      this.#prepared.shift();
    }
  }

  async end(): Promise<void> {
    await this.#finish(0);
    this.#client.end();
    this.#finisher.end();
  }

  async #reconnect(): Promise<void> {
    this.#client.end();
    this.#client = await LoadClient.open(this.#port);
  }
}

async function run({ port, clients, seconds, kind }: XaLoad): Promise<XaAnswer> {
  const workers = await Promise.all(Array.from({ length: clients }, (_, place) => Worker.open(port, place)));
  try {
    const done = await closedLoop(clients, { seconds }, async (place) => await workers[place]?.run(kind));
    return { perSecond: done.count / done.seconds };
  } finally {
    for (const worker of workers) await worker.end();
  }
}

process.on('message', (question) => {
  run(JSON.parse(String(question)) as XaLoad).then(
    (answer) => process.send?.(answer),
    (error: unknown) => process.send?.({ error: String(error) }),
  );
});
process.on('disconnect', () => process.exit(0));
process.send?.({ port: 0 });
