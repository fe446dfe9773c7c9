/** Checks JSON objects from outside against tables of fields, and names every fault with its path. */

/** What is wrong with a value (`expected …`); undefined when nothing is. */
export type Check = (value: unknown) => string | undefined;

/** One row of a table: the check, and whether the field must be there. */
export interface Field {
  readonly check: Check;
  readonly isRequired: boolean;
}

/** Every fault of `value` as an object with these fields and no others. `path` is where it stands, empty for the body itself. */
export function objectFaults(value: unknown, fields: Readonly<Record<string, Field>>, path = ''): readonly string[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return [`${path === '' ? 'body' : path}: expected a JSON object`];
  }
  const prefix = path === '' ? '' : `${path}.`;
  const faults: string[] = [];
  for (const [name, item] of Object.entries(value)) {
    const field = Object.hasOwn(fields, name) ? fields[name] : undefined;
    const fault =
      field === undefined ? `unknown field, known are ${Object.keys(fields).join(', ') || 'none'}` : field.check(item);
    // A name from outside is quoted and cut: it goes into logs and answers.
    if (fault !== undefined) faults.push(`${prefix}${field === undefined ? printable(name) : name}: ${fault}`);
  }
  for (const [name, field] of Object.entries(fields)) {
    if (field.isRequired && !Object.hasOwn(value, name)) faults.push(`${prefix}${name}: missing`);
  }
  return faults;
}

export function required(check: Check): Field {
  return { check, isRequired: true };
}

export function optional(check: Check): Field {
  return { check, isRequired: false };
}

/** An integer between the two, both included. */
export function integer(least: number, most: number): Check {
  return (value) =>
    Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most
      ? undefined
      : `expected an integer from ${least} to ${most}, found ${printable(value)}`;
}

/** A text of so many characters. */
export function text(least: number, most: number): Check {
  return (value) =>
    typeof value === 'string' && value.length >= least && value.length <= most
      ? undefined
      : `expected a text of ${least} to ${most} characters, found ${printable(value)}`;
}

/** Bytes in base64, with its padding (RFC 4648 §4). */
export const base64: Check = (value) =>
  typeof value === 'string' && value.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(value)
    ? undefined
    : `expected bytes in base64, found ${printable(value)}`;

/** One of these words. */
export function oneOf(words: readonly string[]): Check {
  return (value) =>
    words.includes(value as string) ? undefined : `expected one of ${words.join(', ')}, found ${printable(value)}`;
}

/** Lists and objects are named and not shown: they may be as large and deep as a body. */
function printable(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null) return 'an object';
  const json = JSON.stringify(value) ?? 'nothing';
  return json.length > 60 ? `${json.slice(0, 60)}…` : json;
}
