/** What is wrong with a configuration file, and where: as data for programs and as text for people. */

/** One fault. Lines and columns count from 1; columns count UTF-16 code units, as editors do. */
export interface ConfigFault {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** The path of the option, such as `inbound.transactions[0].begin.timeout`; empty for the whole file. */
  readonly path: string;
  /** What is wrong. Never contains the value of a reference or of a secret. */
  readonly message: string;
  /** What belongs there. */
  readonly expected?: string;
  /** The known name or value that is nearest to what was written. */
  readonly suggestion?: string;
}

export type Path = readonly (string | number)[];

/** A finding about the option at `path`. */
export interface Finding {
  readonly path: Path;
  readonly message: string;
  readonly expected?: string;
}

/** `inbound.transactions[0].begin`; keys that are no plain names are quoted: `upstreams["a b"]`. */
export function pathText(path: Path): string {
  let text = '';
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`;
    else if (/^[A-Za-z_][A-Za-z0-9_-]*$/.test(step)) text += text === '' ? step : `.${step}`;
    else text += `[${printable(step, 60)}]`;
  }
  return text;
}

/** The text as a JSON string without control characters, cut after `lengthMax` characters. */
export function printable(text: string, lengthMax: number): string {
  const shown = text.length > lengthMax ? `${text.slice(0, lengthMax)}…` : text;
  return JSON.stringify(shown).replace(/[\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}

/**
 * The faults for people, two lines each at most: `file:line:column: path: what is wrong`, then what belongs there. The
 * first line has the form that editors and terminals turn into links.
 */
export function formatFaults(faults: readonly ConfigFault[]): string {
  return faults.map(formatFault).join('\n');
}

function formatFault(fault: ConfigFault): string {
  const where = `${fault.file}:${fault.line}:${fault.column}: `;
  const help = [
    ...(fault.suggestion === undefined ? [] : [`did you mean ${printable(fault.suggestion, 60)}?`]),
    ...(fault.expected === undefined ? [] : [`expected ${fault.expected}`]),
  ];
  const path = fault.path === '' ? '' : `${fault.path}: `;
  return `${where}${path}${fault.message}${help.length === 0 ? '' : `\n    ${help.join(' ')}`}`;
}
