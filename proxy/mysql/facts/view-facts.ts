/**
 * Which views may change rows when they are read, by the functions that they call. The names of a database's views are known while it is
 * used, and the texts of those that statements name.
 */
import { systemClock } from '../../../src/platform/clock.ts';
import type { Log } from '../../../src/platform/log.ts';
import { viewsOfSql, type AskedTable } from '../catalog-sql.ts';
import { tableName } from '../identifier.ts';
import { isServerError, openOwnPool, type OwnLogin, type OwnPool } from '../own-pool.ts';
import { readRights } from '../setup/rights.ts';
import { serverOf } from '../setup/version.ts';
import { cacheFacts, type Facts } from './cache.ts';
import { readView, type ShownView, type ViewFacts, type ViewFault } from './view-text.ts';

/** A view that may change rows, or what may be one. */
export interface FoundView extends AskedTable, ViewFault {}

export interface ViewFactsSource {
  /**
   * One of the views that these names stand for, and of those that such views read, that may change rows; `none` where there is none, and
   * `unknown` where that is not known, or not any more. A database of no name is any of the server.
   */
  find(names: readonly AskedTable[]): FoundView | 'none' | 'unknown';
  /**
   * Asks for what `find` lacks: it may lack something else then.
   * @throws CodedError UPSTREAM_UNREACHABLE (retry safe) when the database cannot be asked.
   */
  learn(names: readonly AskedTable[]): Promise<void>;
  close(): Promise<void>;
}

/** The views of a database by their names. */
export interface ViewNames {
  /** Undefined where the second phase would not be shown all of them: anything may be a view. Names are folded. */
  readonly byName: ReadonlyMap<string, readonly AskedTable[]> | undefined;
  readonly fold: (name: string) => string;
}

/** `login`: that of the second phase, which has to be shown all tables, and the texts of views. */
export function createViewFacts(login: OwnLogin, log: Log): ViewFactsSource {
  const reader = new ViewReader(login, log);
  const source = findViews(
    cacheFacts((databases) => reader.names(databases), log, systemClock),
    cacheFacts((views) => reader.texts(views), log, systemClock),
  );
  return { ...source, close: () => reader.close() };
}

/** The same over any facts: `names` by database alone. */
export function findViews(names: Facts<ViewNames>, texts: Facts<ViewFacts>): Omit<ViewFactsSource, 'close'> {
  const lookAt = (tables: readonly AskedTable[]): Looked => look(tables, names, texts);
  return {
    find(tables) {
      const { found, databases, views } = lookAt(tables);
      if (found !== undefined) return found;
      return databases.length + views.length === 0 ? 'none' : 'unknown';
    },
    async learn(tables) {
      const { databases, views } = lookAt(tables);
      if (databases.length > 0) await names.learn(databases);
      if (views.length > 0) await texts.learn(views);
    },
  };
}

/** What is known, and what is missing to know more. */
interface Looked {
  found?: FoundView;
  readonly databases: AskedTable[];
  readonly views: AskedTable[];
}

function look(tables: readonly AskedTable[], names: Facts<ViewNames>, texts: Facts<ViewFacts>): Looked {
  const looked: Looked = { databases: [], views: [] };
  const seen = new Set<string>();
  const pending = [...tables];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const known = names.known(next.database, '');
    if (known === undefined) looked.databases.push({ database: next.database, table: '' });
    if (known === undefined || known === 'none') continue;
    if (known.byName === undefined)
      return {
        ...looked,
        found: { ...next, why: 'which may be a view that the second phase is not shown', isHidden: true },
      };
    for (const view of known.byName.get(known.fold(next.table)) ?? []) {
      const key = tableName(view);
      if (seen.has(key)) continue;
      seen.add(key);
      const facts = texts.known(view.database, view.table);
      if (facts === undefined) looked.views.push(view);
      if (facts === undefined || facts === 'none') continue;
      if (facts.fault !== undefined) return { ...looked, found: { ...view, ...facts.fault } };
      pending.push(...facts.reads);
    }
  }
  return looked;
}

