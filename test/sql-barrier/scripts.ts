/** What clients do with a session inside an operation; without a sidecar they get the same answers. */
import type { FrontendMessage } from '../../proxy/postgres/wire/messages.ts';
import { say, type WireClient } from '../sql-e2e/wire-client.ts';

/** Answers every line that the client got. `name` puts the mark into a text. */
export type Script = (wire: WireClient, name: (text: string) => string) => Promise<readonly string[]>;

const data = (text: string): FrontendMessage => ({ kind: 'copy-data', data: Buffer.from(text) });
const done: FrontendMessage = { kind: 'copy-done' };
const fail: FrontendMessage = { kind: 'copy-fail', reason: Buffer.from('enough') };

const NOTE = "INSERT INTO note (said) VALUES ('x')";
const BAD = 'INSERT INTO account VALUES (NULL, 1)';

/** One text after the other, by the simple protocol or each with a Sync of its own. */
function texts(protocol: 'simple' | 'extended', ...all: readonly string[]): Script {
  return async (wire, name) => {
    const lines: string[] = [];
    for (const [index, text] of all.entries()) {
      const sql = index === 0 ? name(text) : text;
      lines.push(...(await wire.ask(...(protocol === 'simple' ? [say.query(sql)] : [...say.run(sql), say.sync]))));
    }
    return lines;
  };
}

/** All in one pipeline. */
function pipeline(...all: readonly string[]): Script {
  return (wire, name) => wire.ask(...all.flatMap((text, index) => say.run(index === 0 ? name(text) : text)), say.sync);
}

/** A COPY whose data are sent when the server asks for them. */
function copying(protocol: 'simple' | 'extended', ...messages: readonly FrontendMessage[]): Script {
  return async (wire, name) => {
    const sql = name('COPY note (said) FROM STDIN');
    wire.send(...(protocol === 'simple' ? [say.query(sql)] : [...say.run(sql), say.sync]));
    await wire.answers.has('copy-in-response');
    wire.send(...messages);
    const first = await wire.answers.ready(1);
    return [...first, ...(await wire.ask(say.query('SELECT count(*) FROM note')))];
  };
}

const BY_BOTH: Readonly<Record<string, readonly [rows: number, ...texts: readonly string[]]>> = {
  'a change without a block': [1, NOTE],
  'a change that fails, without a block': [0, BAD],
  'a read without a block': [0, 'SELECT id FROM account'],
  'a function that changes rows': [1, "SELECT grow('a')"],
  'a block': [1, 'BEGIN', NOTE, NOTE, 'COMMIT'],
  'a block that only reads': [0, 'BEGIN', 'SELECT id FROM account', 'COMMIT'],
  'a block that is rolled back': [0, 'BEGIN', NOTE, 'ROLLBACK'],
  'a block that fails': [0, 'BEGIN', NOTE, BAD, NOTE, 'COMMIT'],
  'savepoints, rolled back to and released': [
    1,
    'BEGIN',
    'SAVEPOINT a',
    NOTE,
    'ROLLBACK TO a',
    NOTE,
    'SAVEPOINT b',
    NOTE,
    'RELEASE a',
    NOTE,
    'COMMIT',
  ],
  'a savepoint before a failure': [1, 'BEGIN', 'SAVEPOINT a', BAD, 'ROLLBACK TO a', NOTE, 'COMMIT'],
  'a savepoint behind the row': [1, 'BEGIN', NOTE, 'SAVEPOINT a', NOTE, 'ROLLBACK TO a', NOTE, 'COMMIT'],
  'all changes behind a savepoint that is rolled back to': [0, 'BEGIN', 'SAVEPOINT a', NOTE, 'ROLLBACK TO a', 'COMMIT'],
  'reading only, in a savepoint that is released': [
    1,
    'BEGIN',
    'SAVEPOINT a',
    'SET TRANSACTION READ ONLY',
    'SELECT peek()',
    'RELEASE a',
    NOTE,
    'COMMIT',
  ],
  'a function that might change rows, in a block that reads only': [0, 'BEGIN READ ONLY', 'SELECT peek()', 'COMMIT'],
  'a block that reads only, and tries to write': [0, 'BEGIN READ ONLY', "SELECT grow('a')", 'ROLLBACK'],
  'a table that is made, filled and dropped': [
    1,
    'BEGIN',
    'CREATE TABLE made (id int)',
    'INSERT INTO made VALUES (1)',
    'TRUNCATE made',
    'DROP TABLE made',
    'COMMIT',
  ],
  'a change within a query': [1, "WITH n AS (INSERT INTO note (said) VALUES ('x') RETURNING said) SELECT said FROM n"],
  'UPDATE … FROM and DELETE … USING': [
    1,
    'BEGIN',
    'UPDATE account SET amount = 7 FROM note',
    'DELETE FROM note USING account',
    'COMMIT',
  ],
  'a table of a query': [1, 'CREATE TABLE copied AS SELECT 1 AS one'],
  'statements prepared by SQL': [
    1,
    'BEGIN',
    'PREPARE p AS INSERT INTO note (said) VALUES ($1)',
    "EXECUTE p ('x')",
    'COMMIT',
  ],
  'a statement prepared by SQL that never runs': [0, 'PREPARE p AS INSERT INTO note (said) VALUES ($1)'],
  'a cursor': [0, 'BEGIN', 'DECLARE c CURSOR FOR SELECT id FROM account', 'FETCH c', 'COMMIT'],
  'a chained block': [1, 'BEGIN', NOTE, 'COMMIT AND CHAIN', 'SELECT 1', 'COMMIT'],
  'a code block': [1, "DO $$ BEGIN INSERT INTO note (said) VALUES ('x'); END $$"],
};

