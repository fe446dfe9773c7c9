/**
 * Puts the environment and files into texts: `${env:NAME}` and `${file:/absolute/path}`, anywhere in a text and more
 * than once. `$${` stands for `${` itself. What is put in stays text: it is never read as YAML or expanded again.
 */
import { isAbsolute } from 'node:path';
import { printable } from './fault.ts';
import type { Strings } from './strings.ts';

export type Expanded =
  | { readonly kind: 'text'; readonly text: string; readonly hasReferences: boolean }
  | { readonly kind: 'failed'; readonly problems: readonly Problem[] };

/** What is wrong with one reference. */
export interface Problem {
  readonly message: string;
  readonly expected?: string;
}

const REFERENCE = /\$\$\{|\$\{([^}]*)(\}?)/g;
/** References in one text. More than a few are a mistake, and each may be as long as a file. */
const REFERENCES_MAX = 20;
const FORMS = '${env:NAME} or ${file:/path}; write $${ for a plain ${';

/**
 * Expands all references in `text`, or says what is wrong with each that cannot be. In a text that is a template itself
 * (`isTemplate`), everything else that begins with `${` or `$${` is left to the template, and what is put in has no placeholders.
 */
export function expand(text: string, strings: Strings, isTemplate: boolean = false): Expanded {
  const problems: Problem[] = [];
  let references = 0;
  const expanded = text.replace(REFERENCE, (whole: string, inside: string | undefined, end: string) => {
    if (isTemplate && !/^(?:env|file):/.test(inside ?? '')) return whole;
    if (inside === undefined) return '${';
    references += 1;
    if (references > REFERENCES_MAX) return whole;
    const found =
      end === '}' ? lookUp(inside, strings) : { message: 'a reference is not closed with "}"', expected: FORMS };
    if (typeof found === 'string') return isTemplate ? found.replaceAll('${', '$${') : found;
    problems.push(found);
    return whole;
  });
  if (references > REFERENCES_MAX) problems.push({ message: `more than ${REFERENCES_MAX} references in one text` });
  if (problems.length > 0) return { kind: 'failed', problems };
  return { kind: 'text', text: expanded, hasReferences: references > 0 };
}

function lookUp(reference: string, strings: Strings): string | Problem {
  const colon = reference.indexOf(':');
  const source = reference.slice(0, colon);
  const name = reference.slice(colon + 1);
  if (source === 'env' && /^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
    return strings.env(name) ?? { message: `the environment variable ${name} is not set` };
  }
  if (source === 'file' && isAbsolute(name)) {
    const file = strings.file(name);
    if (file.kind === 'failed') return { message: `the file ${printable(name, 200)} cannot be used: ${file.reason}` };
    // Editors and `echo` end a file with a line break that nobody means to be part of the secret.
    return file.text.replace(/\r?\n$/, '');
  }
  if (source === 'file')
    return { message: `the path of ${printable(`\${${reference}}`, 80)} is not absolute`, expected: FORMS };
  return { message: `${printable(`\${${reference}}`, 80)} is no reference that can be followed`, expected: FORMS };
}
