/** Checks a tree against an option table and explains every disagreement at its place in the file. */
import type { z } from 'zod';
import { expand } from './expand.ts';
import { type ConfigFault, type Path, pathText, printable } from './fault.ts';
import { nearest } from './nearest.ts';
import type { Strings } from './strings.ts';
import { isSecret, isTemplate, knownNames, tableAt } from './table.ts';
import { keyPlaceAt, nodeAt, type TreeNode } from './tree.ts';

export type Validated<T> =
  | { readonly kind: 'valid'; readonly options: T; readonly warnings: readonly ConfigFault[] }
  | { readonly kind: 'invalid'; readonly faults: readonly ConfigFault[] };

/** Expands references, then checks names, types and values. All faults are found in one go, in no particular order. */
export function validate<Table extends z.ZodType>(
  table: Table,
  tree: TreeNode,
  file: string,
  strings: Strings,
): Validated<z.output<Table>> {
  const reader = new ValueReader(table, file, strings);
  const value = reader.read(tree, []);
  const result = table.safeParse(value);
  const explain = (issue: z.core.$ZodIssue): readonly ConfigFault[] => explainIssue({ table, tree, file }, issue, []);
  const faults = [...reader.faults, ...(result.error?.issues ?? []).flatMap(explain)].filter((fault) => {
    // Nothing is known about a value that could not be put in: what the table says about the text left there is noise.
    return reader.faults.includes(fault) || !reader.unknown.has(fault.path);
  });
  if (result.success && faults.length === 0) return { kind: 'valid', options: result.data, warnings: reader.warnings };
  return { kind: 'invalid', faults };
}

/** The tree as plain values with the references expanded. */
class ValueReader {
  readonly faults: ConfigFault[] = [];
  readonly warnings: ConfigFault[] = [];
  /** Paths whose value could not be put in. */
  readonly unknown = new Set<string>();
  readonly #table: z.ZodType;
  readonly #file: string;
  readonly #strings: Strings;

  constructor(table: z.ZodType, file: string, strings: Strings) {
    this.#table = table;
    this.#file = file;
    this.#strings = strings;
  }

  read(node: TreeNode, path: Path): unknown {
    switch (node.kind) {
      case 'map':
        return Object.fromEntries(
          [...node.entries].map(([name, entry]) => [name, this.read(entry.node, [...path, name])]),
        );
      case 'list':
        return node.items.map((item, index) => this.read(item, [...path, index]));
      case 'scalar':
        return typeof node.value === 'string' ? this.#text(node.value, node, path) : node.value;
    }
  }

