/** What the planner must know about relations and functions, read from the answers to the two catalogue queries that tell it. */
import { assert } from '../../src/platform/assert.ts';
import type { CalledName } from './tree.ts';
import type { PreparedFacts } from './undo/text/prepared.ts';

/** How the text form of a column's type depends on settings of the session. */
export type TextForm = 'fixed' | 'byte' | 'date-style' | 'interval-style' | 'float-digits' | 'bytea-output' | 'pinned';

export interface ColumnFacts {
  readonly name: string;
  /** Schema and name of the type, to cast to. */
  readonly typeSchema: string;
  readonly typeName: string;
  /** The type's name with domains resolved. */
  readonly baseName: string;
  readonly form: TextForm;
  /** How a value becomes part of a lock key, so that equal values have equal keys; undefined when there is no such way. */
  readonly keyForm: KeyForm | undefined;
  /** `stored` or `virtual` when generated. */
  readonly generated: 'stored' | 'virtual' | undefined;
  readonly identityAlways: boolean;
}

export type KeyForm = 'text' | 'long-text' | 'folded' | 'numeric' | 'float' | 'binary';

export interface UniqueIndexFacts {
  readonly oid: number;
  readonly isPrimary: boolean;
  /** Rows are told apart by it: the primary key, or else a unique index that no row can escape by a null, and that is not deferred. */
  readonly isKey: boolean;
  /** What its locks are filed under: for the key the table, else the index; of a partition those that the index is a part of. */
  readonly lockRelation: number;
  readonly columns: readonly string[];
  /** For each column the operator by which the index takes values for equal, as SQL; null where it is no B-tree. */
  readonly equals: readonly (string | null)[];
  /** The constraint that the index belongs to. */
  readonly constraint: string | undefined;
  readonly nullsNotDistinct: boolean;
}

/** A uniqueness whose values cannot be locked: a unique index over expressions, or an exclusion constraint. */
export interface OtherUniqueFacts {
  readonly name: string;
  /** Columns that it depends on. */
  readonly columns: readonly string[];
}

/** A trigger of the user's, and what fires it. */
export interface TriggerFacts {
  readonly name: string;
  readonly onInsert: boolean;
  readonly onUpdate: boolean;
  readonly onDelete: boolean;
}

/** A foreign key of the relation. */
export interface ForeignKeyFacts {
  /** The oid of the table that it refers to. */
  readonly to: number;
  /** It may be looked at late where a row is written, and at once where one that rows refer to goes: DEFERRABLE, and RESTRICT. */
  readonly restrictsLate: boolean;
  readonly columns: readonly string[];
  /** How the rows that it refers to are locked: under what, and by which of their columns, in the order of the key; undefined where they cannot be. */
  readonly parent:
    | {
        readonly lockRelation: number;
        readonly columns: readonly { readonly from: string; readonly to: ColumnFacts }[];
      }
    | undefined;
}

/** A key that foreign keys refer to. */
export interface ReferredKey {
  readonly lockRelation: number;
  /** One of them can be looked at as late as at COMMIT. */
  readonly isDeferrable: boolean;
}

