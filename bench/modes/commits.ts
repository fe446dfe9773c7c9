/** How many database transactions a coordinator's transactions cost, by PostgreSQL's own count. */
import pg from 'pg';

/** A backend reports its counts when it falls idle, but not more often than once a second (PG source: PGSTAT_MIN_INTERVAL). */
const REPORT_MS = 1200;
const IDLE_MS = 4000;

export interface CommitLoad {
  /** Any database but the one that is counted. */
  readonly url: string;
  /** The database whose commits are counted; nobody but the coordinator uses it. */
  readonly database: string;
  /** Transactions that are measured. */
  readonly count: number;
  /** Carries out so many of them. */
  readonly load: (count: number) => Promise<unknown>;
}

/** Database commits per transaction, without those that an idle coordinator makes in the same time. */
export async function commitsPerTransaction({ url, database, count, load }: CommitLoad): Promise<number> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const committed = async (): Promise<{ readonly commits: number; readonly at: number }> => {
      // After a pause the next transaction has each backend report what it did before.
      await pause(REPORT_MS);
      await load(1);
      await pause(REPORT_MS);
      const { rows } = await client.query<{ commits: string }>(
        'select xact_commit as commits from pg_stat_database where datname = $1',
        [database],
      );
      return { commits: Number(rows[0]?.commits), at: performance.now() };
    };
    const first = await committed();
    await pause(IDLE_MS);
    const idle = await committed();
    await load(count);
    const last = await committed();
    const perMs = (idle.commits - first.commits) / (idle.at - first.at);
    return (last.commits - idle.commits - perMs * (last.at - idle.at)) / count;
  } finally {
    await client.end();
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
