/**
 * XA branches whose own connections to the server are still there, without the clients that prepared them. While a server closes such a
 * connection, it may take an XA COMMIT from another one, answer OK, and do nothing (docs/decisions/0034): so a branch is ended on its own.
 */
import { assert } from '../../../src/platform/assert.ts';
import type { Instant } from '../../../src/contract/transaction.ts';
import { at, now } from '../../../src/platform/clock.ts';
import type { ParkedConnection } from './parked-connection.ts';
import { xaFailure } from './statements.ts';

/** Beyond, the oldest connection is closed, and its branch ended over another one: a server has 151 by default, and others need some too. */
const PARKED_MAX = 50;

/**
 * How long a branch is left once the connection that prepared it is closed, in milliseconds: that outlasts the moment in which nothing comes of XA
 * COMMIT and XA ROLLBACK, which without it were lost in one of some hundred branches (MariaDB 10.11, MySQL 8.0.15).
 */
export const SETTLE_MS = 300;

type Parked =
  /** XA PREPARE is on its way. */
  | { readonly kind: 'preparing' }
  | { readonly kind: 'parked'; readonly connection: ParkedConnection }
  /** XA COMMIT or XA ROLLBACK is on its way. */
  | { readonly kind: 'ending'; readonly connection: ParkedConnection }
  /** The connection was closed just now. */
  | { readonly kind: 'closing'; readonly settled: Promise<void> };

/** A branch that is about to be prepared. */
export interface Place {
  /** It is prepared, on this connection. */
  park(connection: ParkedConnection): void;
  /** It is not, or its connection is gone. Does nothing where it is parked. */
  giveUp(): void;
}

export class ParkedBranches {
  /** By name (`xidSql`), those that were parked first ahead. */
  readonly #branches = new Map<string, Parked>();

  /** To be called ahead of XA PREPARE: from then on nobody else ends the branch. */
  reserve(name: string): Place {
    this.#branches.set(name, { kind: 'preparing' });
    return {
      park: (connection) => this.#park(name, connection),
      giveUp: () => {
        if (this.#branches.get(name)?.kind === 'preparing') this.#close(name);
      },
    };
  }

  /**
   * Ends a branch on its own connection. `busy`: it is just being prepared or ended. `elsewhere`: it has none here, or not any more, and
   * may be ended over another one as far as is known here. Never rejects.
   */
  async end(verb: 'COMMIT' | 'ROLLBACK', name: string): Promise<'ended' | 'busy' | 'elsewhere'> {
    const found = this.#branches.get(name);
    if (found?.kind === 'preparing' || found?.kind === 'ending') return 'busy';
    if (found?.kind !== 'parked') {
      await found?.settled;
      return 'elsewhere';
    }
    const { connection } = found;
    this.#branches.set(name, { kind: 'ending', connection });
    const said = await connection.say(`XA ${verb} ${name}`);
    if (said === 'ok') {
      this.#branches.delete(name);
      connection.close();
      return 'ended';
    }
    // Something of the server's own was in the way, and the branch is what it was.
    if (said !== 'gone' && xaFailure(said.errno) === 'busy') {
      this.#branches.set(name, { kind: 'parked', connection });
      return 'busy';
    }
    this.#close(name, connection);
    return 'busy';
  }

  /** How many connections are parked. */
  get size(): number {
    return [...this.#branches.values()].filter(({ kind }) => kind === 'parked').length;
  }

  /** Closes all connections: what is prepared is left to the next start. */
  close(): void {
    for (const branch of this.#branches.values()) if ('connection' in branch) branch.connection.close();
    this.#branches.clear();
  }

  #park(name: string, connection: ParkedConnection): void {
    assert(this.#branches.get(name)?.kind === 'preparing', 'a branch is parked once');
    // At the end of the line.
    this.#branches.delete(name);
    this.#branches.set(name, { kind: 'parked', connection });
    void connection.closed.then(() => {
      if (this.#branches.get(name)?.kind === 'parked') this.#close(name);
    });
    if (this.size > PARKED_MAX) this.#closeOldest();
  }

  #closeOldest(): void {
    for (const [name, branch] of this.#branches) {
      if (branch.kind === 'parked') return this.#close(name, branch.connection);
    }
  }

  #close(name: string, connection?: ParkedConnection): void {
    connection?.close();
    const settled = new Promise<void>((resolve) => {
      at((now() + SETTLE_MS) as Instant, () => {
        if (this.#branches.get(name)?.kind === 'closing') this.#branches.delete(name);
        resolve();
      });
    });
    this.#branches.set(name, { kind: 'closing', settled });
  }
}
