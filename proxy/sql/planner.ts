/** Turns the text of a statement into plans. One planner per database session: names mean what that session's search_path says. */
import type { StatementPlan } from './statement.ts';
import type { Work } from './work.ts';

export type Planned =
  /** One plan per statement in the text, in order, with the byte range of each in the UTF-8 text. Empty for a text without a statement. */
  | { readonly kind: 'plans'; readonly plans: readonly PlannedStatement[] }
  /** The catalogue must be asked first: run `sql` with the text parameters in this session, hand the rows (text columns) to `learn`, then plan again. */
  | { readonly kind: 'facts-needed'; readonly sql: string; readonly parameters: readonly (string | null)[] };

export interface PlannedStatement {
  readonly plan: StatementPlan;
  /** Byte offset and length in the UTF-8 encoding of the whole text. */
  readonly start: number;
  readonly length: number;
}

/** Settings of the session that the server reports, by their names: server_version, client_encoding, DateStyle, TimeZone, … */
export type SessionSettings = ReadonlyMap<string, string>;

/** Pure: no I/O; time comes as an argument (milliseconds on any monotonic clock) so that facts can grow old. */
export interface Planner {
  plan(text: string, settings: SessionSettings, nowMs: number, work: Work['kind']): Planned;
  learn(rows: readonly (readonly (string | null)[])[], nowMs: number): void;
  /** Drops every fact: after SET, RESET, DISCARD, SET ROLE, DDL, or an error that says that a relation is not what was planned for. */
  forget(): void;
  /** True when it has facts of names, which may come to mean something else. */
  readonly knowsNames: boolean;
  /** Something that was not planned may have set the search path; the end of a local transaction may set it back. */
  pathMoved(): void;
}
