/** What clients of every kind say to a server, step by step, and where each step's answer ends. No script names a gid. */
import { encodeFrontend, type FrontendMessage } from '../../proxy/postgres/wire/messages.ts';
import {
  bind,
  call,
  close,
  copyData,
  copyDone,
  copyFail,
  describe,
  execute,
  flush,
  parse,
  query,
  sync,
  terminate,
  text,
} from './support/messages.ts';

export interface Step {
  readonly send: Buffer | readonly FrontendMessage[];
  /** How many ReadyForQuery end the answer, the type of the frame that does, or a row's text. `end`: the server closes. */
  readonly until: number | 'end' | 'G' | { readonly row: string };
}

export interface Script {
  readonly name: string;
  readonly steps: readonly Step[];
  readonly parameters?: Readonly<Record<string, string>>;
  readonly protocol?: number;
  readonly database?: string;
}

/** Parse, Bind, Describe, Execute of the unnamed statement. */
const run = (sql: string, ...values: readonly (string | null)[]): readonly FrontendMessage[] => [
  parse('', sql),
  bind('', '', values),
  describe('portal', ''),
  execute(''),
];

const simple = (name: string, ...texts: readonly string[]): Script => ({
  name,
  steps: texts.map((sql) => ({ send: [query(sql)], until: 1 })),
});
const script = (name: string, ...steps: readonly (readonly [Step['send'], Step['until']])[]): Script => ({
  name,
  steps: steps.map(([send, until]) => ({ send, until })),
});

/** Made in the database that the scripts run in. */
export const SCHEMA = `
  create table item (id int primary key, name text not null, price numeric(10,2), unique (name) deferrable initially deferred);
  insert into item select n, 'item ' || n, n * 1.5 from generate_series(1, 20) n;
  create table log (line text);
  create function shout(t text) returns text language plpgsql as $$ begin raise notice 'he said %', t; return upper(t); end $$;
  create procedure twice() language plpgsql as $$ begin insert into log values ('a'); commit; insert into log values ('b'); rollback; end $$;
`;

/** A statement that fills several segments of TCP. */
const LONG = `select length('${'x'.repeat(200_000)}')`;
const INT4_PLUS = 177;

export const SIMPLE: readonly Script[] = [
  simple('rows', 'select * from item order by id', 'select null::text, 1.5, true, array[1,2], now() is not null'),
  simple('changes', "insert into log values ('x'), ('y')", "update log set line = line || '!'", 'delete from log'),
  simple('returning', 'update item set price = price + 1 where id < 4 returning id, price, name as "the Name"'),
  simple('several statements', "select 1; select 2, 3; insert into log values ('z') returning line; delete from log"),
  simple('one bad of several', "insert into log values ('lost'); select 1/0; select 2", 'select count(*) from log'),
  simple('nothing', '', ';', '-- only a comment', '   /* and another */  ;;'),
  simple(
    'errors',
    'selec 1',
    'select nope',
    'select * from nope',
    "insert into item values (1, 'x', 0)",
    "select 'open",
  ),
  simple(
    'a block',
    'begin',
    'select 1',
    'savepoint a',
    'select 1/0',
    'select 2',
    'rollback to a',
    'select 3',
    'commit',
  ),
  simple('a failed block', 'begin', 'select 1/0', 'commit', 'select 1'),
  simple('chains', 'begin', 'commit and chain', 'rollback and chain', 'abort', 'start transaction read only', 'end'),
  simple('a deferred constraint', 'begin', "insert into item values (100, 'item 1', 0)", 'commit', 'rollback'),
  simple('notices', "select shout('hello')", 'drop table if exists nope', "do $$ begin raise warning 'w'; end $$"),
  simple('settings', "set application_name = 'me'", "set timezone = 'Asia/Tokyo'", 'show timezone', 'reset all'),
  simple(
    'encodings',
    "set client_encoding = 'LATIN1'",
    "select 'caf\u00e9'",
    "set client_encoding = 'UTF8'",
    "select '\u{1f600}'",
  ),
  simple(
    'notifications',
    'listen here',
    "notify here, 'payload'",
    'begin; notify here; select 1; commit',
    'unlisten *',
  ),
  simple(
    'a cursor',
    'begin',
    'declare c cursor for select * from item',
    'fetch 3 from c',
    'move 2 in c',
    'close c',
    'end',
  ),
  simple('SQL prepared statements', 'prepare p(int) as select $1 * 2', 'execute p(4)', 'deallocate p', 'execute p(4)'),
  simple('procedures', 'call twice()', 'select line from log', 'delete from log'),
  simple('tables', 'create table t (a int)', 'alter table t add b text', 'truncate t', 'drop table t'),
  simple('discard', 'discard all', 'deallocate all', 'discard plans', 'select 1'),
  simple(
    'words that a gid can come with',
    "select 'atomesh'",
    "select 'atomesh.gid', 'traceparent' /* traceparent */",
    "/* traceparent='00-11111111111111111111111111111111-2222222222222222-01' */ select 1",
    'select 1 /* atomesh */',
    "select current_setting('atomesh.gid', true)",
    'show atomesh.gid',
    "set atomesh.other = 'x'",
    "set application_name = '00-11111111111111111111111111111111-2222222222222222-01'",
    "insert into log values ('traced')",
    'delete from log',
  ),
];

