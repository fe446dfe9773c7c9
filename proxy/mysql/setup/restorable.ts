/** Which tables the account of the second phase can put rows back in: of others nothing may be captured. */
import { CodedError } from '../../../src/contract/errors.ts';
import type { Instant } from '../../../src/contract/transaction.ts';
import { now } from '../../../src/platform/clock.ts';
import type { FactsSource } from '../inside/parts.ts';
import { openOwnPool, type OwnLogin, type OwnPool } from '../own-pool.ts';
import { readRights, RIGHT_TO_SEE, ROW_RIGHTS, type Rights } from './rights.ts';

export interface RestorableTables {
  /** Checks at the start of a sidecar. @throws CodedError BAD_REQUEST that says what is to be granted. */
  check(database: string): void;
  /** These facts, but of no table whose rows could not be put back: `learn` rejects with what is to be granted. */
  guard(facts: FactsSource): FactsSource;
  close(): Promise<void>;
}

const STATEMENT_MS_MAX = 5_000;
/** Rights that were taken away are noticed after so long at most, while facts are asked for. Those that were given count at once. */
const AGE_MS_MAX = 60_000;
/** So many tables are remembered with what is missing on them. */
const TABLES_MAX = 10_000;

/**
 * Reads the rights of the account.
 * @throws CodedError UPSTREAM_UNREACHABLE (retry safe) when the database cannot be asked.
 */
export async function openRestorableTables(connection: OwnLogin): Promise<RestorableTables> {
  const pool = openOwnPool({
    connection,
    purpose: 'rights',
    max: 1,
    statementTimeoutMs: STATEMENT_MS_MAX,
    lockTimeoutS: 1,
  });
  const first = await readKnown(pool).catch(async (error: unknown) => {
    await pool.end();
    throw error;
  });
  return new Restorable(pool, first);
}

/** What the rights were at an instant, and what was asked of them since. */
interface Known {
  readonly rights: Rights;
  readonly at: Instant;
  readonly missing: Map<string, readonly string[]>;
}

async function readKnown(pool: OwnPool): Promise<Known> {
  try {
    const [[folding] = []] = await pool.lists('SELECT @@lower_case_table_names');
    const lines = await pool.lists('SHOW GRANTS');
    const rights = readRights(
      lines.map(([line]) => line ?? ''),
      String(folding) !== '0',
    );
    return { rights, at: now(), missing: new Map() };
  } catch (error) {
    throw new CodedError('UPSTREAM_UNREACHABLE', `the rights of the second phase cannot be read: ${String(error)}`, {
      retry: 'safe',
      hint: 'Check upstream, tls and credentials of this database.',
      cause: error,
    });
  }
}

class Restorable implements RestorableTables {
  readonly #pool: OwnPool;
  #known: Known;
  #reading: Promise<void> | undefined;

  constructor(pool: OwnPool, known: Known) {
    this.#pool = pool;
    this.#known = known;
  }

  check(database: string): void {
    const { rights } = this.#known;
    if (!rights.seesReferences) throw lacking('may not see all foreign keys', [RIGHT_TO_SEE], '*.*');
    const lacks = database === '' ? [] : rights.missingIn(database);
    if (lacks.length > 0) throw lacking(`may not restore rows of the database ${database}`, lacks, `${database}.*`);
  }

  guard(facts: FactsSource): FactsSource {
    return {
      known: (database, table) =>
        this.#missingOn(database, table).length > 0 ? undefined : facts.known(database, table),
      learn: async (tables) => {
        const isLacking = tables.some(({ database, table }) => this.#missingOn(database, table).length > 0);
        if (isLacking || now() - this.#known.at > AGE_MS_MAX) await this.#readAgain();
        for (const { database, table } of tables) {
          const lacks = this.#missingOn(database, table);
          if (lacks.length === 0) continue;
          throw lacking(`may not restore rows of the table ${database}.${table}`, lacks, `${database}.*`);
        }
        await facts.learn(tables);
      },
      moved: () => facts.moved(),
    };
  }

  close(): Promise<void> {
    return this.#pool.end();
  }

  #missingOn(database: string, table: string): readonly string[] {
    const { rights, missing } = this.#known;
    if (!rights.seesReferences) return [RIGHT_TO_SEE];
    const key = JSON.stringify([database, table]);
    const found = missing.get(key) ?? rights.missingOn(database, table);
    if (missing.size >= TABLES_MAX) missing.clear();
    missing.set(key, found);
    return found;
  }

  /** Many ask at the same time, and one question serves them all. */
  #readAgain(): Promise<void> {
    this.#reading ??= readKnown(this.#pool)
      .then((known) => {
        this.#known = known;
      })
      .finally(() => {
        this.#reading = undefined;
      });
    return this.#reading;
  }
}

function lacking(what: string, rights: readonly string[], where: string): CodedError {
  return new CodedError(
    'BAD_REQUEST',
    `the account of the second phase ${what}: it lacks ${rights.join(', ')} on ${where}`,
    {
      hint:
        `Run "atomesh db init --finisher" with this account, or as an administrator GRANT ${ROW_RIGHTS.join(', ')} ` +
        `on the database and ${RIGHT_TO_SEE} on *.* to the account itself: what a role gives it is not looked at.`,
    },
  );
}
