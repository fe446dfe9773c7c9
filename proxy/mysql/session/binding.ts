/** To which global transaction a session belongs, and whether a local transaction of its is open: what its commands and their answers say. */
import { assert } from '../../../src/platform/assert.ts';
import { markOf, bind, isFree, newSession, ready, type SessionState } from '../../sql/session.ts';
import type { Mark } from '../../../src/contract/transaction.ts';
import type { Capabilities } from '../wire/capabilities.ts';
import { decodeOk, STATUS } from '../wire/outcome.ts';
import type { Claim } from './naming/carriers.ts';
import { withErrno, type Refusal } from './refusals.ts';
import { heard, loggedIn, type Effect, type Heard, type TransactionState } from './transaction.ts';

/** The flags of the OK that ends a login. */
export function statusOf(ok: Buffer, capabilities: Capabilities): number {
  const read = decodeOk(ok, capabilities);
  return read.kind === 'ok' ? read.status : STATUS.autocommit;
}

export class Binding {
  transaction: TransactionState;
  #state: SessionState = newSession;
  #status: number;
  /** What the command that is carried out has named for its local transaction. */
  #named: Mark | undefined;
  /** How many local transactions have ended: tells one from the next. */
  #ended = 0;
  /** Whether a local transaction was open was not known when that command came. */
  #isNamedUnsure = false;
  #engagedAt: number | undefined;
  #hasWritten = false;
  #isDoubtful = false;

  /** `status`: of the OK of the login. */
  constructor(status: number) {
    this.#status = status;
    this.transaction = loggedIn(status);
  }

  /** The session belongs to no global transaction, and its commands need not be looked at for one. */
  get isFree(): boolean {
    return !this.#isEngaged && isFree(this.#state);
  }

  get mark(): Mark | undefined {
    return markOf(this.#state);
  }

  /** What the command that is carried out has named for its local transaction, or for the one that it begins. */
  get named(): Mark | undefined {
    return this.#named;
  }

  /** The local transaction that is open is for the mark of the session, and for no other one, until it ends. */
  engage(): void {
    // An error may have ended it already.
    if (this.transaction.block !== 'idle') this.#engagedAt = this.#ended;
  }

  get #isEngaged(): boolean {
    return this.#engagedAt === this.#ended && this.transaction.block !== 'idle';
  }

  /** The command is a text of several statements: what it is carried out for it names for all of them. */
  namesAll(): void {
    this.#named ??= this.mark;
  }

  /** The text goes on, behind the end of a local transaction too. */
  goesOn(): void {
    if (this.#named !== undefined) this.bindAgain(this.#named);
  }

  /** The flags of the server's last OK. */
  get status(): number {
    return this.#status;
  }

  /** Grows with each local transaction that has ended. */
  get ended(): number {
    return this.#ended;
  }

  /** Whether the local transaction has ended is not known. */
  get isDoubtful(): boolean {
    return this.#isDoubtful;
  }

  /** The server has answered a statement that begins none: one that is open now is the one that was. */
  resolve(): void {
    if (this.#isDoubtful && this.transaction.block === 'idle') this.#ended += 1;
    this.#isDoubtful = false;
  }

  /** Statements have changed rows since the local transaction began, as far as their answers say. */
  get hasWritten(): boolean {
    return this.#hasWritten;
  }

  /** What has been written last is the session's own affair: rows of its temporary tables. */
  wroteNothing(): void {
    this.#hasWritten = false;
  }

  /** A command names a global transaction, or none. Undefined, or why it cannot. */
  claim(claim: Claim): Refusal | undefined {
    assert(!this.#isEngaged || this.mark !== undefined, 'a local transaction with changes of a gid has its mark');
    this.#named = undefined;
    this.#isNamedUnsure = this.transaction.block === 'unknown';
    if (claim.kind === 'none') return undefined;
    if (claim.kind === 'refused') return claim.refusal;
    const block = this.transaction.block === 'idle' ? 'idle' : 'open';
    const bound = bind({ ...this.#state, block, changed: this.#isEngaged }, claim.mark, claim.scope);
    if (bound.kind === 'refused') return withErrno(bound.refusal);
    this.#state = { ...bound.state, changed: false };
    this.#named = claim.scope === 'local' ? claim.mark : undefined;
    return undefined;
  }

  /** A local transaction has begun, and is for this: in the place of one that was rolled back, or because it was named with it. */
  bindAgain(mark: Mark): void {
    const bound = bind(this.#state, mark, 'local');
    if (bound.kind === 'bound') this.#state = bound.state;
  }

  /** The server has answered, with an OK or an error. Outside of global transactions that mostly says what the last one said. */
  heard(effect: Effect, what: Heard): void {
    if (what.kind !== 'error') {
      if (what.kind === 'ok' && what.wrote === true) this.#hasWritten = true;
      const isSame = what.kind === 'ok' && what.status === this.#status && what.isTracked !== true;
      this.#status = what.status;
      if (isSame && this.isFree && this.transaction.block !== 'unknown') {
        if (this.transaction.block === 'idle') this.#hasWritten = false;
        return;
      }
    }
    const step = heard(this.transaction, effect, what);
    this.transaction = step.state;
    if (what.kind === 'reset') this.#state = newSession;
    const isEnd = what.kind === 'ok' && (effect === 'ends' || effect === 'chains');
    if (isEnd || step.ended === 'yes') this.#ended += 1;
    else if (step.ended === 'maybe') this.#isDoubtful = true;
    if (isEnd || step.ended === 'yes') this.#end();
    // BEGIN commits what was open, and what it names itself is said of the local transaction that it begins. And what an error had ended
    // before a command is not what the command names.
    const isNext = effect === 'begins' || (effect === 'inside' && this.#isNamedUnsure && step.ended === 'yes');
    if (isNext && what.kind === 'ok' && this.#named !== undefined) this.bindAgain(this.#named);
    if (step.state.block !== 'unknown') this.#isNamedUnsure = false;
    if (step.state.block === 'idle') this.#hasWritten = false;
  }

  #end(): void {
    this.#hasWritten = false;
    this.#isDoubtful = false;
    this.#state = ready(this.#state, 'idle');
  }

  /**
   * An answer has ended. A mark that was named for one statement goes with it where no local transaction is open. Without autocommit it
   * stays up to a COMMIT or ROLLBACK: the flag of a transaction comes with the first statement that reads or writes a table.
   */
  answered(): void {
    const { block, hasAutocommit } = this.transaction;
    if (block === 'idle' && hasAutocommit && !this.isFree) this.#state = ready(this.#state, 'idle');
  }
}
