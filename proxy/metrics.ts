/** Counts of the database listeners. */
import { Counter, Gauge, type Registry } from '../src/platform/metrics.ts';
import type { SqlEvent, Unattributed } from './sql/event.ts';

/** What is read of a database when somebody scrapes. */
export interface DatabaseNumbers {
  /** Open sessions. */
  sessions(): number;
  /** Prepared transactions of this service that are not ended, as of the last look. */
  inDoubt(): number;
  /** Connections to the server that are kept until what was prepared over them has ended; absent where none ever are. */
  parked?(): number;
}

/** The metrics of all database listeners of one sidecar. */
export interface SqlMetrics {
  /** A statement was served inside a global transaction, or a connection broke the protocol. */
  count(database: string, event: SqlEvent): void;
  /** Registers a database whose numbers are read when somebody scrapes. */
  watch(database: string, numbers: DatabaseNumbers): void;
}

/** Registers the metrics; once per registry. The label `database` comes from the configuration. */
export function openSqlMetrics(registry: Registry): SqlMetrics {
  const watched = new Map<string, DatabaseNumbers>();
  const statements = new Counter({
    name: 'atomesh_sql_statements_total',
    help: 'Statements inside global transactions: captured, entered (changes of an operation behind its barrier), escalated (changes without images, in a local transaction that is prepared), prepared (such local transactions), refused, or passed because they change nothing; operations of which only a part took effect (half); and broken connections',
    labelNames: ['database', 'event'],
    registers: [registry],
  });
  const unattributed = new Counter({
    name: 'atomesh_sql_unattributed_total',
    help: 'Statements that named no global transaction while a request of one was being served, by the reason: ambiguous (several requests of their trace), unknown-trace, none',
    labelNames: ['database', 'reason'],
    registers: [registry],
  });
  const sessions: Gauge<'database'> = new Gauge({
    name: 'atomesh_sql_sessions',
    help: 'Database sessions that are open through this sidecar',
    labelNames: ['database'],
    registers: [registry],
    collect() {
      for (const [database, numbers] of watched) sessions.set({ database }, numbers.sessions());
    },
  });
  const inDoubt: Gauge<'database'> = new Gauge({
    name: 'atomesh_sql_in_doubt',
    help: 'Prepared transactions of this service that wait for the end of their global transaction, as of the last look',
    labelNames: ['database'],
    registers: [registry],
    collect() {
      for (const [database, numbers] of watched) inDoubt.set({ database }, numbers.inDoubt());
    },
  });
  const parked: Gauge<'database'> = new Gauge({
    name: 'atomesh_sql_parked',
    help: 'Connections to a MySQL or MariaDB server that are kept without a client until what was prepared over them has ended',
    labelNames: ['database'],
    registers: [registry],
    collect() {
      for (const [database, numbers] of watched) {
        if (numbers.parked !== undefined) parked.set({ database }, numbers.parked());
      }
    },
  });
  const children = new Map<string, { inc(): void }>();
  return {
    count(database, event) {
      const key = `${database} ${event}`;
      const child =
        children.get(key) ??
        (isUnattributed(event)
          ? unattributed.labels({ database, reason: event })
          : statements.labels({ database, event }));
      children.set(key, child);
      child.inc();
    },
    watch: (database, numbers) => void watched.set(database, numbers),
  };
}

function isUnattributed(event: SqlEvent): event is Unattributed {
  return event === 'ambiguous' || event === 'unknown-trace' || event === 'none';
}
