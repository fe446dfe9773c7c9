/**
 * Texts with placeholders, `${path.room}`, that are filled from a request and its answer. Parsed once, at the start; what is filled in
 * never breaks out of the place where it stands: it is percent-encoded in URLs, and escaped in JSON. `$${` stands for a plain `${`.
 */

/** Where a value comes from. */
export type Source =
  | { readonly kind: 'gid' | 'branch' | 'status' }
  | { readonly kind: 'path'; readonly name: string }
  | { readonly kind: 'header'; readonly of: 'request' | 'response'; readonly name: string }
  | { readonly kind: 'json'; readonly of: 'request' | 'response'; readonly path: readonly string[] };

/** `url` may have placeholders after its authority; `json` inside texts and in place of values; `text` has none. */
export type TemplateKind = 'url' | 'header' | 'json' | 'text';

/** A place in a text, and what it stands for. */
export interface Placeholder {
  readonly source: Source;
  /** As it is written, for people. */
  readonly text: string;
  /** In JSON: inside a text, not in the place of a value. */
  readonly isInText: boolean;
}

export interface Template {
  readonly kind: TemplateKind;
  readonly pieces: readonly (string | Placeholder)[];
}

/** A number as it was written: 64-bit ids are longer than what a JavaScript number holds. */
export interface RawNumber {
  readonly rawJSON: string;
}

/** What a source stands for, as JSON; undefined when there is nothing. Numbers of messages are `RawNumber`. */
export type ValueOf = (source: Source) => unknown;

export interface Filled {
  readonly text: string;
  /** The placeholders for which there was no value that can stand there; nothing (in JSON null) stands in their place. */
  readonly missing: readonly Placeholder[];
}

const PLACEHOLDER = /\$\$\{|\$\{([^}]*)(\}?)/g;
/** A character of private use: stands for what is filled into a JSON text, to see where that would be. */
const MARKER = '\ue000';

/** The template, or what is wrong with `text`. `pathNames`: the parameters of the route's path. */
export function parseTemplate(
  text: string,
  kind: 'url' | 'header' | 'body',
  pathNames: readonly string[],
): Template | { readonly fault: string } {
  const pieces: (string | Placeholder)[] = [];
  const lexer = { isInText: false, isEscaped: false };
  let end = 0;
  const literal = (part: string): void => {
    pieces.push(part);
    for (const character of part) step(lexer, character);
  };
  for (const match of text.matchAll(PLACEHOLDER)) {
    const [whole, inside, closing] = match;
    literal(text.slice(end, match.index));
    end = match.index + whole.length;
    if (inside === undefined) {
      literal('${');
      continue;
    }
    const source = closing === '}' ? sourceOf(inside, pathNames) : { fault: 'a placeholder is not closed with "}"' };
    if ('fault' in source) return source;
    pieces.push({ source, text: whole, isInText: lexer.isInText });
  }
  literal(text.slice(end));
  const hasPlaceholders = pieces.some((piece) => typeof piece !== 'string');
  const template: Template = { kind: kind !== 'body' ? kind : hasPlaceholders ? 'json' : 'text', pieces };
  const fault =
    template.kind === 'json' ? jsonFault(template) : template.kind === 'url' ? urlFault(template) : undefined;
  return fault === undefined ? template : { fault };
}

/** Where the values of a template come from. */
export function sourcesOf({ pieces }: Template): readonly Source[] {
  return pieces.flatMap((piece) => (typeof piece === 'string' ? [] : [piece.source]));
}

/** Puts values in. */
export function fill({ kind, pieces }: Template, valueOf: ValueOf): Filled {
  const missing: Placeholder[] = [];
  const filled = pieces.map((piece) => {
    if (typeof piece === 'string') return piece;
    const value = valueOf(piece.source);
    const text = kind === 'json' && !piece.isInText ? jsonValue(value) : plain(kind, value);
    if (text !== undefined) return text;
    missing.push(piece);
    return kind === 'json' && !piece.isInText ? 'null' : '';
  });
  const text = filled.join('');
  // A value of one or two dots would take segments of the path away, and no escape of it would be read as anything else.
  if (kind === 'url' && /\/\.{1,2}(?:[/?]|$)/.test(text.split('?', 1)[0] ?? '')) {
    return { text: '', missing: pieces.filter((piece) => typeof piece !== 'string') };
  }
  return { text, missing };
}