export const EXTENDED: readonly Script[] = [
  script('one statement', [[...run('select $1::int + 1 as next', '41'), sync], 1]),
  script(
    'no rows, nothing, an error',
    [[...run('delete from log'), sync], 1],
    [[...run(''), sync], 1],
    [[...run('selec'), sync], 1],
  ),
  script(
    'a named statement and its end',
    [[parse('s', 'select name from item where id = $1', [23]), describe('statement', 's'), sync], 1],
    [[bind('', 's', ['2']), execute(''), sync], 1],
    [[bind('p', 's', ['3']), describe('portal', 'p'), execute('p'), close('portal', 'p'), sync], 1],
    [[close('statement', 's'), sync], 1],
    [[bind('', 's', ['2']), execute(''), sync], 1],
    [[close('statement', 's'), close('portal', 'never'), describe('statement', 'never'), sync], 1],
  ),
  script(
    'the unnamed statement outlives a Sync and not a query',
    [[parse('', 'select 7'), sync], 1],
    [[bind('', ''), execute(''), sync], 1],
    [[query('select 8')], 1],
    [[bind('', ''), execute(''), sync], 1],
  ),
  script(
    'a name twice',
    [[parse('s', 'select 1'), sync], 1],
    [[parse('s', 'select 2'), sync], 1],
    [[bind('', 's'), execute(''), sync], 1],
    [[close('statement', 's'), parse('s', 'select 2'), bind('', 's'), execute(''), sync], 1],
  ),
  script(
    'portals in portions',
    [[query('begin')], 1],
    [[parse('', 'select id from item order by id'), bind('p', ''), execute('p', 3), execute('p', 2), sync], 1],
    [[execute('p', 4), flush, execute('p', 0), sync], 1],
    [[query('commit')], 1],
    [[execute('p', 1), sync], 1],
  ),
  script('a pipeline', [
    [...run('select 1'), ...run("insert into log values ('a')"), sync, ...run('select count(*) from log'), sync, sync],
    3,
  ]),
  script(
    'errors in pipelines',
    [
      [
        ...run("insert into log values ('lost')"),
        ...run('select 1/0'),
        ...run('select 3'),
        sync,
        ...run('select 4'),
        sync,
      ],
      2,
    ],
    [[parse('x', 'selec'), bind('', 'x'), execute(''), query('select 1'), sync, query('select 2')], 2],
    [[...run('select $1::int', 'word'), sync, ...run('select $1::int', null), sync], 2],
    [[...run('delete from log'), sync], 1],
  ),
  script('simple and extended without a Sync between', [
    [...run('select 1'), query('select 2'), ...run('select 3'), sync],
    2,
  ]),
  script('queries one behind the other', [[query('select 1'), query('select 1/0'), query('select 3'), query('')], 4]),
  script('a block in a pipeline', [
    [...run('begin'), ...run("insert into log values ('b')"), ...run('commit'), ...run('delete from log'), sync],
    1,
  ]),
  script('a deferred constraint at Sync', [
    [...run("insert into item values (101, 'item 2', 0)"), sync, ...run('select 1'), sync],
    2,
  ]),
  script('many small messages', [[...Array.from({ length: 300 }, () => sync), flush, flush], 300]),
  script('binary values', [
    [
      parse('', 'select $1::int4, $2::bytea', [23, 17]),
      {
        kind: 'bind',
        portal: text(''),
        statement: text(''),
        formats: [1, 1],
        values: [Buffer.from([0, 0, 1, 0]), Buffer.from([0, 255, 10, 13])],
        resultFormats: [1, 0],
      },
      execute(''),
      sync,
    ],
    1,
  ]),
  script(
    'function calls',
    [[call(INT4_PLUS, '2', '3')], 1],
    [[call(1, 'x')], 1],
    [[call(INT4_PLUS, '2', null)], 1],
    [[query('select 1')], 1],
  ),
  script(
    'messages out of place',
    [[copyData('x'), copyDone, copyFail, query('select 1')], 1],
    [[{ kind: 'authentication-response', data: text('x\0') }], 'end'],
  ),
];

