/** What the server answers to a command whose answer nobody but the sidecar reads first. */
import type { PacketRole } from '../wire/answers.ts';
import type { Capabilities } from '../wire/capabilities.ts';
import { decodeError, decodeOk, type Ok } from '../wire/outcome.ts';
import { decodeColumnCount, decodeTextRow } from '../wire/rows.ts';

/** One result of an answer. */
export type Result =
  | { readonly kind: 'ok'; readonly ok: Ok }
  /** Rows of a COM_QUERY, as texts of one character for each byte. */
  | { readonly kind: 'rows'; readonly rows: readonly (readonly (string | null)[])[] }
  | { readonly kind: 'error'; readonly errno: number; readonly sqlState: string; readonly message: string };

/** A whole answer: its packets as they came, for whom they are passed on to, and what they say. */
export interface Reply {
  readonly packets: readonly Buffer[];
  /** One, but for texts of several statements and procedures. The last may be an error. */
  readonly results: readonly Result[];
}

/** Gathers the packets of one answer. `readsRows`: rows are those of a COM_QUERY, and wanted. */
export class ReplyCollector {
  readonly #capabilities: Capabilities;
  readonly #readsRows: boolean;
  readonly #packets: Buffer[] = [];
  readonly #results: Result[] = [];
  /** Undefined between results, and in one that is an OK. */
  #rows: (readonly (string | null)[])[] | undefined;
  #columns = 0;

  constructor(capabilities: Capabilities, readsRows: boolean) {
    this.#capabilities = capabilities;
    this.#readsRows = readsRows;
  }

  /** Takes the next packet, which is the collector's to keep. */
  take(role: PacketRole, payload: Buffer): void {
    this.#packets.push(payload);
    if (role === 'columns') {
      const counted = decodeColumnCount(payload, this.#capabilities);
      this.#columns = counted.kind === 'fault' ? 0 : counted.columnCount;
      this.#rows = [];
    } else if (role === 'row' && this.#readsRows && this.#rows !== undefined) {
      const row = decodeTextRow(payload, this.#columns);
      if (row.kind === 'row') this.#rows.push(row.values.map((value) => value?.toString('latin1') ?? null));
    } else if (role === 'error') this.#results.push(errorOf(payload, this.#capabilities));
    else if (role === 'end' || role === 'result-end') this.#endResult(payload);
  }

  /** The answer has ended. */
  get reply(): Reply {
    return { packets: this.#packets, results: this.#results };
  }

  #endResult(payload: Buffer): void {
    if (this.#rows !== undefined) {
      this.#results.push({ kind: 'rows', rows: this.#rows });
      this.#rows = undefined;
      return;
    }
    const ok = decodeOk(payload, this.#capabilities);
    if (ok.kind === 'ok') this.#results.push({ kind: 'ok', ok });
  }
}

function errorOf(payload: Buffer, capabilities: Capabilities): Result {
  const error = decodeError(payload, capabilities);
  if (error.kind !== 'error') return { kind: 'error', errno: 0, sqlState: 'HY000', message: '' };
  const sqlState = error.sqlState?.toString('latin1') ?? 'HY000';
  return { kind: 'error', errno: error.errno, sqlState, message: error.message.toString('utf8') };
}

/** The error that the answer ended with, if it did. */
export function errorIn({ results }: Reply): Extract<Result, { kind: 'error' }> | undefined {
  const last = results.at(-1);
  return last?.kind === 'error' ? last : undefined;
}

/** The rows of the first result; none where it has none. */
export function rowsIn({ results }: Reply): readonly (readonly (string | null)[])[] {
  const [first] = results;
  return first?.kind === 'rows' ? first.rows : [];
}

/** The rows of the first result where they are words in ASCII: with character_set_results = utf16 there are zeros between their letters. */
export function wordsIn(reply: Reply): readonly (readonly (string | null)[])[] {
  return rowsIn(reply).map((row) => row.map((value) => value?.replaceAll('\0', '') ?? null));
}

/** The last OK, where that is what the answer ended with. */
export function okIn({ results }: Reply): Ok | undefined {
  const last = results.at(-1);
  return last?.kind === 'ok' ? last.ok : undefined;
}
