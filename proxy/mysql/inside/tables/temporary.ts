/** Which of the tables that a statement names are temporary ones of the session: asked of the server once, over the client's connection. */
import { isTemporary, whichTable } from '../../undo/temporary.ts';
import { rowsIn, type Reply } from '../reply.ts';
import type { Own, Seat } from '../seat.ts';

/** A table as a statement names it, in the database that is meant. */
export interface NamedTable {
  readonly database: string;
  readonly table: string;
}

/** More are forgotten all at once, and asked about anew. */
const TABLES_MAX = 1_000;

/**
 * Inside a global transaction no temporary table is made but by what runs as it came, so that what was answered holds until something
 * was carried out that was not looked at.
 */
export class TemporaryTables {
  readonly #isTemporary = new Map<string, boolean>();
  #asked: readonly NamedTable[] = [];

  /** Anything may have been carried out since. */
  forget(): void {
    if (this.#isTemporary.size > 0) this.#isTemporary.clear();
  }

  /** True when it is known to be a temporary table of the session. */
  has(database: string, table: string): boolean {
    return this.#isTemporary.get(keyOf({ database, table })) === true;
  }

  /** The next statement names these. */
  named(tables: readonly NamedTable[]): void {
    this.#asked = tables.filter((table) => !this.#isTemporary.has(keyOf(table)));
  }

  /** Asks about those of which it is not known yet; to be sent along with other statements, none of which changes rows. */
  get questions(): readonly Own[] {
    return this.#asked.map((table) => ({ sql: whichTable(table).sql }));
  }

  /** Takes the answers to the questions. True when one of the tables is a temporary one, so that the statement has to be planned anew. */
  answered(replies: readonly Reply[]): boolean {
    const asked = this.#asked;
    this.#asked = [];
    if (this.#isTemporary.size + asked.length > TABLES_MAX) this.#isTemporary.clear();
    let found = false;
    for (const [index, table] of asked.entries()) {
      const reply = replies[index];
      // An error is that of a table that does not exist, or of which nothing may be seen: its own temporary tables a session may always see.
      const is = reply !== undefined && isTemporary(rowsIn(reply));
      this.#isTemporary.set(keyOf(table), is);
      found ||= is;
    }
    return found;
  }

  /** Asks by a round trip of its own. */
  async ask(seat: Pick<Seat, 'ask'>): Promise<boolean> {
    const { questions } = this;
    return questions.length > 0 && this.answered(await seat.ask(questions));
  }
}

/** No name has this character. */
function keyOf({ database, table }: NamedTable): string {
  return `${database}\0${table}`;
}