export const COPY: readonly Script[] = [
  script('out', [[query('copy (select id, name from item order by id) to stdout')], 1]),
  script('out in the extended protocol', [
    [...run('copy (select id from item) to stdout (format csv, header)'), sync],
    1,
  ]),
  script('out in binary', [[query('copy (select 1::int4) to stdout (format binary)')], 1]),
  script(
    'in',
    [[query('copy log from stdin')], 'G'],
    [[copyData('one\n'), copyData('two\nth'), flush, sync, copyData('ree\n'), copyDone], 1],
    [[query('select * from log; delete from log')], 1],
  ),
  script('in, all at once', [
    [query('copy log from stdin'), copyData('one\n'), copyDone, query('select * from log'), query('delete from log')],
    3,
  ]),
  script('in twice in one text', [
    [
      query('copy log from stdin; copy log from stdin; delete from log'),
      copyData('a\n'),
      copyDone,
      copyData('b\n'),
      copyDone,
    ],
    1,
  ]),
  script(
    'in, given up',
    [[query('copy log from stdin')], 'G'],
    [[copyData('one\n'), copyFail], 1],
    [[query('select * from log')], 1],
  ),
  script('in, with bad data', [
    [query('copy item (id) from stdin'), copyData('word\n'), copyData('7\n'), copyDone, query('select 1')],
    2,
  ]),
  script('in, refused, and an error in a pipeline behind it', [
    [query('copy nowhere from stdin'), copyData('x\n'), copyDone, parse('', 'selec'), query('select 1'), sync],
    2,
  ]),
  script(
    'in, in the extended protocol',
    [[parse('', 'copy log from stdin'), bind('', ''), execute(''), flush], 'G'],
    [[copyData('one\n'), copyDone, sync], 1],
    [[query('delete from log')], 1],
  ),
  script(
    'in, in the extended protocol with a Sync that is ignored',
    [[parse('', 'copy log from stdin'), bind('', ''), execute(''), sync], 'G'],
    [[copyData('one\n'), copyDone, sync], 1],
    [[query('delete from log')], 1],
  ),
  script('in, in the extended protocol, all at once', [
    [
      parse('', 'copy log from stdin'),
      bind('', ''),
      execute(''),
      copyData('x\n'),
      copyDone,
      ...run('delete from log'),
      sync,
    ],
    1,
  ]),
  script(
    'in, in the extended protocol, given up',
    [[parse('', 'copy log from stdin'), bind('', ''), execute(''), flush], 'G'],
    [[copyFail, sync, query('select 1')], 2],
  ),
];

const started = (name: string, parameters: Readonly<Record<string, string>>, more: Partial<Script> = {}): Script => ({
  name,
  parameters,
  steps: [{ send: [query('show search_path'), query('select current_user'), terminate], until: 2 }],
  ...more,
});

export const STARTUP: readonly Script[] = [
  started('parameters', {
    application_name: 'me',
    TimeZone: 'Europe/Paris',
    DateStyle: 'German',
    search_path: 'a, "B"',
  }),
  started('options', { options: '-c search_path=pg_catalog -c geqo=off' }),
  started('bad options', { options: '-c nope=1' }),
  started('an unknown parameter', { nope: 'x' }),
  started('an unknown encoding', { client_encoding: 'nope' }),
  started('an unknown database', {}, { database: 'nowhere' }),
  started('an unknown user', { user: 'nobody' }),
  started('an extension of the protocol', { '_pq_.nothing': '1' }),
  started('a later minor version', {}, { protocol: 196_608 + 7 }),
  started('protocol 3.2', {}, { protocol: 196_610 }),
  started(
    'a session of physical replication',
    { replication: 'true' },
    { steps: [{ send: [query('show server_version')], until: 1 }] },
  ),
  started(
    'a session of logical replication',
    { replication: 'database' },
    {
      steps: [
        { send: [query('show server_version')], until: 1 },
        { send: [query('select 1')], until: 1 },
        { send: [query('START_REPLICATION SLOT nope LOGICAL 0/0')], until: 1 },
      ],
    },
  ),
  { name: 'Terminate alone', steps: [{ send: [terminate], until: 'end' }] },
  {
    name: 'half of a message, then the end',
    steps: [{ send: encodeFrontend(query('select 1')).subarray(0, 9), until: 0 }],
  },
];

/** Not to be cut into small pieces: long, or ended by a server that closes while more is on its way, which resets the connection. */
export const UNCUT: readonly Script[] = [
  simple('a long statement', LONG),
  simple('many rows', "select n, repeat('y', 500) from generate_series(1, 1000) n"),
  script(
    'COPY in, cut short by a query',
    [[query('copy log from stdin')], 'G'],
    [[copyData('one\n'), query('select 1')], 'end'],
  ),
];
