/**
 * Names mean what the search path says, and before PostgreSQL 18 a server does not report it: a client that sets it outside any global
 * transaction is heard in its texts. In the session of a client that has never named a gid nothing is looked at.
 */
import type { Planner, SessionSettings } from '../../sql/planner.ts';

/** What sets the search path, or the role that `"$user"` in it stands for; a computed name may be either. */
const MOVES =
  /search_path|\b(?:re)?set\s+(?:local\s+|session\s+)?(?:role|session\s+authorization|all)\b|set_config\W+(?:\$|role|session_auth)/i;

export class PathWatch {
  readonly #settings: SessionSettings;
  readonly #planner: Pick<Planner, 'knowsNames' | 'pathMoved'>;
  /** A statement that was prepared may move the path whenever it runs, which is not seen. */
  #movesUnseen = false;

  constructor(settings: SessionSettings, planner: Pick<Planner, 'knowsNames' | 'pathMoved'>) {
    this.#settings = settings;
    this.#planner = planner;
  }

  /** A text goes through. `isPrepared`: it may run at any time from now on, and not now. */
  passed(text: Buffer, isPrepared: boolean): void {
    if (this.#settings.has('search_path') || !(isPrepared || this.#planner.knowsNames)) return;
    if (!MOVES.test(text.toString('latin1'))) return;
    this.#movesUnseen ||= isPrepared;
    this.#planner.pathMoved();
  }

  /** A message goes to a global transaction: its names are looked up again if they may mean something else by now. */
  named(): void {
    if (this.#movesUnseen) this.#planner.pathMoved();
  }
}
