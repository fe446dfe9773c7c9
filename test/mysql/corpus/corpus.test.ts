import test from 'ava';
import type { ColumnFacts, TableFacts } from '../../../proxy/mysql/catalog.ts';
import { parse, type ParsedStatement } from '../../../proxy/mysql/parse.ts';
import { plan } from '../../../proxy/mysql/plan.ts';
import { loadGrammar } from '../../../proxy/mysql/text/tree.ts';
import { GORM, HIBERNATE } from './java-and-go.ts';
import { PRISMA, SEQUELIZE, TYPEORM } from './node.ts';
import { DJANGO, LARAVEL, RAILS, SQLALCHEMY } from './python-php-ruby.ts';

const SERVER = { isMariadb: false, version: 80_036, ignoresSpace: false };

const CORPUS: Readonly<Record<string, readonly string[]>> = {
  Hibernate: HIBERNATE,
  GORM,
  Sequelize: SEQUELIZE,
  TypeORM: TYPEORM,
  Prisma: PRISMA,
  SQLAlchemy: SQLALCHEMY,
  Django: DJANGO,
  Laravel: LARAVEL,
  Rails: RAILS,
};

test.before(() => loadGrammar());

test('of what nine object mappers send to MySQL, at least 95 in 100 statements are understood', (t) => {
  let all = 0;
  const refused: string[] = [];
  for (const [mapper, statements] of Object.entries(CORPUS)) {
    const bad = statements.flatMap((sql) => {
      const why = refusalOf(sql);
      return why === undefined ? [] : [`${mapper}: ${sql}\n    ${why}`];
    });
    t.log(`${mapper}: ${statements.length - bad.length} of ${statements.length}`);
    all += statements.length;
    refused.push(...bad);
  }
  t.log(
    `${all - refused.length} of ${all} (${((100 * (all - refused.length)) / all).toFixed(1)} %)\n${refused.join('\n')}`,
  );
  const changes = Object.values(CORPUS).flat().filter(isChange);
  const understood = changes.filter((sql) => refusalOf(sql) === undefined).length;
  t.log(
    `of those that change rows ${understood} of ${changes.length} (${((100 * understood) / changes.length).toFixed(1)} %)`,
  );
  t.true(all >= 200);
  t.true(refused.length <= all * 0.05, refused.join('\n'));
  t.true(understood >= changes.length * 0.95);
});

function isChange(sql: string): boolean {
  return /^(?:\/\*.*?\*\/\s*)?(?:insert|update|delete|replace)/i.test(sql);
}

/** Why a statement could not run inside a global transaction; undefined when it could. */
function refusalOf(sql: string): string | undefined {
  const parsed = parse(sql, { charset: 'utf8', noBackslashEscapes: false, ansiQuotes: false, server: SERVER });
  if (parsed.kind === 'unreadable') return parsed.message;
  const [statement, ...others] = parsed.statements;
  if (statement === undefined || others.length > 0) return 'it is not one statement';
  const planned = plan(statement, {
    database: 'shop',
    facts: (database, table) => madeFor(statement, database, table),
    parameters: Array.from({ length: 20 }, () => ({ text: '5' })),
  });
  return planned.kind === 'refuse' ? planned.refusal.message : undefined;
}

/** A table that has the columns that the statement names, a number for its key, and another unique column. */
function madeFor({ statement }: ParsedStatement, database: string, table: string): TableFacts {
  const named = 'assignments' in statement ? statement.assignments.map(({ column }) => column) : [];
  const listed =
    'columns' in statement
      ? [...(statement.columns ?? []), ...(statement.onDuplicate?.assignments ?? []).map(({ column }) => column)]
      : [];
  const names = [...new Set(['id', ...named, ...listed])];
  const isNumbered =
    !('columns' in statement) || statement.columns === undefined || statement.onDuplicate === undefined;
  const columns = names.map((name): ColumnFacts => ({
    name,
    image: { name, type: 'int', form: 'number' },
    isGenerated: false,
    isAutoIncrement: name === 'id' && isNumbered,
    lengthMax: undefined,
  }));
  const [unique = 'id'] = listed;
  const index = (name: string, column: string) => ({
    name,
    isPrimary: name === 'PRIMARY',
    columns: [{ name: column, prefix: undefined, isNullable: false }],
  });
  return {
    database,
    table,
    kind: 'table',
    engine: 'InnoDB',
    columns,
    uniques: [index('PRIMARY', 'id'), index('other', unique)],
    parents: [],
    children: [],
    triggers: [],
    autoIncrementMode: 2,
    isMariadb: false,
  };
}
