import test from 'ava';
import fc from 'fast-check';
import { isRestorable, literalSql, rowsSql, valuesOf, type ImageColumn } from '../../../proxy/mysql/undo/image.ts';
import { decodeRecord, encodeRecord, type UndoRecord } from '../../../proxy/mysql/undo/record.ts';

const text = { charset: 'utf8mb4', collation: 'utf8mb4_bin' };
const COLUMNS: readonly ImageColumn[] = [
  { name: 'id', type: 'int', form: 'number' },
  { name: 'f', type: 'float', form: 'float' },
  { name: 'v`"', type: 'varchar(9)', form: 'text', ...text },
  { name: 'e', type: "enum('a')", form: 'enum', ...text },
  { name: 'j', type: 'json', form: 'json' },
  { name: 'at', type: 'timestamp', form: 'timestamp' },
];
const hex = fc.uint8Array({ maxLength: 9 }).map((bytes) => Buffer.from(bytes).toString('hex').toUpperCase());
const orNull = (value: fc.Arbitrary<string>): fc.Arbitrary<string> => fc.oneof(fc.constant('N'), value);
const image = fc
  .tuple(
    fc.integer().map(String),
    orNull(fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => String(value))),
    orNull(hex),
    orNull(fc.oneof(fc.constant('0'), hex)),
    orNull(fc.tuple(fc.constantFrom('', '!'), hex).map((parts) => parts.join(''))),
    orNull(fc.integer({ min: 0 }).map((seconds) => `${seconds}.000001`)),
  )
  .map((values) => values.join(','));
const record: fc.Arbitrary<UndoRecord> = fc.record({
  database: fc.string(),
  table: fc.string(),
  columns: fc.constant(COLUMNS),
  key: fc.constant(['id', 'at']),
  rows: fc.array(
    fc.tuple(image, image, fc.constantFrom('both', 'before', 'after')).map(([before, after, which]) => ({
      before: which === 'after' ? undefined : before,
      after: which === 'before' ? undefined : after,
    })),
    { maxLength: 3 },
  ),
});

test('a record is what its JSON says, and a damaged one is none or another one, never an error', (t) => {
  const seed = Date.now() % 1_000_000_000;
  t.log(`SEED=${seed}`);
  fc.assert(
    fc.property(record, fc.nat(), fc.string({ maxLength: 3 }), (written, place, noise) => {
      const json = encodeRecord(written);
      if (JSON.stringify(decodeRecord(json)) !== JSON.stringify(written)) throw new Error(json);
      const at = place % json.length;
      const damaged = decodeRecord(json.slice(0, at) + noise + json.slice(at + 1));
      for (const row of damaged?.rows ?? []) {
        for (const each of [row.before, row.after]) {
          if (each === undefined) continue;
          const values = valuesOf(damaged?.columns ?? [], each);
          for (const [index, column] of (damaged?.columns ?? []).entries()) {
            if (isRestorable(values[index])) literalSql(column, values[index]);
          }
        }
      }
    }),
    { seed, numRuns: 300 },
  );
  t.pass();
});

test('what would become other SQL than a constant is no record', (t) => {
  const good: UndoRecord = {
    database: 'd',
    table: 't',
    columns: COLUMNS,
    key: ['id'],
    rows: [{ before: '1,N,41,0,N,N', after: undefined }],
  };
  t.truthy(decodeRecord(encodeRecord(good)));
  const bad: readonly Partial<UndoRecord>[] = [
    { rows: [{ before: '1 or 1,N,41,0,N,N', after: undefined }] },
    { rows: [{ before: "1,N,41' or ',0,N,N", after: undefined }] },
    { rows: [{ before: '1,sleep(1),41,0,N,N', after: undefined }] },
    { rows: [{ before: '1,N,4,0,N,N', after: undefined }] },
    { rows: [{ before: '1,N,41,0,N', after: undefined }] },
    { rows: [{ before: undefined, after: undefined }] },
    { key: [] },
    { key: ['other'] },
    { columns: COLUMNS.map((column) => ({ ...column, charset: "x'" })) },
    { columns: COLUMNS.map((column) => ({ ...column, collation: 'a b' })) },
    { columns: COLUMNS.map(({ name, type, form }) => ({ name, type, form })) },
  ];
  for (const part of bad) t.is(decodeRecord(encodeRecord({ ...good, ...part })), undefined, JSON.stringify(part));
});

test('rows are found by their keys, and those with a TIMESTAMP by what is stored as well', (t) => {
  const images = ['1,N,41,0,N,1700000000', '2,N,42,0,N,0'];
  t.is(rowsSql({ columns: COLUMNS, key: ['id'] }, images, '`t`'), '`t`.`id` IN (1, 2)');
  t.is(
    rowsSql({ columns: COLUMNS, key: ['v`"'] }, images.slice(1), '`t`'),
    "`t`.`v``\"` IN (_utf8mb4 X'42' COLLATE utf8mb4_bin)",
  );
  t.is(
    rowsSql({ columns: COLUMNS, key: ['id', 'at'] }, images, '`t`'),
    '((`t`.`id`, `t`.`at`) IN ((1, FROM_UNIXTIME(1700000000))) AND (`t`.`id`, UNIX_TIMESTAMP(`t`.`at`)) IN ((1, 1700000000)) OR (`t`.`id` = 2 AND `t`.`at` = 0 AND UNIX_TIMESTAMP(`t`.`at`) = 0))',
  );
  t.is(rowsSql({ columns: COLUMNS, key: ['id'] }, [], '`t`'), 'FALSE');
});