export interface RelationFacts {
  readonly kind: 'relation';
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** pg_class.relkind: r table, p partitioned table, v view, m materialised view, f foreign table, S sequence. */
  readonly relkind: string;
  readonly persistence: 'permanent' | 'unlogged' | 'temporary';
  readonly isPartition: boolean;
  /** Tables inherit from it; partitions do not count. */
  readonly hasHeirs: boolean;
  /** Of a partitioned table: why changes of some of its partitions cannot be seen from it. */
  readonly partitionTrouble: string | null;
  readonly rowSecurity: boolean;
  readonly rules: boolean;
  readonly triggers: readonly TriggerFacts[];
  readonly foreignKeys: readonly ForeignKeyFacts[];
  /** The keys of the relation that foreign keys refer to, by what their locks are filed under. */
  readonly referred: readonly ReferredKey[];
  /** A foreign key to the relation deletes or changes the rows that refer to a deleted one. */
  readonly cascadesOnDelete: boolean;
  /** Columns whose change a foreign key to the relation carries on to the rows that refer to it. */
  readonly cascadesOnUpdateOf: readonly string[];
  readonly columns: readonly ColumnFacts[];
  /** Unique indexes over plain columns; the primary key is one of them. */
  readonly uniqueIndexes: readonly UniqueIndexFacts[];
  readonly otherUniques: readonly OtherUniqueFacts[];
  /** Functions that might write and that a view, a rule, a policy, a default, a check or the type of a column of the relation calls. */
  readonly unsafeFunctions: readonly string[];
  /** Those of them that are called where the relation is only read. */
  readonly unsafeOnRead: readonly string[];
  /** Functions that a check of the relation calls and that may look up names along the search path as they run. */
  readonly seekingChecks: readonly string[];
  /** Constraints that rows of the relation may break, since they are NOT VALID, and the columns that each is about. */
  readonly unvalidated: readonly { readonly name: string; readonly columns: readonly string[] }[];
  /** Checks that rows which are there may fail when they are written back, whatever was changed of them. */
  readonly unsteadyChecks: readonly {
    readonly name: string;
    /** The domain whose check it is; null for one of the table. */
    readonly domain: string | null;
    /** It goes by the clock or by who asks. One of a domain that does not is NOT VALID. */
    readonly isOfMoment: boolean;
  }[];
  /** Hash of columns, types and primary key: an undo record is applied only to a table of the same fingerprint. */
  readonly fingerprint: string;
  /** `SHAPE_SQL` at the time of asking: a captured statement fails as stale when it is another by then. */
  readonly shape: string;
}

/** `unsafe`: the functions that a call, an operator or a cast might reach and that might write. */
export interface FunctionFacts {
  readonly kind: 'function';
  readonly unsafe: readonly string[];
}

/** A name under which the client may have prepared a statement. */
export type PreparedName = PreparedFacts | 'missing';

/** Where an answer was read. */
export interface Reading {
  readonly database: string;
  /** The schemas in which names without one are looked up, in order; those that no setting names are among them. */
  readonly path: readonly string[];
  /** The catalogue looked as it does to everybody: not to a local transaction that has changed it, nor to an older snapshot. */
  readonly isCommon: boolean;
}

/** What `FACTS_SQL` answers, by `factKey`. */
export interface Facts {
  readonly reading: Reading;
  /** `content`: the same for the same facts. */
  readonly relations: ReadonlyMap<string, { readonly fact: RelationFacts; readonly content: string } | 'missing'>;
  readonly functions: ReadonlyMap<string, { readonly fact: FunctionFacts; readonly version: string }>;
  readonly prepared: ReadonlyMap<string, PreparedName>;
}

/** What `NAMES_SQL` answers, by `factKey`. */
export interface Names {
  readonly reading: Reading;
  readonly relations: ReadonlyMap<string, { readonly oid: number; readonly shape: string } | 'missing'>;
  /** The versions of the functions of that name. */
  readonly functions: ReadonlyMap<string, string>;
  readonly prepared: ReadonlyMap<string, PreparedName>;
}

/** The key of a name in the maps of `Facts` and `Names`. */
export function factKey(name: CalledName): string {
  const key = [name.schema ?? null, name.name];
  return JSON.stringify(name.isAttribute === true ? [...key, 'attribute'] : key);
}

/** The three parameters of `FACTS_SQL` and `NAMES_SQL`: keys of relations and of what is called, names of prepared statements. */
export function factsParameters(
  relations: readonly string[],
  functions: readonly string[],
  prepared: readonly string[],
): string[] {
  return [`[${relations.join(',')}]`, `[${functions.join(',')}]`, JSON.stringify(prepared)];
}

interface RawColumn {
  readonly name: string;
  readonly typeSchema: string;
  readonly typeName: string;
  readonly base: string;
  readonly baseType: string;
  readonly isArray: boolean;
  readonly element: string | null;
  readonly elementType: string | null;
  readonly generated: string;
  readonly identity: string;
  readonly deterministic: boolean;
}

