/** Facts of tables, as the catalogue would tell them, for plans. */
import type { ColumnFacts, ForeignKeyFacts, TableFacts, UniqueFacts } from '../../../proxy/mysql/catalog.ts';

export function number(name: string, isAutoIncrement = false): ColumnFacts {
  return {
    name,
    image: { name, type: 'int', form: 'number' },
    isGenerated: false,
    isAutoIncrement,
    lengthMax: undefined,
  };
}

export function string(name: string, collation = 'utf8mb4_general_ci'): ColumnFacts {
  return {
    name,
    image: { name, type: 'varchar(20)', form: 'text', charset: 'utf8mb4', collation },
    isGenerated: false,
    isAutoIncrement: false,
    lengthMax: 20,
  };
}

export function unique(name: string, ...columns: readonly string[]): UniqueFacts {
  return {
    name,
    isPrimary: name === 'PRIMARY',
    columns: columns.map((column) => ({ name: column, prefix: undefined, isNullable: false })),
  };
}

export function foreignKey(table: string, columns: ForeignKeyFacts['columns']): ForeignKeyFacts {
  return { name: `to ${table}`, database: 'shop', table, columns, onUpdate: 'restrict', onDelete: 'restrict' };
}

/** A table with a number for its key. */
export function tableOf(table: string, facts: Partial<TableFacts> = {}): TableFacts {
  return {
    database: 'shop',
    table,
    kind: 'table',
    engine: 'InnoDB',
    columns: [number('id')],
    uniques: [unique('PRIMARY', 'id')],
    parents: [],
    children: [],
    triggers: [],
    autoIncrementMode: 1,
    isMariadb: true,
    ...facts,
  };
}
