/**
 * What goes wrong where changes are captured on the way to a database: fifty traps, found in other systems and by trying, and what
 * becomes of each here. The last table of docs/statements.md.
 */

/** A trap, how it ends, and the test whose title begins with, or has, these words. */
export interface Trap {
  readonly name: string;
  /** A word of docs/statements.md, or how it cannot arise. */
  readonly end: string;
  readonly file: string;
  readonly title: string;
}

const trap = (name: string, end: string, file: string, title: string): Trap => ({ name, end, file, title });
const KINDS = ['undo/kinds.test.ts', 'each kind of statement is captured, escalates or is refused'] as const;
const REFUSALS = ['undo/refusals.test.ts', 'what cannot be undone is refused before it runs'] as const;
const JOINED = ['undo/joined.test.ts', 'a change of several tables answers as without a sidecar'] as const;
const SHAPES = ['undo/statements.test.ts', 'every captured statement answers as the original'] as const;
const TYPES = ['types/types.test.ts', 'every type comes back byte for byte, whatever the client has set'] as const;

/** T1 to T50, in their order. */
export const TRAPS: readonly Trap[] = [
  trap(
    'A row comes or goes between the image and the change',
    'captured: one evaluation',
    'branch/concurrency.test.ts',
    'a row that changes while its lock is waited for is undone to what it had become',
  ),
  trap(
    'A join on the place of a row loses rows that have moved',
    'captured: joined on the key',
    'branch/concurrency.test.ts',
    'a primary key that changes while its lock is waited for is never missed silently',
  ),
  trap(
    'The row before, on PostgreSQL 18, also behind a wait',
    'captured',
    'undo/races.test.ts',
    'a change that waited for another client is undone to what that one left',
  ),
  trap(
    'The row before an upsert, on 14 to 17',
    'captured, or escalates',
    'branch/concurrency.test.ts',
    'an upsert that meets a row of this moment has its image or fails',
  ),
  trap('An upsert that may meet several unique values', 'captured', ...JOINED),
  trap('Triggers that change the row, or others', 'escalates', ...KINDS),
  trap('Cascading foreign keys', 'escalates', ...KINDS),
  trap(
    'Triggers that fire once more while a change is undone',
    'escalates; dirty when they come later',
    'branch/finish.test.ts',
    'a trigger that changes a row on its way back, or an altered table, makes the branch dirty',
  ),
  trap('`now()`, `random()`, `nextval()` in a change', 'captured: one evaluation', ...SHAPES),
  trap('A change of the primary key', 'captured', ...SHAPES),
  trap('Joins that meet a row twice', 'captured', ...JOINED),
  trap('Rows that move between partitions, inheritance', 'captured, or escalates', ...JOINED),
  trap('Views, rules, `INSTEAD OF`', 'escalates', ...KINDS),
  trap('Several changes in one statement', 'captured, or escalates', ...JOINED),
  trap('`EXPLAIN ANALYZE`, functions, `EXECUTE`, `DO`, `CALL`', 'captured or escalates', ...REFUSALS),
  trap('`MERGE`', 'captured from 18 on, else escalates', ...KINDS),
  trap('`COPY … FROM`', 'escalates', ...KINDS),
  trap('`TRUNCATE`, DDL, `VACUUM`', 'escalates or refused', ...REFUSALS),
  trap(
    'Savepoints, nested, named again, rolled back to twice',
    'captured: records are rows of the same local transaction',
    'branch/concurrency.test.ts',
    'savepoints carry records and locks with them',
  ),
  trap(
    'An error of a statement of the sidecar’s own fails the block',
    'captured: a savepoint around each',
    'sql-e2e/pipeline.test.ts',
    'pipelines in any order are answered, kept and undone as without a sidecar',
  ),
  trap(
    'Sequences',
    'passes: never set back',
    'branch/concurrency.test.ts',
    'savepoints carry records and locks with them, and sequences are left alone',
  ),
  trap('Generated and identity columns', 'captured', ...KINDS),
  trap(
    'Undoing row by row meets unique values and references',
    'captured: in reverse, or all at once',
    'rollback-equality/found.test.ts',
    'rows whose keys and references were renumbered at once come back',
  ),
  trap(
    'A value that was given up is taken by somebody else',
    'captured: values are locked',
    'branch/concurrency.test.ts',
    'a unique value that a global transaction gave up is held for its rollback',
  ),
  trap(
    'Keys that are equal and look different, or run together',
    'captured, or escalates',
    'types/types.test.ts',
    'values that are equal have one lock, whatever they look like',
  ),
  trap(
    'Row-level security, rights to columns',
    'escalates; the server’s error; dirty later',
    'branch/finish-errors.test.ts',
    'a table that has come to have row-level security is left alone',
  ),
  trap(
    'Several statements in one text',
    'captured, one by one',
    'sql-simple/several.test.ts',
    'several statements in one query are seen, kept and undone as without a sidecar',
  ),
  trap(
    'Statements prepared before, portals with a row limit, `WHERE CURRENT OF`',
    'captured',
    'undo/traps/cursors.test.ts',
    'rows of a change come in the portions that a driver asks for',
  ),
  trap(
    'A change without a block',
    'captured: in one of the sidecar’s',
    'sql-e2e/matrix.test.ts',
    'every statement, however it is sent, is seen, kept and undone as without a sidecar',
  ),
  trap(
    'Row counts, notices and last values that images change',
    'captured: none is',
    'wire-transparency/inside-gid.test.ts',
    'what was found by chance inside a global transaction stays found',
  ),
  trap('Values that do not survive their text', 'captured', ...TYPES),
  trap('Texts that depend on settings of the session', 'captured: under settings of their own', ...TYPES),
  trap(
    'Comparing rows by `=`',
    'captured: compared by their texts',
    'branch/finish.test.ts',
    'deleted and inserted rows are compared too, and a row that is already as it was is left alone',
  ),
  trap(
    'Images of some columns only',
    'captured: whole rows',
    'rollback-equality/equality.test.ts',
    'in global transactions, a rollback leaves what was there before',
  ),
  trap('Tables without a primary key', 'captured with another key, else escalates', ...KINDS),
  trap(
    '`SKIP LOCKED`, `NOWAIT`, `LIMIT`',
    'captured: one evaluation',
    'undo/traps/skip-locked.test.ts',
    'rows that are skipped or not waited for are those of the one evaluation',
  ),
  trap('Temporary, unlogged and foreign tables', 'passes, escalates, refused', ...KINDS),
  trap(
    'A table that is altered in between',
    'captured: planned again; dirty at a rollback',
    'branch/finish-errors.test.ts',
    'a statement meets the table it was planned for, or fails as stale',
  ),
  trap(
    'Two branches of one global transaction change one row',
    'refused',
    'branch/finish-errors.test.ts',
    'a row has one service a global transaction: the second one is told so',
  ),
  trap(
    'A rollback that overtakes the change',
    'refused: the branch is over',
    'branch/concurrency.test.ts',
    'a change that comes after the rollback fails, also when the branch had changed nothing',
  ),
  trap(
    'Images without end',
    'refused above `maxRows`',
    'branch/concurrency.test.ts',
    'more rows than allowed, and a table that is not the planned one, fail before anything counts',
  ),
  trap(
    'Errors of a rollback that nobody hears',
    'dirty, with its diagnosis',
    'branch/finish-errors.test.ts',
    'what stands in the way of a row for good makes the branch dirty, in the words of the database',
  ),
  trap('Advisory locks, notifications, settings, large objects', 'passes; large objects escalate', ...KINDS),
  trap(
    'Writers outside any global transaction',
    'dirty: nothing of theirs is lost',
    'branch/finish.test.ts',
    'a row that somebody else changed makes the branch dirty',
  ),
  trap(
    'Reads of what is not decided',
    'passes; a locking read waits',
    'isolation/specs.ts',
    'a locking read inside a global transaction does not see what another one may yet take back',
  ),
  trap(
    'REPEATABLE READ and SERIALIZABLE',
    'the errors of the server',
    'isolation/specs.ts',
    'under SERIALIZABLE two blocks that read what the other writes do not both commit',
  ),
  trap(
    'Deferred constraints',
    'captured; deferred triggers escalate',
    'sql-e2e/pipelines.ts',
    'a deferred constraint that fails at COMMIT',
  ),
  trap(
    'Pools, cancel requests, `DISCARD ALL`',
    'passes: one session of the server each',
    'sql-e2e/hygiene.test.ts',
    'what follows a local transaction of a gid is not captured, however that ended',
  ),
  trap(
    'A deadline that passes while a commit is on its way',
    'refused: one of the two',
    'sql-e2e/deaths.test.ts',
    'a COMMIT that comes after the rollback says so',
  ),
  trap(
    'A local lock is held while a global one is waited for',
    'captured: it is given back first',
    'sql-e2e/locks.test.ts',
    'a waiting block does not stand in the way of the rollback that it waits for',
  ),
];

/** The table of docs/statements.md. */
export function trapsTable(): string {
  const rows = TRAPS.map(({ name, end, file }, index) => `| T${index + 1} | ${name} | ${end} | \`test/${file}\` |`);
  return `| | what goes wrong | what becomes of it | shown by |\n| --- | --- | --- | --- |\n${rows.join('\n')}\n`;
}