const ALONE: Readonly<Record<string, readonly [rows: number, script: Script]>> = {
  'several changes in one text': [1, texts('simple', `${NOTE}; SELECT 1; ${NOTE}`)],
  'several changes in one text of which one fails': [
    0,
    texts('simple', `${NOTE}; ${BAD}; ${NOTE}`, 'SELECT count(*) FROM note'),
  ],
  'several reads in one text': [0, texts('simple', 'SELECT 1; SELECT 2')],
  'a whole block in one text': [1, texts('simple', `BEGIN; SELECT 1; ${NOTE}; COMMIT`, 'SELECT 1')],
  'a whole block in one text that fails': [0, texts('simple', `BEGIN ; ${NOTE}; ${BAD}; COMMIT`, 'ROLLBACK')],
  'a whole block in one text that only reads': [0, texts('simple', 'BEGIN; SELECT 1; COMMIT')],
  'BEGIN with changes, then COMMIT with changes': [1, texts('simple', `BEGIN; ${NOTE}`, `${NOTE}; COMMIT`, 'SELECT 1')],
  'a block in one text that sets its isolation first': [
    1,
    texts(
      'simple',
      `BEGIN; SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SHOW transaction_isolation; ${NOTE}; COMMIT`,
      'SHOW transaction_isolation',
    ),
  ],
  'a block whose second text sets its isolation first': [
    1,
    texts('simple', 'BEGIN', `SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; ${NOTE}`, 'COMMIT'),
  ],
  'BEGIN that fails': [
    0,
    texts('simple', `BEGIN ISOLATION LEVEL SERIALIZABLE, READ WRITE, DEFERRABLE; SELECT 1 / 0; ${NOTE}`, 'ROLLBACK'),
  ],
  'an empty text': [0, texts('simple', ' ', 'SELECT 1')],
  'COPY, simple': [1, copying('simple', data('one\n'), data('two\n'), done)],
  'COPY of no row, simple': [1, copying('simple', done)],
  'COPY that fails by its data, simple': [0, copying('simple', data('one\ttwo\n'), done)],
  'COPY that the client gives up, simple': [0, copying('simple', data('one\n'), fail)],
  'COPY, extended, with a Sync on either side of its data': [1, copying('extended', data('one\n'), done, say.sync)],
  'COPY that fails by its data, extended': [0, copying('extended', data('one\ttwo\n'), done, say.sync)],
  'COPY that the client gives up, extended': [0, copying('extended', data('one\n'), fail, say.sync)],
  'COPY with its data in the same write': [
    1,
    (wire, name) => wire.ask(say.query(name('COPY note (said) FROM STDIN')), data('one\n'), data('two\n'), done),
  ],
  'COPY inside a block, between changes': [
    1,
    async (wire, name) => [
      ...(await wire.ask(say.query(name('BEGIN')), say.query(NOTE))),
      ...(await wire.ask(say.query('COPY note (said) FROM STDIN'), data('one\n'), done)),
      ...(await wire.ask(say.query(NOTE), say.query('COMMIT'))),
    ],
  ],
  'COPY TO': [0, texts('simple', 'COPY (SELECT 1) TO STDOUT')],
  'a pipeline of changes and reads': [1, pipeline(NOTE, 'SELECT count(*) FROM note', NOTE)],
  'a pipeline that fails': [0, pipeline(NOTE, BAD, NOTE)],
  'a pipeline that begins with a read': [1, pipeline('SELECT 1', NOTE)],
  'a whole block in one pipeline': [1, pipeline('BEGIN', NOTE, 'SAVEPOINT a', NOTE, 'ROLLBACK TO a', NOTE, 'COMMIT')],
  'a pipeline with a command among changes': [
    1,
    pipeline(NOTE, 'CREATE TABLE piped (id int)', 'INSERT INTO piped VALUES (1)'),
  ],
  'a pipeline with a command that fails': [0, pipeline(NOTE, 'CREATE TABLE note (id int)', NOTE)],
  'a statement with parameters, prepared by name and run again': [
    1,
    (wire, name) =>
      wire.ask(
        ...say.run(name('BEGIN')),
        say.parse('INSERT INTO note (said) VALUES ($1) RETURNING said', 'p'),
        say.describe('p', 'statement'),
        ...['one', 'two'].flatMap((value) => [say.bind([value], 'p'), say.execute()]),
        say.sync,
        say.bind(['three'], 'p'),
        say.execute(),
        ...say.run('COMMIT'),
        say.sync,
      ),
  ],
  'rows of a changing query in portions': [
    1,
    (wire, name) =>
      wire.ask(
        ...say.run(name('BEGIN')),
        say.parse('SELECT peek() FROM generate_series(1, 3)'),
        say.bind(),
        say.execute(2),
        say.execute(2),
        say.sync,
        say.query('COMMIT'),
      ),
  ],
  'Flush instead of Sync': [
    1,
    async (wire, name) => {
      wire.send(...say.run(name(NOTE)), say.flush);
      await wire.answers.has('done INSERT');
      return wire.ask(...say.run(NOTE), say.sync);
    },
  ],
};

/** By title: how many rows of the barrier there are behind it, and what the client does. */
export const SCRIPTS: ReadonlyMap<string, readonly [rows: number, script: Script]> = new Map([
  ...Object.entries(BY_BOTH).flatMap(([title, [rows, ...all]]) =>
    (['simple', 'extended'] as const).map(
      (protocol) => [`${title}, ${protocol}`, [rows, texts(protocol, ...all)] as const] as const,
    ),
  ),
  ...Object.entries(ALONE),
]);