/** The value in JSON `text` with numbers as they are written; undefined when it is no JSON. */
export function parseRawJson(text: string): unknown {
  try {
    return JSON.parse(text, (_key, value: unknown, context?: { readonly source?: string }) =>
      typeof value === 'number' ? rawNumber(context?.source ?? String(value)) : value,
    );
  } catch {
    return undefined; // also for one that is nested too deeply
  }
}

/** V8's `JSON.rawJSON` (https://github.com/tc39/proposal-json-parse-with-source), which TypeScript does not know yet. */
function rawNumber(text: string): RawNumber {
  return (JSON as unknown as { rawJSON(text: string): RawNumber }).rawJSON(text);
}

function isRawNumber(value: unknown): value is RawNumber {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === null && 'rawJSON' in value;
}

function jsonValue(value: unknown): string | undefined {
  try {
    return value === undefined ? undefined : JSON.stringify(value);
  } catch {
    return undefined; // nested too deeply to be written
  }
}

function plain(kind: TemplateKind, value: unknown): string | undefined {
  const text = isRawNumber(value)
    ? value.rawJSON
    : typeof value === 'string' || typeof value === 'boolean' || typeof value === 'number'
      ? String(value).toWellFormed()
      : undefined;
  if (text === undefined) return undefined;
  switch (kind) {
    case 'url':
      // An empty segment would make another path of it.
      return text === '' ? undefined : encodeURIComponent(text);
    case 'header':
      return text.replace(/[^\x20-\x7e]/gu, (character) => encodeURIComponent(character));
    case 'json':
      return JSON.stringify(text).slice(1, -1);
    case 'text':
      return text;
  }
}

function sourceOf(inside: string, pathNames: readonly string[]): Source | { readonly fault: string } {
  if (inside === 'gid' || inside === 'branch') return { kind: inside };
  if (inside === 'response.status') return { kind: 'status' };
  const [, name] = /^path\.([A-Za-z0-9_]+)$/.exec(inside) ?? [];
  if (name !== undefined) {
    if (pathNames.includes(name)) return { kind: 'path', name };
    const known = pathNames.length === 0 ? 'it has none' : `it has ${pathNames.join(', ')}`;
    return { fault: `a parameter of the path in match, in place of \${${inside}}: ${known}` };
  }
  const [, of, header, json] =
    /^(request|response)\.(?:header\.([A-Za-z0-9!#$%&'*+.^_`|~-]+)|json\.([^\s.]+(?:\.[^\s.]+)*))$/.exec(inside) ?? [];
  if (of === 'request' || of === 'response') {
    if (header !== undefined) return { kind: 'header', of, name: header.toLowerCase() };
    if (json !== undefined) return { kind: 'json', of, path: json.split('.') };
  }
  return {
    fault:
      `in place of \${${inside.slice(0, 60)}} one of \${gid}, \${branch}, \${path.NAME}, \${request.header.NAME}, \${request.json.FIELD}, ` +
      '${response.status}, ${response.header.NAME}, ${response.json.FIELD}',
  };
}

/** The scheme and the authority decide who is called: never what a caller or an answer says. */
function urlFault({ pieces }: Template): string | undefined {
  const sample = pieces.map((piece) => (typeof piece === 'string' ? piece : 'x')).join('');
  const url = URL.parse(sample);
  const [first] = pieces;
  const isFixed = typeof first === 'string' && (pieces.length === 1 || /^[a-z]+:\/\/[^/?#]+[/?]/.test(first));
  if (url === null || !isFixed) return 'a URL whose scheme, host and port have no placeholder';
  return /\/\.{1,2}(?:[/?]|$)|#/.test(sample.slice(sample.indexOf('://') + 3))
    ? 'a URL without dot segments and #'
    : undefined;
}

function jsonFault({ pieces }: Template): string | undefined {
  const sample = pieces.map((piece) => (typeof piece === 'string' ? piece : piece.isInText ? MARKER : 'null')).join('');
  let isKey = false;
  try {
    JSON.parse(sample, (key, value: unknown) => {
      isKey ||= key.includes(MARKER);
      return value;
    });
  } catch {
    return 'a JSON text, as bodies with placeholders have to be';
  }
  return isKey ? 'a JSON text without placeholders in names of fields' : undefined;
}

/** Follows a JSON text far enough to know whether a place is inside a string (RFC 8259 §7). */
function step(lexer: { isInText: boolean; isEscaped: boolean }, character: string): void {
  if (lexer.isEscaped) lexer.isEscaped = false;
  else if (lexer.isInText && character === '\\') lexer.isEscaped = true;
  else if (character === '"') lexer.isInText = !lexer.isInText;
}
