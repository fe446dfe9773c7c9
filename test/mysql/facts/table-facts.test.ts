import test from 'ava';
import type { AskedTable } from '../../../proxy/mysql/catalog-sql.ts';
import type { TableFacts } from '../../../proxy/mysql/catalog.ts';
import { cacheFacts, type Facts } from '../../../proxy/mysql/facts/cache.ts';
import { CodedError } from '../../../src/contract/errors.ts';
import type { Instant } from '../../../src/contract/transaction.ts';
import { openLog } from '../../../src/platform/log.ts';

const log = openLog('test', 'silent');

interface Stage {
  readonly source: Facts<TableFacts>;
  readonly questions: (readonly string[])[];
  /** What the server answers from now on; tables that are not here do not exist. */
  readonly tables: Map<string, TableFacts>;
  /** Called while each question is under way. */
  meanwhile: () => void | Promise<void>;
  now: number;
}

function stage(): Stage {
  const questions: (readonly string[])[] = [];
  const tables = new Map<string, TableFacts>();
  const own: Stage = {
    questions,
    tables,
    meanwhile: () => undefined,
    now: 1_000_000,
    source: cacheFacts(
      async (asked: readonly AskedTable[]) => {
        questions.push(asked.map(({ table }) => table));
        const answer = asked.map(({ table }) => tables.get(table));
        await own.meanwhile();
        return answer;
      },
      log,
      { now: () => own.now as Instant },
    ),
  };
  return own;
}

function table(name: string, engine = 'InnoDB'): TableFacts {
  return {
    database: 'shop',
    table: name,
    kind: 'table',
    engine,
    columns: [],
    uniques: [],
    parents: [],
    children: [],
    triggers: [],
    autoIncrementMode: 1,
    isMariadb: true,
  };
}

const named = (...names: readonly string[]): readonly AskedTable[] =>
  names.map((name) => ({ database: 'shop', table: name }));

/** Lets everything go on that waits for nothing but promises. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('what is learnt is known for one second, then it is unknown until it is asked again', async (t) => {
  const own = stage();
  own.tables.set('a', table('a'));
  t.is(own.source.known('shop', 'a'), undefined);
  await own.source.learn(named('a', 'b'));
  t.deepEqual(own.source.known('shop', 'a'), table('a'));
  t.is(own.source.known('shop', 'b'), 'none');
  t.is(own.source.known('shop', 'A'), undefined, 'whether it is the same table is for the server to say');
  t.is(own.source.known('other', 'a'), undefined);
  own.now += 1_000;
  t.is(own.source.known('shop', 'a'), undefined);
  t.is(own.source.known('shop', 'b'), undefined);
  await own.source.learn(named('a'));
  own.now -= 1;
  t.is(own.source.known('shop', 'a'), undefined, 'of a clock that was set back nobody knows how far');
});

test('a table that is in use is never waited for, and a change of it is known within a second', async (t) => {
  const own = stage();
  own.tables.set('a', table('a'));
  own.tables.set('idle', table('idle'));
  await own.source.learn(named('a', 'idle'));
  const altered = own.now + 5_000;
  for (let step = 0; step < 100; step += 1) {
    own.now += 100;
    if (own.now === altered) own.tables.set('a', table('a', 'Aria'));
    const facts = own.source.known('shop', 'a');
    t.true(typeof facts === 'object');
    if (own.now >= altered + 1_000) t.like(facts, { engine: 'Aria' });
    await settled();
  }
  t.true(own.questions.length < 30, 'it is asked about twice in a second');
  t.deepEqual(
    own.questions.slice(1).filter((names) => names.includes('idle')),
    [],
    'nobody asked for it',
  );
});

test('those that are in use are asked about together', async (t) => {
  const own = stage();
  for (const name of ['a', 'b']) own.tables.set(name, table(name));
  await own.source.learn(named('a'));
  own.now += 200;
  await own.source.learn(named('b'));
  own.now += 350;
  own.source.known('shop', 'b');
  t.is(own.questions.length, 2);
  own.source.known('shop', 'a');
  await settled();
  t.deepEqual(own.questions, [['a'], ['b'], ['a', 'b']]);
});

test('all who ask at once share a question, of twenty tables at most', async (t) => {
  const own = stage();
  const asking = Array.from({ length: 50 }, (_, n) => own.source.learn(named(`t${n % 30}`)));
  await Promise.all(asking);
  t.is(own.questions.length, 2);
  t.deepEqual(own.questions.flat().toSorted(), Array.from({ length: 30 }, (_, n) => `t${n}`).toSorted());
});

test('an answer that was on its way when a table was not what it seemed is not believed', async (t) => {
  const own = stage();
  own.tables.set('a', table('a'));
  own.meanwhile = () => {
    if (own.questions.length > 1) return;
    own.tables.set('a', table('a', 'Aria'));
    own.source.moved();
  };
  await own.source.learn(named('a'));
  t.is(own.questions.length, 2);
  t.like(own.source.known('shop', 'a'), { engine: 'Aria' });
  own.source.moved();
  t.is(own.source.known('shop', 'a'), undefined);
});

test('one whose catalogue takes long is asked less often', async (t) => {
  const own = stage();
  own.tables.set('a', table('a'));
  own.meanwhile = () => {
    own.now += 800;
  };
  await own.source.learn(named('a'));
  own.now += 700;
  t.like(own.source.known('shop', 'a'), { table: 'a' });
  t.is(own.questions.length, 1);
  own.now += 100;
  own.source.known('shop', 'a');
  await settled();
  t.is(own.questions.length, 2);
  own.meanwhile = () => {
    own.now += 5_000;
  };
  await own.source.learn(named('a'));
  own.now += 4_999;
  t.like(own.source.known('shop', 'a'), { table: 'a' });
  own.now += 1;
  t.is(own.source.known('shop', 'a'), undefined, 'ten seconds are the most');
});

test('a database that cannot be asked is said to whoever asks, and not to who has facts; then it is asked again', async (t) => {
  const own = stage();
  own.tables.set('a', table('a'));
  await own.source.learn(named('a'));
  own.meanwhile = () => Promise.reject(new Error('gone'));
  const error = await t.throwsAsync(own.source.learn(named('a', 'b')), { instanceOf: CodedError });
  t.like(error, { code: 'UPSTREAM_UNREACHABLE', retry: 'safe' });
  own.now += 600;
  t.like(own.source.known('shop', 'a'), { table: 'a' });
  await settled();
  own.meanwhile = () => undefined;
  await own.source.learn(named('b'));
  t.is(own.source.known('shop', 'b'), 'none');
});

test('the tables that were asked about last are kept, up to a bound', async (t) => {
  const own = stage();
  for (let n = 0; n < 2_100; n += 100)
    await own.source.learn(named(...Array.from({ length: 100 }, (_, i) => `t${n + i}`)));
  t.is(own.source.known('shop', 't99'), undefined);
  t.is(own.source.known('shop', 't100'), 'none');
  t.is(own.source.known('shop', 't2099'), 'none');
});