interface RawPrepared {
  readonly prepared: readonly { readonly asked: string; readonly facts: PreparedFacts | null }[] | null;
}

interface RawFacts extends Reading, RawPrepared {
  readonly relations: readonly { readonly asked: string[]; readonly facts: RawRelation | null }[] | null;
  readonly functions:
    | readonly { readonly asked: string[]; readonly unsafe: string[] | null; readonly version: string }[]
    | null;
}

interface RawNames extends Reading, RawPrepared {
  readonly relations:
    | readonly { readonly asked: string[]; readonly oid: number | null; readonly shape: string | null }[]
    | null;
  readonly functions: readonly { readonly asked: string[]; readonly version: string }[] | null;
}

interface RawForeignKey extends Omit<ForeignKeyFacts, 'parent'> {
  readonly pairs:
    | readonly {
        readonly from: string;
        readonly to: Omit<RawColumn, 'element' | 'elementType' | 'generated' | 'identity'>;
      }[]
    | null;
  readonly lockRelation: number | null;
}

interface RawRelation extends Omit<
  RelationFacts,
  'kind' | 'persistence' | 'columns' | 'foreignKeys' | 'unsafeFunctions' | 'unsafeOnRead'
> {
  readonly unsafe: { readonly written: string[] | null; readonly always: string[] | null };
  readonly foreignKeys: readonly RawForeignKey[] | null;
  readonly persistence: string;
  readonly columns: readonly RawColumn[] | null;
}

type Rows = readonly (readonly (string | null)[])[];

/** Reads the answer to `FACTS_SQL`. */
export function readFacts(rows: Rows): Facts {
  const raw = answerIn(rows) as RawFacts;
  return {
    reading: raw,
    relations: new Map(
      (raw.relations ?? []).map(({ asked, facts }) => [
        JSON.stringify(asked),
        facts === null ? 'missing' : { fact: readRelation(facts), content: JSON.stringify(facts) },
      ]),
    ),
    functions: new Map(
      (raw.functions ?? []).map(({ asked, unsafe, version }) => [
        JSON.stringify(asked),
        { fact: { kind: 'function', unsafe: unsafe ?? [] }, version },
      ]),
    ),
    prepared: readPrepared(raw),
  };
}

/** Reads the answer to `NAMES_SQL`. */
export function readNames(rows: Rows): Names {
  const raw = answerIn(rows) as RawNames;
  return {
    reading: raw,
    relations: new Map(
      (raw.relations ?? []).map(({ asked, oid, shape }) => [
        JSON.stringify(asked),
        oid === null || shape === null ? 'missing' : { oid, shape },
      ]),
    ),
    functions: new Map((raw.functions ?? []).map(({ asked, version }) => [JSON.stringify(asked), version])),
    prepared: readPrepared(raw),
  };
}

function answerIn(rows: Rows): unknown {
  const json = rows[0]?.[0];
  assert(typeof json === 'string', 'the catalogue query answers one text');
  return JSON.parse(json);
}

function readPrepared({ prepared }: RawPrepared): ReadonlyMap<string, PreparedName> {
  return new Map((prepared ?? []).map(({ asked, facts }) => [asked, facts ?? 'missing']));
}

const PERSISTENCE: Readonly<Record<string, RelationFacts['persistence']>> = {
  p: 'permanent',
  u: 'unlogged',
  t: 'temporary',
};

