/** What a client may ask right behind a statement about that statement. */
import fc from 'fast-check';

/** What an answer is about: some of it is compared with the twin's only where both must say the same (alike.ts). */
export type About = 'counts' | 'rows-found' | 'ids' | 'warnings';

export interface Question {
  readonly sql: string;
  readonly about: readonly About[];
}

/** A question of the client, and what its answer is about. */
export const question = (sql: string, ...about: readonly About[]): Question => ({ sql, about });

const QUESTIONS: readonly Question[] = [
  question('SELECT ROW_COUNT(), LAST_INSERT_ID()', 'counts', 'ids'),
  question('SELECT ROW_COUNT(), FOUND_ROWS(), LAST_INSERT_ID()', 'counts', 'rows-found', 'ids'),
  question('SELECT @@identity, LAST_INSERT_ID() + 0', 'ids'),
  question('SELECT FOUND_ROWS()', 'rows-found'),
  question('SHOW WARNINGS', 'warnings'),
  question('SHOW COUNT(*) WARNINGS', 'warnings'),
  question('SHOW ERRORS', 'warnings'),
  question('SELECT @@warning_count, @@error_count, ROW_COUNT()', 'warnings', 'counts'),
];

/** Mostly nothing; the first question is about the statement, and the next one about the question before it. */
export const asking: fc.Arbitrary<readonly Question[]> = fc.oneof(
  { weight: 3, arbitrary: fc.constant([]) },
  { weight: 2, arbitrary: fc.array(fc.constantFrom(...QUESTIONS), { minLength: 1, maxLength: 3 }) },
);
