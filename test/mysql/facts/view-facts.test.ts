import test from 'ava';
import type { AskedTable } from '../../../proxy/mysql/catalog-sql.ts';
import { cacheFacts, type Facts } from '../../../proxy/mysql/facts/cache.ts';
import { findViews, type ViewFactsSource, type ViewNames } from '../../../proxy/mysql/facts/view-facts.ts';
import { readView, type ViewFacts } from '../../../proxy/mysql/facts/view-text.ts';
import type { Instant } from '../../../src/contract/transaction.ts';
import { openLog } from '../../../src/platform/log.ts';

const MYSQL = { isMariadb: false, version: 80_015, ignoresSpace: false };

/** What reading a view does, by the query behind AS. */
function reading(query: string, charset = 'utf8mb4', name = '`shop`.`v`'): string {
  const text = `CREATE ALGORITHM=UNDEFINED DEFINER=\`as\`@\`%\` SQL SECURITY DEFINER VIEW ${name} AS ${query}`;
  const { fault, reads } = readView({ database: 'shop', text, charset }, MYSQL);
  return [fault?.why ?? 'harmless', ...reads.map(({ database, table }) => `${database}.${table}`)].join(', ');
}

test('the text of a view says what it calls and reads', (t) => {
  const cases: readonly (readonly [query: string, expected: string])[] = [
    ['select 1 AS `1`', 'harmless'],
    ['select count(0) AS `n` from `shop`.`t` where (`shop`.`t`.`a` = 1)', 'harmless, shop.t'],
    ['select `f`(`shop`.`t`.`a`) AS `x` from `shop`.`t`', 'which calls f(), shop.t'],
    ['select `d`.`größe`(1) AS `x` from `d`.`größe`', 'which calls größe(), d.größe'],
    ['select loaded(1) AS `loaded(1)`', 'which calls loaded()'],
    [
      'with `c` (`a`) as (select 1 AS `1`), `d` (`b`) as (select `c`.`a` AS `a` from `c`) select 1 AS `1` from `d`',
      'harmless',
    ],
    ["select '`f`(' AS `x` from (`t` join `d`.`u`)", 'harmless, shop.t, d.u'],
  ];
  for (const [query, expected] of cases) t.is(reading(query), expected, query);
  t.is(reading('select 1 AS `1`', 'utf8mb4', '`shop`.`v` (`a`,`b`)'), 'harmless');
});

test('a text that could be read otherwise may change rows', (t) => {
  const unclear = 'whose text could not be read with certainty';
  t.is(reading('select abs(1) AS `x`', 'utf8mb4', 'shop.v'), unclear, 'a server that quotes no names');
  t.is(reading('select 1 AS `ö` from `t`', 'latin1'), unclear, 'names are not what they seem');
  t.is(reading('select 1 AS `o` from `t`', 'latin1'), 'harmless, shop.t');
  t.is(reading("select 'a AS `o` from `t`"), unclear);
  t.is(reading('/*!50000 select 1 */'), unclear);
  t.is(readView({ database: 'shop', text: '', charset: '' }, MYSQL).fault?.why, unclear);
});

interface Stage {
  readonly source: Omit<ViewFactsSource, 'close'>;
  readonly asked: string[];
  now: number;
  readonly views: Map<string, ViewFacts>;
  /** Databases of which nothing is shown. */
  readonly dark: Set<string>;
}

function stage(): Stage {
  const clock = { now: () => own.now as Instant };
  const log = openLog('test', 'silent');
  const byName = (of: string): ReadonlyMap<string, readonly AskedTable[]> => {
    const all = [...own.views.keys()].map((name) => {
      const [database = '', table = ''] = name.split('.');
      return { database, table };
    });
    const within = all.filter(({ database }) => of === '' || of === database);
    return new Map(within.map(({ table }) => [table, within.filter((each) => each.table === table)]));
  };
  const names: Facts<ViewNames> = cacheFacts(
    async (asked) => {
      own.asked.push(`views of ${asked.map(({ database }) => database).join(' ')}`);
      const answer = asked.map(({ database }) => ({
        byName: own.dark.has(database) ? undefined : byName(database),
        fold: (name: string) => name,
      }));
      return await Promise.resolve(answer);
    },
    log,
    clock,
  );
  const texts: Facts<ViewFacts> = cacheFacts(
    async (asked) => {
      const keys = asked.map(({ database, table }) => `${database}.${table}`);
      own.asked.push(keys.join(' '));
      return await Promise.resolve(keys.map((key) => own.views.get(key)));
    },
    log,
    clock,
  );
  const own: Stage = { asked: [], now: 1_000_000, views: new Map(), dark: new Set(), source: findViews(names, texts) };
  return own;
}

function named(...all: readonly string[]): readonly AskedTable[] {
  return all.map((name) => {
    const [database = '', table = ''] = name.split('.');
    return { database, table };
  });
}

function view(reads: readonly string[], why?: string): ViewFacts {
  return { fault: why === undefined ? undefined : { why }, reads: named(...reads) };
}

/** What is found in the end, and how often something was asked for that. */
async function found({ source }: Stage, ...names: readonly string[]): Promise<string> {
  for (let questions = 0; questions < 20; questions += 1) {
    const answer = source.find(named(...names));
    if (answer !== 'unknown')
      return `${answer === 'none' ? answer : `${answer.database}.${answer.table}, ${answer.why}`} (${questions})`;
    await source.learn(named(...names));
  }
  return 'never';
}

test('tables cost one question for their database, and views one more for each that is within another', async (t) => {
  const s = stage();
  s.views
    .set('a.deep', view(['a.middle', 'a.t']))
    .set('a.middle', view(['b.leaf']))
    .set('b.leaf', view([], 'which calls f()'));
  s.views.set('a.good', view(['a.t', 'b.t']));
  t.is(await found(s, 'a.t', 'a.u'), 'none (1)');
  t.is(await found(s, 'a.t', 'a.w'), 'none (0)');
  t.is(await found(s, 'a.good'), 'none (2)');
  t.is(await found(s, 'a.t', 'a.deep'), 'b.leaf, which calls f() (3)');
  t.is(await found(s, 'a.deep', 'c.t'), 'b.leaf, which calls f() (0)');
  t.deepEqual(s.asked, ['views of a', 'a.good', 'views of b', 'a.deep', 'a.middle', 'b.leaf']);
  s.now += 10_000;
  t.is(await found(s, 'a.t'), 'none (1)');
});

test('views that name each other come to an end, and those that are gone are none', async (t) => {
  const s = stage();
  s.views.set('a.one', view(['a.two'])).set('a.two', view(['a.one']));
  t.is(await found(s, 'a.one'), 'none (3)');
  s.now += 10_000;
  t.is(await found(s, 'a.t'), 'none (1)');
  s.views.clear();
  t.is(await found(s, 'a.one'), 'none (1)', 'its name is known still');
});

test('where nothing is shown everything may be a view, and without a database any view of the name is meant', async (t) => {
  const s = stage();
  s.dark.add('dark');
  s.views.set('a.v', view([])).set('b.v', view([], 'which calls f()'));
  t.is(await found(s, 'dark.t'), 'dark.t, which may be a view that the second phase is not shown (1)');
  t.is(await found(s, 'a.v'), 'none (2)');
  t.is(await found(s, '.v'), 'b.v, which calls f() (2)');
  t.is(await found(s, '.t'), 'none (0)');
});
