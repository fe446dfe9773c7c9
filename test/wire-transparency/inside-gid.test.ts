import test from 'ava';
import type { FrontendMessage } from '../../proxy/postgres/wire/messages.ts';
import { bind, close, describe, execute, flush, parse, query, sync } from '../sql-passthrough/support/messages.ts';
import { insideLines } from './inside-lines.ts';
import { play, type Talk } from './play.ts';
import { startTwins } from './twins.ts';
import { INSIDE } from './words.ts';

const UPDATE = 'update item set price = $1 where id = 3 returning id, price';
const run = (sql: string, ...values: readonly string[]): readonly FrontendMessage[] => [
  parse('', sql),
  bind('', '', values),
  describe('portal', ''),
  execute(''),
];

/** Found by chance, kept by name. */
const TALKS: Readonly<Record<string, readonly (readonly FrontendMessage[])[]>> = {
  'an error is one error, also when a portal that is not known comes behind it': [
    [...run('select 1/0'), execute('never bound'), sync],
  ],
  'an error is one error, also behind a Flush': [
    [...run('select 1/0'), flush],
    [execute('never bound'), sync],
  ],
  'a block that is begun behind a change of its pipeline stays open behind the Sync': [
    [...run("insert into log (line) values ('x')"), ...run('begin'), sync],
    [query("insert into log (line) values ('y')"), query('rollback'), query('select line from log order by id')],
  ],
  'a change with too many values, or too few, is refused in the words for the statement of the client': [
    [parse('s', UPDATE), sync],
    [bind('', 's', ['1', '2']), execute(''), sync, bind('', 's', []), execute(''), sync],
    [parse('', UPDATE), bind('', '', ['1', '2']), execute(''), sync],
    [bind('', 's', ['4.5']), execute(''), sync],
  ],
  'a changing query leaves no unnamed statement, whether it went well or not': [
    [parse('', 'select 7'), sync, query('update item set price = 2 where id = 1')],
    [bind('', ''), execute(''), sync, describe('statement', ''), sync],
    [query('update item set price = 1/0'), describe('statement', ''), sync],
  ],
  'a named statement that was prepared in its own pipeline is not one of several': [
    [close('statement', 's'), parse('s', 'declare c cursor for select 1'), bind('', 's'), execute(''), sync],
  ],
};

test('what was found by chance inside a global transaction stays found', async (t) => {
  await using twins = await startTwins(18, [7]);
  for (const [name, turns] of Object.entries(TALKS)) {
    const talk: Talk = { parameters: {}, turns: [INSIDE.opening, ...turns], isPolite: true };
    await twins.reset();
    const heard = insideLines(await play(talk, twins.through.get(7) ?? 0));
    t.deepEqual(heard, insideLines(await play(talk, twins.direct)), name);
  }
});
