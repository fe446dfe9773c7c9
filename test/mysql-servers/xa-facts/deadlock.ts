/** A real deadlock, whose victim is known. */
import type { Connection } from 'mysql2/promise';
import { eventually, rowsOf } from '../second-phase/world.ts';

/**
 * Changes row 1 of `row_` on `victim`, which has a local transaction open, and has it wait for a row that `other` holds while `other` waits
 * for row 1. The victim is rolled back, because it has changed less. Answers the number of its error. `other` is left in its local transaction.
 */
export async function deadlock(victim: Connection, other: Connection): Promise<number | undefined> {
  await other.query('begin');
  await other.query('update row_ set v = v + 1 where id = 2');
  await other.query('insert into heavy (v) values (1), (2), (3), (4), (5), (6), (7), (8), (9), (10), (11), (12)');
  await victim.query('update row_ set v = v + 1 where id = 1');
  const waiting = other.query('update row_ set v = v + 1 where id = 1');
  await eventually('the other one waits', async () => {
    const [found] = await rowsOf<{ n: number }>(
      victim,
      "select count(*) as n from information_schema.processlist where state in ('updating', 'Updating') and info like 'update row_%id = 1'",
    );
    return Number(found?.n) === 1;
  });
  const errno = await errnoOf(victim, 'update row_ set v = v + 1 where id = 2');
  await waiting;
  return errno;
}

/** The number of the error that a statement fails with; undefined where it does not. */
export async function errnoOf(connection: Connection, sql: string): Promise<number | undefined> {
  try {
    await connection.query(sql);
    return undefined;
  } catch (error) {
    return (error as { readonly errno?: number }).errno;
  }
}

/** What both need, beside `row_` with its rows 1 to 9. */
export const TABLES =
  'create table row_ (id int primary key, v int not null); insert into row_ values (1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, 0), (7, 0), (8, 0), (9, 0); create table heavy (id int auto_increment primary key, v int)';
