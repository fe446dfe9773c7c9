/** Looks into an option table: which names it knows at a path, and which of its options are secret. */
import { z } from 'zod';
import type { Path } from './fault.ts';
import { nodeAt, type TreeNode } from './tree.ts';

/**
 * The part of the table that is responsible for `path`, or undefined when it knows no such option. Where an option decides which
 * others there are (the engine of a database), `tree` says what was written.
 */
export function tableAt(table: z.core.$ZodType, path: Path, tree?: TreeNode): z.core.$ZodType | undefined {
  let schema: z.core.$ZodType | undefined = table;
  for (const [index, step] of path.entries()) {
    if (schema === undefined) return undefined;
    schema = inside(chosen(schema, tree && nodeAt(tree, path.slice(0, index))), step);
  }
  return schema && chosen(schema, tree && nodeAt(tree, path));
}

/** Of a union by an option: the alternative whose value of it was written. Anything else stays as it is. */
function chosen(schema: z.core.$ZodType, node: TreeNode | undefined): z.core.$ZodType {
  const { def } = schema._zod as z.core.$ZodTypes['_zod'];
  if (def.type !== 'union' || !('discriminator' in def) || node?.kind !== 'map') return schema;
  const name = String(def.discriminator);
  const written = node.entries.get(name)?.node;
  const value = written?.kind === 'scalar' ? written.value : undefined;
  return def.options.find((option) => inside(option, name)?._zod.values?.has(value as string)) ?? schema;
}

/** The names of the options at the top of `schema`. Empty where any name may stand. */
export function knownNames(schema: z.core.$ZodType): readonly string[] {
  const { def } = bare(schema)._zod as z.core.$ZodTypes['_zod'];
  if (def.type === 'object') return Object.keys(def.shape);
  if (def.type === 'union') return [...new Set(def.options.flatMap(knownNames))];
  return [];
}

/** True when values of `schema` must never be shown. */
export function isSecret(schema: z.core.$ZodType): boolean {
  const { def } = schema._zod as z.core.$ZodTypes['_zod'];
  if (z.globalRegistry.get(schema)?.['writeOnly'] === true) return true;
  return isWrapper(def) ? isSecret(def.innerType) : false;
}

/** True when texts of `schema` are templates: `${…}` in them may mean something that only a request can say. */
export function isTemplate(schema: z.core.$ZodType): boolean {
  if (z.globalRegistry.get(schema)?.['format'] === 'atomesh-template') return true;
  const { def } = schema._zod as z.core.$ZodTypes['_zod'];
  if (def.type === 'pipe') return isTemplate(def.in);
  return isWrapper(def) && isTemplate(def.innerType);
}

function inside(schema: z.core.$ZodType, step: string | number): z.core.$ZodType | undefined {
  const { def } = bare(schema)._zod as z.core.$ZodTypes['_zod'];
  if (def.type === 'object') return Object.hasOwn(def.shape, step) ? def.shape[String(step)] : undefined;
  if (def.type === 'array') return typeof step === 'number' ? def.element : undefined;
  if (def.type === 'record') return def.valueType;
  if (def.type !== 'union') return undefined;
  for (const option of def.options) {
    const found = inside(option, step);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The schema without the layers that only say "optional" or "by default". */
function bare(schema: z.core.$ZodType): z.core.$ZodType {
  const { def } = schema._zod as z.core.$ZodTypes['_zod'];
  if (isWrapper(def)) return bare(def.innerType);
  return def.type === 'pipe' ? bare(def.in) : schema;
}

type Wrapper = z.core.$ZodOptionalDef | z.core.$ZodDefaultDef | z.core.$ZodPrefaultDef;

function isWrapper(def: z.core.$ZodTypes['_zod']['def']): def is Wrapper {
  return def.type === 'optional' || def.type === 'default' || def.type === 'prefault';
}