  #text(text: string, node: TreeNode, path: Path): string {
    const schema = tableAt(this.#table, path);
    const expanded = expand(text, this.#strings, schema !== undefined && isTemplate(schema));
    const place = { file: this.#file, ...node.place, path: pathText(path) };
    if (expanded.kind === 'failed') {
      this.unknown.add(place.path);
      this.faults.push(...expanded.problems.map((problem) => ({ ...place, ...problem })));
      return text;
    }
    if (!expanded.hasReferences && schema !== undefined && isSecret(schema)) {
      this.warnings.push({
        ...place,
        message: 'a secret is written in this file',
        expected: '${env:NAME} or ${file:/path}, so that who may read the file need not know the secret',
      });
    }
    return expanded.text;
  }
}

interface Subject {
  readonly table: z.ZodType;
  readonly tree: TreeNode;
  readonly file: string;
}

/** `base` is the path of the union that the issue was found inside; paths of such issues are relative to it. */
function explainIssue(subject: Subject, issue: z.core.$ZodIssue, base: Path): readonly ConfigFault[] {
  const path = [...base, ...issue.path.map((step) => (typeof step === 'symbol' ? String(step) : step))];
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((name) => unknownName(subject, path, name));
    case 'invalid_union':
      return explainUnion(subject, issue, path);
    case 'invalid_key': {
      const expected = phrase(issue.issues[0]?.message ?? 'another name');
      const name = String(path.at(-1));
      return [faultAt(subject, path, { message: `the name ${printable(name, 60)} is not allowed`, expected })];
    }
    case 'invalid_value': {
      const known = issue.values.map(String);
      const node = nodeAt(subject.tree, path);
      const written = node?.kind === 'scalar' ? String(node.value) : '';
      return [wrongValue(subject, path, ownPhrase(issue) ?? `one of ${known.join(', ')}`, nearest(written, known))];
    }
    case 'invalid_type':
      return [wrongValue(subject, path, ownPhrase(issue) ?? typeName(issue.expected))];
    case 'too_small':
      return [wrongValue(subject, path, ownPhrase(issue) ?? `at least ${issue.minimum}`)];
    case 'too_big':
      return [wrongValue(subject, path, ownPhrase(issue) ?? `at most ${issue.maximum}`)];
    case 'custom':
    case 'invalid_format':
    case 'not_multiple_of':
    case 'invalid_element':
      return [wrongValue(subject, path, phrase(issue.message))];
  }
}

/**
 * A union in these tables is a choice between mappings by their one name, or between a text and a mapping. The alternative whose name
 * was written is the one that was meant; when none was, the names are what is missing.
 */
function explainUnion(subject: Subject, issue: z.core.$ZodIssueInvalidUnion, path: Path): readonly ConfigFault[] {
  const meant = issue.errors.find((issues) => {
    return issues.every((inner) => inner.path.length > 0 && nodeAt(subject.tree, [...path, inner.path[0] as string]));
  });
  if (meant !== undefined) return meant.flatMap((inner) => explainIssue(subject, inner, path));
  const node = nodeAt(subject.tree, path);
  const own = ownPhrase(issue);
  if (own !== undefined && node?.kind !== 'map') return [wrongValue(subject, path, own)];
  const schema = tableAt(subject.table, path);
  const known = schema === undefined ? [] : knownNames(schema);
  const expected = `exactly one of ${known.join(', ')}`;
  if (node?.kind !== 'map') return [wrongValue(subject, path, `options: ${expected}`)];
  const strangers = [...node.entries.keys()].filter((name) => !known.includes(name));
  if (strangers.length > 0) return strangers.map((name) => unknownName(subject, path, name));
  const [mapping, another] = issue.errors.filter((issues) => issues.every((inner) => inner.path.length > 0));
  if (mapping !== undefined && another === undefined)
    return mapping.flatMap((inner) => explainIssue(subject, inner, path));
  return [faultAt(subject, path, { message: 'the choice is not clear', expected })];
}

function unknownName(subject: Subject, parent: Path, name: string): ConfigFault {
  const schema = tableAt(subject.table, parent, subject.tree);
  const known = schema === undefined ? [] : knownNames(schema);
  const suggestion = nearest(name, known);
  return faultAt(subject, [...parent, name], {
    message: `unknown option ${printable(name, 60)}`,
    expected: known.length === 0 ? 'no options here' : `one of ${known.join(', ')}`,
    ...(suggestion === undefined ? {} : { suggestion }),
  });
}

function wrongValue(subject: Subject, path: Path, expected: string, suggestion?: string): ConfigFault {
  const node = nodeAt(subject.tree, path);
  if (node === undefined) {
    const name = String(path.at(-1) ?? '');
    const { line, column } = keyPlaceAt(subject.tree, path.slice(0, -1));
    const message = `the option ${printable(name, 60)} is missing`;
    return { file: subject.file, line, column, path: pathText(path), message, expected };
  }
  const schema = tableAt(subject.table, path);
  const message = `found ${shown(node, schema !== undefined && isSecret(schema))}`;
  const fault = { file: subject.file, ...node.place, path: pathText(path), message, expected };
  return suggestion === undefined ? fault : { ...fault, suggestion };
}

function faultAt(
  subject: Subject,
  path: Path,
  what: Pick<ConfigFault, 'message' | 'expected' | 'suggestion'>,
): ConfigFault {
  return { file: subject.file, ...keyPlaceAt(subject.tree, path), path: pathText(path), ...what };
}

/** The node as it is written: references are not expanded, so nothing from the environment can show. */
function shown(node: TreeNode, secret: boolean): string {
  if (node.kind === 'map') return 'options';
  if (node.kind === 'list') return 'a list';
  if (node.value === null) return 'nothing';
  if (secret) return typeof node.value === 'string' ? 'a text' : `a ${typeof node.value} (write it in quotes)`;
  if (typeof node.value === 'string') return printable(node.value, 60);
  return `the ${typeof node.value === 'number' ? 'number' : 'word'} ${String(node.value)}`;
}

/** What the table itself says is expected. */
function ownPhrase(issue: z.core.$ZodIssue): string | undefined {
  return issue.message.startsWith('expected ') ? phrase(issue.message) : undefined;
}

function phrase(message: string): string {
  return message.replace(/^expected /, '');
}

const TYPE_NAMES: Readonly<Record<string, string>> = {
  object: 'options, one a line',
  record: 'options, one a line',
  array: 'a list, one "- " a line',
  int: 'a whole number',
  number: 'a number',
  boolean: 'true or false',
  string: 'a text',
};

function typeName(expected: string): string {
  return TYPE_NAMES[expected] ?? expected;
}
