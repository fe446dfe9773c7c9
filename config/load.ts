/** From the text of a YAML file to checked options, or to every fault in it at once. */
import { sidecarOptions, type SidecarOptions } from '../proxy/options.ts';
import { coordinatorOptions, type CoordinatorOptions } from '../src/options.ts';
import type { z } from 'zod';
import { checkCoordinator, checkSidecar, type Findings } from './checks.ts';
import { type ConfigFault, type Finding, pathText } from './fault.ts';
import { readText, type Strings } from './strings.ts';
import { keyPlaceAt, nodeAt, type TreeNode } from './tree.ts';
import { validate } from './validate.ts';
import { readTree, TEXT_LENGTH_MAX } from './yaml.ts';

export type ConfigKind = 'sidecar' | 'coordinator';

/** Faults beyond these are not worth reading; the last one says how many there are more. */
const FAULTS_MAX = 100;

export type Loaded<Options> =
  | { readonly kind: 'valid'; readonly options: Options; readonly warnings: readonly ConfigFault[] }
  /** At least one fault, in the order of the file. */
  | { readonly kind: 'invalid'; readonly faults: readonly ConfigFault[] };

/** The sidecar's options from `text`. `file` is only a name for messages. Never throws, whatever the text. */
export function loadSidecarConfig(text: string, file: string, strings: Strings): Loaded<SidecarOptions> {
  return load(sidecarOptions, checkSidecar, { text, file, strings });
}

/** The coordinator's options from `text`. `file` is only a name for messages. Never throws, whatever the text. */
export function loadCoordinatorConfig(text: string, file: string, strings: Strings): Loaded<CoordinatorOptions> {
  return load(coordinatorOptions, checkCoordinator, { text, file, strings });
}

/** What the coordinator runs with when it is given no file. */
export function defaultCoordinatorOptions(): CoordinatorOptions {
  return coordinatorOptions.parse({});
}

/** Which of the two tables a file is written for, by its top-level names; the coordinator's when nothing tells. */
export function kindOf(text: string): ConfigKind {
  const read = readTree(text, '');
  if (read.kind === 'invalid' || read.tree.kind !== 'map') return 'coordinator';
  const ofSidecar = Object.keys(sidecarOptions.shape).filter((name) => !Object.hasOwn(coordinatorOptions.shape, name));
  const { entries } = read.tree;
  return ofSidecar.some((name) => entries.has(name)) ? 'sidecar' : 'coordinator';
}

/** The text of a configuration file, or why it cannot be had, as a fault of the file as a whole. */
export function readConfigFile(
  path: string,
):
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'invalid'; readonly faults: readonly ConfigFault[] } {
  const read = readText(path, TEXT_LENGTH_MAX);
  if (read.kind === 'text') return read;
  const message = `the file cannot be used: ${read.reason}`;
  return { kind: 'invalid', faults: [{ file: path, line: 1, column: 1, path: '', message }] };
}

function load<Table extends z.ZodType>(
  table: Table,
  check: (options: z.output<Table>) => Findings,
  source: { readonly text: string; readonly file: string; readonly strings: Strings },
): Loaded<z.output<Table>> {
  const { file, strings } = source;
  const read = readTree(source.text, file);
  if (read.kind === 'invalid') return invalid(read.faults);
  const validated = validate(table, read.tree, file, strings);
  if (validated.kind === 'invalid') return invalid(validated.faults);
  const found = check(validated.options);
  const locate = (finding: Finding): ConfigFault => located(finding, read.tree, file);
  if (found.faults.length > 0) return invalid(found.faults.map(locate));
  const warnings = [...validated.warnings, ...found.warnings.map(locate)].toSorted(byPlace);
  return { kind: 'valid', options: validated.options, warnings };
}

/** At the option's value; for an option that is only there by default, at the section around it. */
function located(finding: Finding, tree: TreeNode, file: string): ConfigFault {
  const { path, ...what } = finding;
  const place = nodeAt(tree, path)?.place ?? keyPlaceAt(tree, path);
  return { file, line: place.line, column: place.column, path: pathText(path), ...what };
}

function invalid(faults: readonly ConfigFault[]): {
  readonly kind: 'invalid';
  readonly faults: readonly ConfigFault[];
} {
  const sorted = faults.toSorted(byPlace);
  const last = sorted[FAULTS_MAX - 1];
  if (last === undefined || sorted.length === FAULTS_MAX) return { kind: 'invalid', faults: sorted };
  const more = { file: last.file, line: last.line, column: last.column, path: '' };
  const message = `and ${sorted.length - FAULTS_MAX} more faults after this one`;
  return { kind: 'invalid', faults: [...sorted.slice(0, FAULTS_MAX), { ...more, message }] };
}

function byPlace(left: ConfigFault, right: ConfigFault): number {
  return left.line - right.line || left.column - right.column;
}