const STATEMENT_MS_MAX = 5_000;
/** ER_NO_SUCH_TABLE, ER_WRONG_OBJECT: it is no view any more. */
const GONE: ReadonlySet<number> = new Set([1146, 1347]);
/** So many views are remembered of which it was said that they cannot be read. */
const TOLD_MAX = 1_000;

class ViewReader {
  readonly #login: OwnLogin;
  readonly #log: Log;
  readonly #told = new Set<string>();
  #pool: OwnPool;
  #isShownAll = false;

  constructor(login: OwnLogin, log: Log) {
    this.#login = login;
    this.#log = log;
    this.#pool = this.#open();
  }

  async names(databases: readonly AskedTable[]): Promise<readonly ViewNames[]> {
    if (!(await this.#maySeeAll())) return databases.map(() => ({ byName: undefined, fold: (name) => name }));
    const rows = await this.#pool.lists(viewsOfSql(databases.map(({ database }) => database)));
    return databases.map(({ database }, number) => {
      const own = rows.filter(([of]) => Number(of) === number);
      const isFolded = own.some(([, , , folding]) => folding !== '0');
      const fold = (name: string): string => (isFolded ? folded(name) : name);
      const byName = new Map<string, readonly AskedTable[]>();
      for (const [, schema, table] of own) {
        // MariaDB finds databases by names that differ in case or accents, even where it tells such names apart.
        if (schema === null || table === null || schema === undefined || table === undefined) continue;
        if (database !== '' && fold(schema) !== fold(database)) continue;
        byName.set(fold(table), [...(byName.get(fold(table)) ?? []), { database: schema, table }]);
      }
      return { byName, fold };
    });
  }

  async texts(views: readonly AskedTable[]): Promise<readonly (ViewFacts | undefined)[]> {
    const [[version] = []] = await this.#pool.lists('SELECT @@version');
    const server = serverOf(version ?? '', false);
    const found: (ViewFacts | undefined)[] = [];
    for (const view of views) {
      const shown = await this.#show(view);
      found.push(shown === undefined || 'fault' in shown ? shown : readView(shown, server));
    }
    return found;
  }

  close(): Promise<void> {
    return this.#pool.end();
  }

  async #show(view: AskedTable): Promise<ShownView | ViewFacts | undefined> {
    try {
      const [[, text, charset] = []] = await this.#pool.lists(`SHOW CREATE VIEW ${tableName(view)}`);
      return { database: view.database, text: text ?? '', charset: charset ?? '' };
    } catch (error) {
      if (!isServerError(error)) throw error;
      if (GONE.has(error.errno)) return undefined;
      this.#tell(tableName(view), error.message);
      return { fault: { why: 'whose text the second phase may not see', isHidden: true }, reads: [] };
    }
  }

  /**
   * Rights on everything count for connections that are made later: behind the first sight of the right another one is made. It is not
   * asked for alone what is granted: names that are not shown look like names that there are not.
   */
  async #maySeeAll(): Promise<boolean> {
    const lines = await this.#pool.lists('SHOW GRANTS');
    const { seesReferences } = readRights(
      lines.map(([line]) => line ?? ''),
      false,
    );
    if (!seesReferences) this.#tell('*.*', 'the account of the second phase lacks REFERENCES on *.*');
    if (seesReferences && !this.#isShownAll) {
      const before = this.#pool;
      this.#pool = this.#open();
      await before.end();
    }
    this.#isShownAll = seesReferences;
    return seesReferences;
  }

  #tell(view: string, reason: string): void {
    if (this.#told.size >= TOLD_MAX) this.#told.clear();
    if (this.#told.has(view)) return;
    this.#told.add(view);
    this.#log.warn(
      { view, err: reason },
      'what reads this view inside a global transaction is prepared or refused: run "atomesh db init" again, or GRANT SELECT, SHOW VIEW',
    );
  }

  #open(): OwnPool {
    return openOwnPool({
      connection: this.#login,
      purpose: 'view facts',
      max: 1,
      statementTimeoutMs: STATEMENT_MS_MAX,
      lockTimeoutS: 1,
    });
  }
}

/** At least as coarse as the servers fold: names that they tell apart may be equal here. */
function folded(name: string): string {
  return name.normalize('NFD').replaceAll(/\p{M}/gu, '').toLowerCase();
}
