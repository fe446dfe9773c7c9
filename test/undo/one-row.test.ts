import test from 'ava';
import { loadParser, parse } from '../../proxy/postgres/parse.ts';
import { changesOneRow } from '../../proxy/postgres/undo/text/one-row.ts';

test.before(() => loadParser());

const KEY = ['shop', 'number'];

const CASES: readonly (readonly [text: string, isOne: boolean])[] = [
  ['update t set a = 1 where shop = $1 and number = $2', true],
  ['update t as x set a = 1 where x.number = 7 and $1::text = x.shop and a > 3', true],
  ['delete from t where shop = $1 and (number = -1 and a = $2::int)', true],
  ['insert into t values ($1, $2::int, default)', true],
  ['insert into t values ($1, $2, 3) on conflict (shop, number) do update set a = excluded.a', true],
  ['update t set a = 1', false],
  ['update t set a = 1 where shop = $1', false],
  ['update t set a = 1 where shop = $1 or number = $2', false],
  ['update t set a = 1 where not (shop = $1 and number = $2)', false],
  ['update t set a = 1 where shop = $1 and number >= $2', false],
  ['update t set a = 1 where shop = $1 and number in ($2, $3)', false],
  ['update t set a = 1 where shop = $1 and number = any ($2)', false],
  ['update t set a = 1 where shop = $1 and number = a', false],
  ['update t set a = 1 from s where shop = $1 and number = $2', false],
  ['delete from t using s where shop = $1 and number = $2', false],
  ['insert into t values ($1, $2), ($3, $4)', false],
  ['insert into t values ($1, $2, now())', false],
  ['insert into t values (generate_series(1, 9), $1, $2)', false],
  ['insert into t default values', false],
  ['insert into t select * from s', false],
];

for (const [text, isOne] of CASES) {
  test(`one row at most, by its text: ${String(isOne)} for ${text}`, (t) => {
    const parsed = parse(text);
    if (parsed.kind !== 'parsed') return t.fail(parsed.kind);
    t.is(changesOneRow(parsed.statements[0]?.node ?? {}, KEY), isOne);
  });
}
