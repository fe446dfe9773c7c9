import test from 'ava';
import { parse } from '../../../proxy/mysql/parse.ts';
import { callsUnknown } from '../../../proxy/mysql/text/functions.ts';
import type { Server } from '../../../proxy/mysql/text/tokens.ts';

const MYSQL: Server = { isMariadb: false, version: 80_015, ignoresSpace: false };
const MARIADB: Server = { isMariadb: true, version: 101_106, ignoresSpace: false };

/** The function that is called and none of the server's own; `own` where all are. */
function unknown(text: string, server?: Server): string {
  const parsed = parse(text, { charset: 'utf8', noBackslashEscapes: false, ansiQuotes: false, server });
  const [one] = parsed.kind === 'parsed' ? parsed.statements : [];
  return one === undefined ? 'unreadable' : (callsUnknown(one.source, one.span) ?? 'own');
}

test('a function of one server may be a stored one in another, and in an older version', (t) => {
  const cases: readonly (readonly [text: string, mysql: string, mariadb: string])[] = [
    ['select nvl(1)', 'nvl', 'own'],
    ['select nextval(s)', 'nextval', 'own'],
    ['select uuid_to_bin(1)', 'own', 'uuid_to_bin'],
    ['select abs(1), if(1, 2, 3)', 'own', 'own'],
    ['select to_char(1)', 'to_char', 'own'],
    ['select json_value(1)', 'json_value', 'own'],
    ["select match (a) against ('x') from t", 'own', 'own'],
    ["select against('x')", 'own', 'against'],
    ['select * from json_table(j) as t', 'own', 'own'],
  ];
  for (const [text, mysql, mariadb] of cases) {
    t.deepEqual([unknown(text, MYSQL), unknown(text, MARIADB)], [mysql, mariadb], text);
  }
  t.is(unknown('select json_value(1)', { ...MYSQL, version: 80_021 }), 'own');
  t.is(unknown('select to_char(1)', { ...MARIADB, version: 100_502 }), 'to_char');
  t.is(unknown('select uuid_to_bin(1), abs(1)'), 'uuid_to_bin', 'of a server that is not known');
});

test('a blank makes a plain name of some functions, but in the mode IGNORE_SPACE', (t) => {
  for (const server of [MYSQL, MARIADB]) {
    t.is(unknown('select count (1)', server), 'count');
    t.is(unknown('select count/**/(1)', server), 'count');
    t.is(unknown('select count (1)', { ...server, ignoresSpace: true }), 'own');
    t.is(unknown('select abs (1)', server), 'own');
  }
});
