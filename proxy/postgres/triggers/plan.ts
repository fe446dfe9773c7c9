/**
 * Plans where triggers write the images: a statement runs as it came, once the triggers are told of its branch. What it names is
 * looked up; what functions and foreign keys reach cannot be known, which is why every table has triggers or is named as an exception.
 */
import type { Recorded, StatementPlan } from '../../sql/statement.ts';
import type { RelationFacts } from '../catalog.ts';
import type { ParsedStatement, Tree } from '../parse.ts';
import { child, children, references, relationName, type QualifiedName } from '../tree.ts';
import { classify, type Class } from '../undo/classify.ts';
import { refuse, refuseHard } from '../undo/refusal.ts';
import { runsCode } from '../undo/target.ts';
import { triggerNames } from './generate.ts';

/** Statements whose changes fire triggers, wherever in them a row is changed. */
const RECORDED: ReadonlySet<string> = new Set([
  'InsertStmt',
  'UpdateStmt',
  'DeleteStmt',
  'MergeStmt',
  'SelectStmt',
  'CopyStmt',
  'CallStmt',
  'DoStmt',
  'ExplainStmt',
]);

/** These run code of the user's that could commit: inside a block the server refuses that. */
const PROCEDURAL: ReadonlySet<string> = new Set(['CallStmt', 'DoStmt', 'ExecuteStmt']);
const RETURNING_ROWS: ReadonlySet<string> = new Set(['SelectStmt', 'CallStmt', 'ExplainStmt', 'ExecuteStmt']);

/** Sorts one statement: what is refused for want of images, and fires triggers, is a change. */
export function classifyRecorded(statement: ParsedStatement): Class {
  return recordedClass(statement, classify(statement));
}

/** The same for a statement that has been sorted. */
export function recordedClass({ kind, node }: ParsedStatement, found: Class): Class {
  if (found.kind !== 'plan' || found.plan.kind !== 'refuse' || found.plan.escalates !== true) return found;
  if (!RECORDED.has(kind)) return found;
  const all = references(node);
  // Neither makes a trigger fire on the table that it makes.
  if (child(node, 'intoClause') !== undefined || all.nestedWrites.includes('SELECT INTO')) return found;
  return { kind: 'change', references: all };
}

export interface RecordedContext {
  readonly maxRows: number;
  /** It calls functions that may change rows. */
  readonly calls: boolean;
  readonly facts: (name: QualifiedName) => RelationFacts | 'missing';
}

/** The plan for a statement that may change rows. `parameters`: how many it has. */
export function planRecorded(statement: ParsedStatement, parameters: number, context: RecordedContext): StatementPlan {
  const targets = targetsIn(wrapped(statement)).map(context.facts);
  for (const facts of targets) {
    const refusal = facts === 'missing' ? undefined : refuseUnrecorded(facts);
    if (refusal !== undefined) return refusal;
  }
  const isTemporary =
    targets.length > 0 &&
    targets.every((facts) => facts !== 'missing' && facts.persistence === 'temporary' && !runsCode(facts));
  if (isTemporary && !context.calls) return { kind: 'pass' };
  const isPlain = !PROCEDURAL.has(statement.kind);
  const recorded: Recorded = {
    rowsMax: context.maxRows,
    isPlain,
    ...(isPlain && !context.calls ? {} : { runsCode: true }),
  };
  // Data pass by whoever serves the statement: it can be run once.
  if (statement.kind === 'CopyStmt') return { kind: 'change', isPlain: true, recorded };
  const sql = statement.source.slice(statement.start, statement.end);
  const returnsRows = RETURNING_ROWS.has(statement.kind) || child(statement.node, 'returningClause') !== undefined;
  return {
    kind: 'capture',
    capture: {
      command: 'SELECT',
      sql,
      sqlWhenEntered: sql,
      returnsRows,
      clientParameters: parameters,
      ownParameters: [],
      recorded,
    },
  };
}

const SYSTEM_SCHEMAS: ReadonlySet<string> = new Set(['pg_catalog', 'information_schema', 'atomesh']);

function refuseUnrecorded(facts: RelationFacts): StatementPlan | undefined {
  const name = `"${facts.schema}"."${facts.name}"`;
  if (SYSTEM_SCHEMAS.has(facts.schema)) return refuseHard(`changing ${name} is not supported`);
  if (facts.persistence === 'temporary' || !['r', 'p', 'f'].includes(facts.relkind)) return undefined;
  const has = new Set(facts.triggers.map((trigger) => trigger.name));
  if (triggerNames(false).every((trigger) => has.has(trigger))) return undefined;
  if (triggerNames(true).every((trigger) => has.has(trigger))) {
    return refuse(
      `changing ${name}, whose changes triggers cannot record, is not supported`,
      'The command "atomesh db triggers status" says why.',
    );
  }
  return refuse(
    `changing ${name}, which lacks the triggers that record its changes, is not supported`,
    'Run "atomesh db triggers install" against this database. What captureExcept names cannot be changed by name.',
  );
}

function wrapped({ kind, node }: ParsedStatement): Tree {
  return { [kind]: node };
}

/** The relations that the statements in a tree change by name, at any depth. */
function targetsIn(node: Tree): readonly QualifiedName[] {
  return Object.entries(node).flatMap(([field, value]) => {
    if (Array.isArray(value)) return children(node, field).flatMap((item) => (isTree(item) ? targetsIn(item) : []));
    if (!isTree(value)) return [];
    const target = CHANGING.has(field) ? child(value, 'relation') : undefined;
    const isRead = field === 'CopyStmt' && value['is_from'] !== true;
    return [...(target === undefined || isRead ? [] : [relationName(target)]), ...targetsIn(value)];
  });
}

const CHANGING: ReadonlySet<string> = new Set(['InsertStmt', 'UpdateStmt', 'DeleteStmt', 'MergeStmt', 'CopyStmt']);

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