function readRelation(raw: RawRelation): RelationFacts {
  return {
    ...raw,
    kind: 'relation',
    persistence: PERSISTENCE[raw.persistence] ?? 'unlogged',
    triggers: raw.triggers ?? [],
    referred: raw.referred ?? [],
    cascadesOnUpdateOf: raw.cascadesOnUpdateOf ?? [],
    foreignKeys: (raw.foreignKeys ?? []).map(readForeignKey),
    uniqueIndexes: raw.uniqueIndexes ?? [],
    otherUniques: raw.otherUniques ?? [],
    unsafeFunctions: raw.unsafe.written ?? [],
    unsafeOnRead: raw.unsafe.always ?? [],
    seekingChecks: raw.seekingChecks ?? [],
    unvalidated: raw.unvalidated ?? [],
    unsteadyChecks: raw.unsteadyChecks ?? [],
    columns: (raw.columns ?? []).map(readColumn),
  };
}

function readColumn(column: RawColumn): ColumnFacts {
  return {
    name: column.name,
    typeSchema: column.typeSchema,
    typeName: column.typeName,
    baseName: column.base.slice(column.base.indexOf('.') + 1),
    form: formOf(column),
    keyForm: keyFormOf(column),
    generated: column.generated === '' ? undefined : column.generated === 'v' ? 'virtual' : 'stored',
    identityAlways: column.identity === 'a',
  };
}

function readForeignKey({ pairs, lockRelation, ...key }: RawForeignKey): ForeignKeyFacts {
  const parent = (pairs ?? []).map((pair) => ({
    from: pair.from,
    to: readColumn({ ...pair.to, element: null, elementType: null, generated: '', identity: '' }),
  }));
  const isLockable =
    lockRelation !== null && parent.length > 0 && parent.every((pair) => pair.to.keyForm !== undefined);
  return { ...key, parent: isLockable ? { lockRelation, columns: parent } : undefined };
}

const FORMS: ReadonlyMap<string, TextForm> = new Map<string, TextForm>([
  ...['bool', 'int2', 'int4', 'int8', 'numeric', 'text', 'varchar', 'bpchar', 'name', 'uuid', 'json', 'jsonb'].map(
    (name) => [name, 'fixed'] as const,
  ),
  ...[
    'oid',
    'inet',
    'cidr',
    'macaddr',
    'macaddr8',
    'bit',
    'varbit',
    'tsvector',
    'tsquery',
    'xid',
    'pg_lsn',
    'time',
  ].map((name) => [name, 'fixed'] as const),
  ['timetz', 'fixed'],
  ['char', 'byte'],
  ['date', 'date-style'],
  ['timestamp', 'date-style'],
  ['timestamptz', 'date-style'],
  ['interval', 'interval-style'],
  ['float4', 'float-digits'],
  ['float8', 'float-digits'],
  ['bytea', 'bytea-output'],
]);

function formOf(column: RawColumn): TextForm {
  const name = column.isArray ? column.element : column.base;
  const type = column.isArray ? column.elementType : column.baseType;
  if (type === 'e') return 'fixed';
  if (type !== 'b' || name === null || !name.startsWith('pg_catalog.')) return 'pinned';
  return FORMS.get(name.slice('pg_catalog.'.length)) ?? 'pinned';
}

const KEY_FORMS: ReadonlyMap<string, KeyForm> = new Map<string, KeyForm>([
  ...['bool', 'int2', 'int4', 'int8', 'uuid', 'oid', 'macaddr', 'macaddr8', 'xid', 'char'].map(
    (name) => [name, 'text'] as const,
  ),
  ...['text', 'varchar', 'bpchar', 'name', 'inet', 'cidr', 'bit', 'varbit'].map((name) => [name, 'long-text'] as const),
  ['numeric', 'numeric'],
  ['float4', 'float'],
  ['float8', 'float'],
  ...['date', 'timestamp', 'timestamptz', 'time', 'bytea'].map((name) => [name, 'binary'] as const),
]);

function keyFormOf(column: RawColumn): KeyForm | undefined {
  if (column.baseType === 'e') return 'text';
  if (column.base.endsWith('.citext')) return 'folded';
  if (column.isArray || column.baseType !== 'b' || !column.deterministic) return undefined;
  if (!column.base.startsWith('pg_catalog.')) return undefined;
  return KEY_FORMS.get(column.base.slice('pg_catalog.'.length));
}
