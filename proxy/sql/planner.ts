/** Turns the text of a statement into plans. One planner per database session: names mean what that session's search_path says. */
import type { StatementPlan } from './statement.ts';
import type { Work } from './work.ts';

export type Planned =
  /** One plan per statement in the text, in order, with the byte range of each in the UTF-8 text. Empty for a text without a statement. */
  | { readonly kind: 'plans'; readonly plans: readonly PlannedStatement[] }
  /**
   * The catalogue must be asked first: run `sql` with the text parameters in this session, hand the rows (text columns) to `learn`, then
   * plan again. `names`: what the names mean, which may be enough. `facts`: all about them, perhaps for other sessions as well, so
   * that the statement must be prepared anew: one of that name may be the client's by now.
   */
  | {
      readonly kind: 'facts-needed';
      readonly about: 'names' | 'facts';
      readonly sql: string;
      readonly parameters: readonly (string | null)[];
    };

/** For what: a branch, an operation, or, where writers outside any global transaction respect row locks, for one of those. */
export type PlannedFor = Work['kind'] | 'outside';

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
  plan(text: string, settings: SessionSettings, nowMs: number, work: PlannedFor): Planned;
  learn(rows: readonly (readonly (string | null)[])[], nowMs: number): void;
  /** Drops every fact that this session has: after SET, RESET, DISCARD, SET ROLE. */
  forget(): void;
  /** Drops every fact that any session has: after DDL, or an error that says that a relation is not what was planned for. */
  catalogueMoved(): void;
  /** True when it has facts of names, which may come to mean something else. */
  readonly knowsNames: boolean;
  /** Something that was not planned may have set the search path; the end of a local transaction may set it back. */
  pathMoved(): void;
}
