/** Local transactions as clients send them, each with a change that has no images. */
import { commented, type Script } from '../sql-e2e/prove.ts';
import { setGid, UPDATE } from '../sql-e2e/pipelines.ts';
import { say } from '../sql-e2e/wire-client.ts';

/** A change of a table without a key. */
export const BARE = 'UPDATE bare SET v = v + 10';

interface Case {
  readonly script: Script;
  /** How many local transactions are prepared. */
  readonly prepared: number;
}

export const SCRIPTS: Readonly<Record<string, Case>> = {
  'a statement alone, by the simple protocol': {
    prepared: 1,
    script: (wire, gid) => wire.ask(say.query(commented(BARE, gid))),
  },
  'a statement alone, by the extended protocol': {
    prepared: 1,
    script: (wire, gid) =>
      wire.ask(...say.run(commented('UPDATE bare SET v = v + $1::int RETURNING v', gid), [5]), say.sync),
  },
  'a prepared statement, run twice in one block': {
    prepared: 1,
    script: async (wire, gid) => [
      ...(await wire.ask(say.parse('UPDATE bare SET v = v * $1', 'u'), say.sync)),
      ...(await wire.ask(say.query(commented('BEGIN', gid)))),
      ...(await wire.ask(say.bind([3], 'u'), say.execute(), say.bind([2], 'u'), say.execute(), say.sync)),
      ...(await wire.ask(say.query('COMMIT'))),
    ],
  },
  'an unnamed statement, run again without being parsed again': {
    prepared: 2,
    script: async (wire, gid) => [
      ...(await wire.ask(
        say.parse(commented('INSERT INTO bare VALUES ($1)', gid)),
        say.bind([5]),
        say.execute(),
        say.sync,
      )),
      ...(await wire.ask(say.bind([6]), say.execute(), say.sync)),
    ],
  },
  'a block, by the simple protocol': {
    prepared: 1,
    script: async (wire, gid) => [
      ...(await wire.ask(say.query('BEGIN'))),
      ...(await wire.ask(say.query(`SET LOCAL atomesh.gid = '${gid}'`))),
      ...(await wire.ask(say.query(BARE))),
      ...(await wire.ask(say.query('SELECT v FROM bare ORDER BY v'))),
      ...(await wire.ask(say.query('COMMIT'))),
      ...(await wire.ask(say.query('SELECT 1'))),
    ],
  },
  'captured changes before and behind it': {
    prepared: 1,
    script: async (wire, gid) => [
      ...(await wire.ask(...say.run('BEGIN'), ...setGid(gid), say.sync)),
      ...(await wire.ask(...say.run(UPDATE, [1]), say.sync)),
      ...(await wire.ask(say.query(BARE))),
      ...(await wire.ask(...say.run(UPDATE, [2]), ...say.run(UPDATE, [1]), say.sync)),
      ...(await wire.ask(...say.run('COMMIT'), say.sync)),
    ],
  },
  'a pipeline without a block': {
    prepared: 1,
    script: (wire, gid) =>
      wire.ask(
        ...say.run(commented(UPDATE, gid), [1]),
        ...say.run(BARE),
        ...say.run('SELECT sum(v) FROM bare'),
        ...say.run(UPDATE, [3]),
        say.sync,
      ),
  },
  'a pipeline with a block in it, and something behind': {
    prepared: 1,
    script: (wire, gid) =>
      wire.ask(
        ...say.run(commented('BEGIN', gid)),
        ...say.run(BARE),
        ...say.run('COMMIT'),
        ...say.run('SELECT 1'),
        say.sync,
      ),
  },
  'an error in a pipeline': {
    prepared: 0,
    script: (wire, gid) =>
      wire.ask(
        ...say.run(commented(BARE, gid)),
        ...say.run('SELECT 1 / 0'),
        ...say.run(BARE),
        say.sync,
        ...say.run('SELECT sum(v) FROM bare'),
        say.sync,
      ),
  },
  'an error of the change itself': {
    prepared: 0,
    script: async (wire, gid) => [
      ...(await wire.ask(say.query(commented('UPDATE bare SET v = 1 / 0', gid)))),
      ...(await wire.ask(...say.run(commented('UPDATE bare SET v = 1 / 0', gid)), say.sync)),
      ...(await wire.ask(say.query('SELECT 1'))),
    ],
  },
  'an error in a block, which is then committed': {
    prepared: 0,
    script: async (wire, gid) => [
      ...(await wire.ask(say.query(commented('BEGIN', gid)), say.query(BARE), say.query('SELECT 1 / 0'))),
      ...(await wire.ask(say.query(BARE), say.query('COMMIT'))),
    ],
  },
  'a block that is rolled back': {
    prepared: 0,
    script: (wire, gid) => wire.ask(say.query(commented('BEGIN', gid)), say.query(BARE), say.query('ROLLBACK')),
  },
  'a rollback to a savepoint ahead of it': {
    prepared: 1,
    script: (wire, gid) =>
      wire.ask(
        ...[commented('BEGIN', gid), 'UPDATE item SET qty = 7 WHERE id = 1', 'SAVEPOINT a', BARE, 'ROLLBACK TO a'].map(
          say.query,
        ),
        ...['INSERT INTO bare VALUES (99)', 'SAVEPOINT b', BARE, 'RELEASE b', 'COMMIT'].map(say.query),
      ),
  },
  'several statements in one text': {
    prepared: 1,
    script: (wire, gid) =>
      wire.ask(
        say.query(
          commented(`${BARE}; UPDATE item SET qty = 9 WHERE id = 2; SELECT v FROM bare ORDER BY 1; TRUNCATE heap`, gid),
        ),
      ),
  },
  'several statements in one text, the last of which fails': {
    prepared: 0,
    script: (wire, gid) => wire.ask(say.query(commented(`${BARE}; ${BARE}; SELECT 1 / 0`, gid)), say.query('SELECT 2')),
  },
  'several statements in one text inside a block': {
    prepared: 1,
    script: (wire, gid) =>
      wire.ask(say.query(commented('BEGIN', gid)), say.query(`${BARE}; TRUNCATE heap; ${BARE}`), say.query('COMMIT')),
  },
  'a chained block': {
    prepared: 1,
    script: (wire, gid) =>
      wire.ask(
        ...[
          commented('BEGIN ISOLATION LEVEL SERIALIZABLE', gid),
          BARE,
          'COMMIT AND CHAIN',
          'SHOW transaction_isolation',
          'SHOW transaction_read_only',
          'COMMIT',
        ].map(say.query),
      ),
  },
  'a repeatable read block that reads first': {
    prepared: 1,
    script: (wire, gid) =>
      wire.ask(...[commented('BEGIN ISOLATION LEVEL REPEATABLE READ', gid), 'SELECT 1', BARE, 'COMMIT'].map(say.query)),
  },
  'a block that only reads': {
    prepared: 0,
    script: (wire, gid) =>
      wire.ask(...[commented('BEGIN READ ONLY', gid), 'SELECT count(*) FROM bare', BARE, 'COMMIT'].map(say.query)),
  },
  'a block that could have written, and may only read': {
    prepared: 0,
    script: (wire, gid) =>
      wire.ask(
        ...[commented('BEGIN READ ONLY', gid), 'SELECT idle()', 'COMMIT AND CHAIN', 'SELECT 1', 'COMMIT'].map(
          say.query,
        ),
      ),
  },
  'the same in one pipeline': {
    prepared: 0,
    script: (wire, gid) =>
      wire.ask(
        ...say.run(commented('BEGIN READ ONLY', gid)),
        ...say.run('SELECT idle()'),
        ...say.run('COMMIT'),
        ...say.run('SELECT 1'),
        say.sync,
      ),
  },
  'COPY, by the simple protocol': {
    prepared: 1,
    script: async (wire, gid) => {
      wire.send(say.query(commented('COPY bare FROM STDIN', gid)));
      await wire.answers.has('copy-in');
      wire.send(
        { kind: 'copy-data', data: Buffer.from('5\n') },
        { kind: 'copy-data', data: Buffer.from('6\n') },
        { kind: 'copy-done' },
      );
      return wire.answers.ready(1);
    },
  },
  'COPY, by the extended protocol': {
    prepared: 1,
    script: async (wire, gid) => {
      wire.send(say.parse(commented('COPY bare FROM STDIN', gid)), say.bind(), say.execute(), say.sync);
      await wire.answers.has('copy-in');
      wire.send({ kind: 'copy-data', data: Buffer.from('5\n6\n') }, { kind: 'copy-done' }, say.sync);
      return wire.answers.ready(1);
    },
  },
  'COPY that the client gives up': {
    prepared: 0,
    script: async (wire, gid) => {
      wire.send(say.query(commented('COPY bare FROM STDIN', gid)));
      await wire.answers.has('copy-in');
      wire.send({ kind: 'copy-data', data: Buffer.from('5\n') }, { kind: 'copy-fail', reason: Buffer.from('enough') });
      return wire.answers.ready(1);
    },
  },
  'a command that needs a transaction of its own': {
    prepared: 0,
    script: (wire, gid) =>
      wire.ask(
        ...[commented('BEGIN', gid), BARE, 'DO $$ BEGIN UPDATE bare SET v = 0; COMMIT; END $$', 'COMMIT'].map(
          say.query,
        ),
      ),
  },
  'a deferred constraint that fails at the end': {
    prepared: 0,
    script: (wire, gid) =>
      wire.ask(...[commented('BEGIN', gid), BARE, 'INSERT INTO late VALUES (1, 4711)', 'COMMIT'].map(say.query)),
  },
  'procedures, functions that write, and notices': {
    prepared: 1,
    script: (wire, gid) =>
      wire.ask(
        ...[commented('BEGIN', gid), 'SELECT spend(1)', 'DO $$ BEGIN PERFORM spend(2); END $$', 'COMMIT'].map(
          say.query,
        ),
      ),
  },
  'PREPARE and EXECUTE': {
    prepared: 1,
    script: (wire, gid) =>
      wire.ask(
        ...[commented('BEGIN', gid), 'PREPARE p AS UPDATE bare SET v = 5', 'EXECUTE p', 'COMMIT', 'DEALLOCATE p'].map(
          say.query,
        ),
      ),
  },
  'WHERE CURRENT OF': {
    prepared: 1,
    script: (wire, gid) =>
      wire.ask(
        ...[
          commented('BEGIN', gid),
          'DECLARE c CURSOR FOR SELECT * FROM bare FOR UPDATE',
          'FETCH c',
          'UPDATE bare SET v = 77 WHERE CURRENT OF c',
          'COMMIT',
        ].map(say.query),
      ),
  },
};
