/** A statement that is remembered by its shape is the one that would be read. */
import test from 'ava';
import * as fc from 'fast-check';
import { parse } from '../../../proxy/mysql/parse.ts';
import { readChange } from '../../../proxy/mysql/text/change.ts';
import { readInsert } from '../../../proxy/mysql/text/insert.ts';
import { scan, type Lexical } from '../../../proxy/mysql/text/tokens.ts';
import { loadGrammar } from '../../../proxy/mysql/text/tree.ts';
import { GORM, HIBERNATE } from '../corpus/java-and-go.ts';
import { PRISMA, SEQUELIZE, TYPEORM } from '../corpus/node.ts';
import { DJANGO, LARAVEL, RAILS, SQLALCHEMY } from '../corpus/python-php-ruby.ts';

const LEXICAL: Lexical = { noBackslashEscapes: false, ansiQuotes: false, charset: 'utf8' };

const CHANGES = [
  ...[HIBERNATE, GORM, SEQUELIZE, TYPEORM, PRISMA, SQLALCHEMY, DJANGO, LARAVEL, RAILS].flat(),
  "update t set a = 1, b = 'x' where id = 5 and c in (1, 2, 3) order by id limit 10",
  "update t as u join v on u.id = v.id set u.a = concat('a', 1) where v.b > 2.5e3",
  "delete from t where a = date '2020-01-01' or b = x'ff' or c = _latin1'x' limit 1",
  "insert into t (a, b) values (1, 'x'), (2, 'y') on duplicate key update a = values(a) + 1",
  "replace into `t\nu` set a = 1, b = 'x'",
  'update t set a = 1 where b = "x" and `c d` = 2',
].filter((text) => /^(?:update|delete|insert|replace)\b/i.test(text));

const CONSTANTS: Readonly<Record<'number' | 'string', fc.Arbitrary<string>>> = {
  number: fc.constantFrom('0', '7', '12345678901234567890', '1.5', '2e3', '.5', '0x1f'),
  string: fc.constantFrom("''", "'it''s'", "'a;b'", "'-- '", String.raw`'\''`, '"x"', "'\n'", "x'00'", "n'é'"),
};

/** The statement with other constants, of which some may be of another kind. */
const CHANGED = fc
  .tuple(
    fc.constantFrom(...CHANGES),
    fc.array(fc.tuple(CONSTANTS.number, CONSTANTS.string), { minLength: 40, maxLength: 40 }),
  )
  .map(([text, constants]) => {
    const scanned = scan(text, LEXICAL);
    if (scanned.kind === 'fault') return { text, changed: text };
    let changed = '';
    let from = 0;
    for (const [place, { kind, start, end }] of scanned.tokens.entries()) {
      if (kind !== 'number' && kind !== 'string' && kind !== 'parameter') continue;
      const [number = '1', string = "'x'"] = constants[place % constants.length] ?? [];
      changed += text.slice(from, start) + (kind === 'string' ? string : number);
      from = end;
    }
    return { text, changed: changed + text.slice(from) };
  });

test.before(loadGrammar);

test('a statement of a shape that was read before is what would be read of it', (t) => {
  fc.assert(
    fc.property(CHANGED, ({ text, changed }) => {
      parse(text, LEXICAL);
      const parsed = parse(changed, LEXICAL);
      if (parsed.kind !== 'parsed') return;
      for (const { statement, source, span } of parsed.statements) {
        const { text: verb } = source.tokens[span.from] ?? { text: '' };
        if (verb === 'update' || verb === 'delete') t.deepEqual(statement, readChange(source, span));
        if (verb === 'insert' || verb === 'replace') t.deepEqual(statement, readInsert(source, span));
      }
    }),
    { numRuns: 2_000 },
  );
});

test('what differs in more than its constants is another shape', (t) => {
  const statementOf = (text: string): unknown => {
    const parsed = parse(text, LEXICAL);
    return parsed.kind === 'parsed' ? parsed.statements[0]?.statement : parsed;
  };
  const texts = [
    'update t set a = 1',
    'update u set a = 1',
    'update t set b = 1',
    'update `t` set a = 1 where 1',
    'update T set a = 1',
  ];
  const statements = texts.map(statementOf);
  for (const [index, statement] of statements.entries()) t.is(statements.indexOf(statement), index);
  t.is(statementOf('update t set a = 2'), statements[0]);
  t.not(statementOf('update t set a = ?'), statements[0]);
});
