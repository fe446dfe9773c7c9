/** The facts of tables that changes are planned by. */
import { systemClock } from '../../../src/platform/clock.ts';
import type { Log } from '../../../src/platform/log.ts';
import { catalogOfSql } from '../catalog-sql.ts';
import { readTables, type TableFacts } from '../catalog.ts';
import { openOwnPool, type OwnLogin } from '../own-pool.ts';
import { cacheFacts, type Facts } from './cache.ts';

export interface TableFactsSource extends Facts<TableFacts> {
  close(): Promise<void>;
}

const STATEMENT_MS_MAX = 5_000;

/** `login`: that of the second phase, which has to be shown triggers, and the tables that refer to others. */
export function createTableFacts(login: OwnLogin, log: Log): TableFactsSource {
  const pool = openOwnPool({
    connection: login,
    purpose: 'table facts',
    max: 1,
    statementTimeoutMs: STATEMENT_MS_MAX,
    lockTimeoutS: 1,
  });
  const source = cacheFacts(
    async (tables) => readTables(await pool.lists(catalogOfSql(tables)), tables.length),
    log,
    systemClock,
  );
  return { ...source, close: () => pool.end() };
}
