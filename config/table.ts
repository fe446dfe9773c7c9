/** Looks into an option table: which names it knows at a path, and which of its options are secret. */
import { z } from 'zod';
import type { Path } from './fault.ts';

/** The part of the table that is responsible for `path`, or undefined when it knows no such option. */
export function tableAt(table: z.core.$ZodType, path: Path): z.core.$ZodType | undefined {
  let schema: z.core.$ZodType | undefined = table;
  for (const step of path) {
    if (schema === undefined) return undefined;
    schema = inside(schema, step);
  }
  return schema;
}

/** The names of the options at the top of `schema`. Empty where any name may stand. */
export function knownNames(schema: z.core.$ZodType): readonly string[] {
  const { def } = bare(schema)._zod as z.core.$ZodTypes['_zod'];
  if (def.type === 'object') return Object.keys(def.shape);
  if (def.type === 'union') return def.options.flatMap(knownNames);
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
