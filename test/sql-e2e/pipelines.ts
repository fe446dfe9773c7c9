/** Pipelines as drivers send them, and as the protocol allows beyond that. */
import type { FrontendMessage } from '../../proxy/postgres/wire/messages.ts';
import { commented, type Script } from './prove.ts';
import { say } from './wire-client.ts';

/** A change of one row. */
export const UPDATE = 'UPDATE item SET qty = qty + 1 WHERE id = $1';
/** Names the gid for the rest of the local transaction. */
export const setGid = (gid: string): readonly FrontendMessage[] =>
  say.run("SELECT set_config('atomesh.gid', $1, true)", [gid]);

/** Binary int4. */
function int4(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

/** What drivers send, and what the protocol allows beyond that. */
export const SCRIPTS: Readonly<Record<string, Script>> = {
  'several changes without BEGIN are one local transaction': (wire, gid) =>
    wire.ask(
      ...say.run(commented(UPDATE, gid), [1]),
      ...say.run(UPDATE, [1]),
      ...say.run('DELETE FROM tree WHERE id = 4'),
      say.sync,
    ),
  'an error in the middle of a pipeline undoes what went before': (wire, gid) =>
    wire.ask(
      ...say.run(commented(UPDATE, gid), [1]),
      ...say.run('INSERT INTO lonely VALUES ($1, 1)', ['lonely']),
      ...say.run(UPDATE, [2]),
      say.sync,
      ...say.run('SELECT qty FROM item WHERE id = 1'),
      say.sync,
    ),
  'an error of a read in the middle undoes what went before': (wire, gid) =>
    wire.ask(...say.run(commented(UPDATE, gid), [1]), ...say.run('SELECT 1 / 0'), ...say.run(UPDATE, [2]), say.sync),
  'an error in the first statement spoils the pipeline': (wire, gid) =>
    wire.ask(...say.run(commented('UPDATE item SET qty = 1 / 0', gid)), ...say.run(UPDATE, [2]), say.sync),
  'an error inside a block fails it': async (wire, gid) => [
    ...(await wire.ask(...say.run('BEGIN'), ...setGid(gid), ...say.run(UPDATE, [1]), say.sync)),
    ...(await wire.ask(...say.run('UPDATE item SET code = $1', ['same']), ...say.run(UPDATE, [2]), say.sync)),
    ...(await wire.ask(...say.run(UPDATE, [3]), say.sync)),
    ...(await wire.ask(...say.run('COMMIT'), say.sync)),
    ...(await wire.ask(...say.run('SELECT sum(qty) FROM item'), say.sync)),
  ],
  'a whole block in one pipeline, the gid in the comment of its BEGIN': (wire, gid) =>
    wire.ask(
      ...say.run(commented('BEGIN', gid)),
      ...say.run(UPDATE, [1]),
      ...say.run('DELETE FROM tree WHERE id = 4'),
      ...say.run('COMMIT'),
      say.sync,
    ),
  'BEGIN in one write with the first statement, which names the gid': async (wire, gid) => [
    ...(await wire.ask(...say.run('BEGIN'), ...say.run(commented(UPDATE, gid), [1]), say.sync)),
    ...(await wire.ask(...say.run(UPDATE, [2]), say.sync)),
    ...(await wire.ask(...say.run('COMMIT'), say.sync)),
  ],
  'two blocks in one pipeline': (wire, gid) =>
    wire.ask(
      ...['BEGIN', 'COMMIT', 'BEGIN', 'COMMIT'].flatMap((text, index) => [
        ...say.run(text === 'BEGIN' ? commented(text, gid) : text),
        ...(text === 'BEGIN' ? say.run(UPDATE, [index + 1]) : []),
      ]),
      say.sync,
    ),
  'a block that is rolled back, and another, in one pipeline': (wire, gid) =>
    wire.ask(
      ...say.run(commented('BEGIN', gid)),
      ...say.run(UPDATE, [1]),
      ...say.run('ROLLBACK'),
      ...say.run(commented('BEGIN', gid)),
      ...say.run(UPDATE, [2]),
      ...say.run('COMMIT'),
      say.sync,
    ),
  'savepoints inside one pipeline': (wire, gid) =>
    wire.ask(
      ...say.run(commented('BEGIN', gid)),
      ...say.run('SAVEPOINT a'),
      ...say.run(UPDATE, [1]),
      ...say.run('ROLLBACK TO a'),
      ...say.run(UPDATE, [2]),
      ...say.run('RELEASE a'),
      ...say.run(UPDATE, [3]),
      ...say.run('COMMIT'),
      say.sync,
    ),
  'a pipeline that opens its block behind a change': async (wire, gid) => {
    const lines = await wire.ask(
      ...say.run(commented(UPDATE, gid), [1]),
      ...say.run('BEGIN'),
      ...say.run(UPDATE, [2]),
      say.sync,
    );
    lines.push(...(await wire.ask(...say.run('COMMIT'), say.sync)));
    return lines.filter((line) => !line.startsWith('notice'));
  },
  'a pipeline that commits without having begun': async (wire, gid) => {
    const lines = await wire.ask(
      ...say.run(commented(UPDATE, gid), [1]),
      ...say.run('COMMIT'),
      ...say.run('SELECT qty FROM item WHERE id = 1'),
      say.sync,
    );
    return lines.filter((line) => !line.startsWith('notice'));
  },
  'described and flushed before it is bound': async (wire, gid) => {
    wire.send(say.parse(commented(`${UPDATE} RETURNING qty, code`, gid)), say.describe('', 'statement'), say.flush);
    await wire.answers.has('fields');
    wire.send(say.bind([3]), say.describe(), say.execute(), say.flush);
    await wire.answers.has('done');
    return wire.ask(say.sync);
  },
  'described in one round trip, bound in the next': async (wire, gid) => [
    ...(await wire.ask(say.parse(commented(UPDATE, gid)), say.describe('', 'statement'), say.sync)),
    ...(await wire.ask(say.bind([3]), say.execute(), say.sync)),
    ...(await wire.ask(say.bind([3]), say.execute(), say.sync)),
  ],
  'prepared in one round trip, described in the next': async (wire, gid) => [
    ...(await wire.ask(say.parse(commented(UPDATE, gid)), say.sync)),
    ...(await wire.ask(say.describe('', 'statement'), say.sync)),
    ...(await wire.ask(say.bind([3]), say.execute(), say.sync)),
  ],
  'binary parameters and binary results': (wire, gid) =>
    wire.ask(
      say.parse(commented('UPDATE item SET qty = $2 WHERE id = $1 RETURNING id, qty, code, price', gid), '', [23, 23]),
      say.bind([int4(2), int4(77)], '', '', [1, 1, 0, 1]),
      say.describe(),
      say.execute(),
      say.sync,
    ),
  'text and binary parameters side by side, some types given': (wire, gid) =>
    wire.ask(
      say.parse(commented('INSERT INTO item (code, qty, price) VALUES ($1, $2, $3) RETURNING *', gid), '', [0, 23]),
      say.bind(['new', int4(5), '1.25'], '', '', [1]),
      say.execute(),
      say.sync,
    ),
  'a change with a row limit that means nothing': (wire, gid) =>
    wire.ask(say.parse(commented('UPDATE item SET qty = 0', gid)), say.bind(), say.execute(1), say.sync),
  'a change of no rows with a row limit, and one without': (wire, gid) =>
    wire.ask(
      say.parse(commented('DELETE FROM item WHERE id = 999', gid)),
      say.bind(),
      say.execute(1),
      ...say.run('INSERT INTO tree SELECT 9, 1 WHERE false'),
      say.sync,
    ),
  'a read in portions around a change, inside a block': async (wire, gid) => [
    ...(await wire.ask(...say.run('BEGIN'), ...setGid(gid), say.sync)),
    ...(await wire.ask(
      say.parse('SELECT id, qty FROM item ORDER BY id', 's'),
      say.bind([], 's', 'p'),
      say.describe('p'),
      say.execute(2, 'p'),
      say.sync,
    )),
    ...(await wire.ask(...say.run(UPDATE, [3]), say.sync)),
    ...(await wire.ask(
      say.execute(2, 'p'),
      ...say.run(UPDATE, [4]),
      say.execute(2, 'p'),
      say.execute(2, 'p'),
      say.sync,
    )),
    ...(await wire.ask(say.close('p', 'portal'), ...say.run('COMMIT'), say.sync)),
  ],
  'named portals, executed in another order than bound': (wire, gid) =>
    wire.ask(
      ...say.run(commented('BEGIN', gid)),
      say.parse(UPDATE, 'u'),
      say.bind([1], 'u', 'one'),
      say.bind([2], 'u', 'two'),
      say.execute(0, 'two'),
      say.execute(0, 'one'),
      say.close('one', 'portal'),
      say.close('u'),
      ...say.run('COMMIT'),
      say.sync,
    ),
  'named portals without a block': (wire, gid) =>
    wire.ask(
      say.parse(commented(UPDATE, gid), 'u'),
      say.bind([1], 'u', 'one'),
      say.bind([2], 'u', 'two'),
      say.execute(0, 'two'),
      say.execute(0, 'one'),
      say.sync,
    ),
  'a statement that is closed while its portal is open': (wire, gid) =>
    wire.ask(
      say.parse(commented(UPDATE, gid), 'u'),
      say.bind([1], 'u'),
      say.close('u'),
      say.execute(),
      say.close('no such statement'),
      say.sync,
    ),
  'a query behind an error and before the Sync is dropped': async (wire, gid) => {
    wire.send(
      ...say.run(commented(UPDATE, gid), [1]),
      ...say.run('SELECT 1 / 0'),
      say.query('SELECT 1'),
      ...say.run(UPDATE, [2]),
      say.sync,
      say.query('SELECT 2'),
    );
    return wire.answers.ready(2);
  },
  'a query behind a statement that does not parse and before the Sync is dropped': async (wire, gid) => {
    wire.send(...say.run(commented('UPDATE item SET nope = 1', gid)), say.query('SELECT 1'), say.sync);
    const lines = await wire.answers.ready(1);
    // An unnamed change is parsed with its Bind: the error is the same, one answer later.
    return lines.filter((line) => line !== 'parse-complete');
  },
  'COPY to the client in both protocols': async (wire, gid) => [
    ...(await wire.ask(say.query(commented('BEGIN', gid)), say.query('UPDATE item SET qty = 9 WHERE id = 1'))),
    ...(await wire.ask(say.query('COPY (SELECT id, qty FROM item ORDER BY id) TO STDOUT'))),
    ...(await wire.ask(say.parse('COPY tree TO STDOUT (FORMAT csv)'), say.bind(), say.execute(), say.sync)),
    ...(await wire.ask(say.query('COMMIT'))),
  ],
  'two pipelines and a query in one write': (wire, gid) =>
    wire.ask(
      ...say.run(commented(UPDATE, gid), [1]),
      say.sync,
      ...say.run(commented(UPDATE, gid), [2]),
      say.sync,
      say.query('SELECT qty FROM item ORDER BY id'),
    ),
  'a block of queries in one write': (wire, gid) =>
    wire.ask(
      say.query(commented('BEGIN', gid)),
      say.query('UPDATE item SET qty = 0 WHERE id = 1'),
      say.query('UPDATE item SET qty = 1 / 0 WHERE id = 1'),
      say.query('SELECT 1'),
      say.query('ROLLBACK'),
      say.query('SELECT 2'),
    ),
  'texts without a statement': (wire, gid) =>
    wire.ask(say.query(commented('', gid)), say.query(';'), ...say.run(commented('', gid)), say.sync),
  'a deferred constraint that fails when a single change is committed': async (wire, gid) => [
    ...(await wire.ask(say.query(commented('UPDATE slot SET place = 1 WHERE id = 2', gid)))),
    ...(await wire.ask(say.query('SELECT * FROM slot ORDER BY id'))),
  ],
  'a deferred constraint that fails at COMMIT': async (wire, gid) => [
    ...(await wire.ask(say.query(commented('BEGIN', gid)), say.query('UPDATE slot SET place = 1 WHERE id = 2'))),
    ...(await wire.ask(say.query('COMMIT'))),
    ...(await wire.ask(say.query('SELECT * FROM slot ORDER BY id'))),
  ],
  'a deferred constraint that fails at the Sync of several changes': (wire, gid) =>
    wire.ask(
      ...say.run(commented('UPDATE slot SET place = 1 WHERE id = 2', gid)),
      ...say.run(UPDATE, [2]),
      say.sync,
      say.query('SELECT * FROM slot ORDER BY id'),
    ),
};
