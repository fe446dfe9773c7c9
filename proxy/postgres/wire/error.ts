/** ErrorResponse and NoticeResponse: the same fields, each a letter and a string. Source: "Error and Notice Message Fields". */
import { BodyReader, encoder, type FrameWriter, type ProtocolFault } from './body.ts';
import { BACKEND } from './frames.ts';

/** A field as it came. `letter` is its type byte; letters that are not in the documentation are kept too. */
export interface ReportField {
  readonly letter: number;
  /** In the session's client_encoding. */
  readonly value: Buffer;
}

export interface Report {
  readonly kind: 'error' | 'notice';
  /** In the sender's order. Nothing is certain to be there: errors without an SQLSTATE exist. */
  readonly fields: readonly ReportField[];
}

/** The fields by their meaning, as UTF-8 text. */
export interface ReportTexts {
  /** ERROR, FATAL, PANIC, WARNING, NOTICE, DEBUG, INFO, LOG; translated by the server in letter S, never in letter V. */
  readonly severity?: string;
  /** The SQLSTATE. */
  readonly code?: string;
  readonly message?: string;
  readonly detail?: string;
  readonly hint?: string;
  /** A position in the client's text, counted in characters from 1. */
  readonly position?: string;
  /** A position in `internalQuery`. */
  readonly internalPosition?: string;
  readonly internalQuery?: string;
  /** Where: a call stack. */
  readonly context?: string;
  readonly schema?: string;
  readonly table?: string;
  readonly column?: string;
  readonly dataType?: string;
  readonly constraint?: string;
  readonly file?: string;
  readonly line?: string;
  readonly routine?: string;
}

/** What an error of our own must have. */
export type OwnReport = ReportTexts & { readonly severity: string; readonly code: string; readonly message: string };

const LETTER = {
  severity: 'V',
  code: 'C',
  message: 'M',
  detail: 'D',
  hint: 'H',
  position: 'P',
  internalPosition: 'p',
  internalQuery: 'q',
  context: 'W',
  schema: 's',
  table: 't',
  column: 'c',
  dataType: 'd',
  constraint: 'n',
  file: 'F',
  line: 'L',
  routine: 'R',
} as const satisfies Record<keyof ReportTexts, string>;
/** The severity in the server's language. Before PostgreSQL 9.6 the only one. */
const TRANSLATED_SEVERITY = 'S';

export function decodeReport(kind: Report['kind'], body: Buffer): Report | ProtocolFault {
  const from = new BodyReader(kind === 'error' ? 'ErrorResponse' : 'NoticeResponse', body);
  const fields: ReportField[] = [];
  while (from.left > 0) {
    const letter = from.byte();
    if (letter === 0) return from.end({ kind, fields });
    fields.push({ letter, value: from.cstring() });
  }
  from.fail('the fields are not ended by NUL');
  return from.end({ kind, fields });
}

export function writeReport(out: FrameWriter, report: Report): void {
  out.begin(report.kind === 'error' ? BACKEND.error : BACKEND.notice);
  for (const field of report.fields) out.byte(field.letter).cstring(field.value);
  out.byte(0).end();
}

export const encodeReport: (report: Report) => Buffer = encoder(writeReport);

/** The texts of a report. Of a letter that comes twice the first counts. */
export function readReport(report: Report): ReportTexts {
  const value = (letter: string): string | undefined =>
    report.fields.find((field) => field.letter === letter.charCodeAt(0))?.value.toString();
  const texts: Record<string, string> = {};
  for (const [name, letter] of Object.entries(LETTER)) {
    const text = value(letter) ?? (name === 'severity' ? value(TRANSLATED_SEVERITY) : undefined);
    if (text !== undefined) texts[name] = text;
  }
  return texts;
}

/** An error of our own, as a frame. A NUL in a text, which no string of the protocol can carry, becomes U+FFFD. */
export function encodeError(texts: OwnReport): Buffer {
  return encodeReport({ kind: 'error', fields: fieldsOf(texts) });
}

/** A notice of our own, as a frame. */
export function encodeNotice(texts: OwnReport): Buffer {
  return encodeReport({ kind: 'notice', fields: fieldsOf(texts) });
}

/** S first, as the server does: drivers of before 9.6 know no V. */
function fieldsOf(texts: OwnReport): readonly ReportField[] {
  const fields = [field(TRANSLATED_SEVERITY, texts.severity)];
  for (const [name, letter] of Object.entries(LETTER)) {
    const text = texts[name as keyof ReportTexts];
    if (text !== undefined) fields.push(field(letter, text));
  }
  return fields;
}

function field(letter: string, text: string): ReportField {
  return { letter: letter.charCodeAt(0), value: Buffer.from(text.replaceAll('\0', '\u{fffd}')) };
}
