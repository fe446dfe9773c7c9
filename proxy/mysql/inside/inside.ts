/** What a session does inside a global transaction: each command is looked at, planned, and carried out as its plan says. */
import { CodedError } from '../../../src/contract/errors.ts';
import { assert } from '../../../src/platform/assert.ts';
import { workKey, type Work } from '../../sql/work.ts';
import { askedOf, type Asked } from '../text/effects.ts';
import type { Said } from '../session/claimants.ts';
import { withErrno, type Refusal } from '../session/refusals.ts';
import type { SqlEvent } from '../../sql/event.ts';
import { parse, type ParsedStatement } from '../parse.ts';
import { plan as planOf, type StatementPlan } from '../plan.ts';
import { CAPABILITY, has } from '../wire/capabilities.ts';
import { runAsItCame } from './as-it-came.ts';
import { serveCapture } from './capture/serve.ts';
import { isAlone, isOpen, workOfSeat, type Context, type Failure } from './context.ts';
import { serveControl } from './control.ts';
import { isNamed, rollBack } from './ending.ts';
import { serveLockingRead } from './capture/locking-read.ts';
import { warningsAnswer, type LastStatement } from './last-statement.ts';
import { Local } from './local.ts';
import type { InsideParts } from './parts.ts';
import { answer, passOn, tell, type Piece } from './piece.ts';
import { goneBefore, notKnown, severalStatements, unreadable } from './refusals.ts';
import { isChange, pieceOf, writtenOut } from './written-out.ts';
import type { Seat } from './seat.ts';
import type { Xid } from '../xa/names.ts';
import { xaEnd, xaFinish } from '../xa/statements.ts';
import { readSettings, settingsSql, type Settings } from './settings.ts';

/** How often facts of tables are asked for one statement. */
const LEARNINGS_MAX = 4;
export class Inside {
  readonly #seat: Seat;
  readonly #parts: InsideParts;
  readonly #count: (what: SqlEvent) => void;
  #settings: Settings | undefined;
  #local = new Local();
  /** How many local transactions had ended when this one began. */
  #localAt: number;
  #last: LastStatement | undefined;
  /** What was rolled back as a whole while this session belonged to it. */
  #abandoned: { readonly key: string; readonly work: Work } | undefined;
  /** The local transaction is gone, and its mark with it, and the client has not ended it yet. */
  #isDoomed = false;
  #takesSeveral: boolean;

  constructor(seat: Seat, parts: InsideParts, count: (what: SqlEvent) => void) {
    this.#seat = seat;
    this.#parts = parts;
    this.#count = count;
    this.#localAt = seat.binding.ended;
    this.#takesSeveral = has(seat.capabilities, CAPABILITY.multiStatements);
  }

  /** The session is like new. */
  reset(): void {
    this.forget();
    this.#isDoomed = false;
  }

  /** COM_SET_OPTION: texts of several statements may be taken, whatever the client said when it connected. */
  mayTakeSeveral(): void {
    this.#takesSeveral = true;
  }

  /** Something was carried out that was not looked at: the session may have other settings. */
  forget(): void {
    this.#settings = undefined;
    this.#last = undefined;
  }

  /** For what the local transaction is carried out that is open; undefined when there is none, or it has changed nothing. */
  get openWork(): Work | undefined {
    const { changed, entered } = this.#current;
    if (this.#seat.binding.transaction.block === 'idle' || !(changed || entered)) return undefined;
    return workOfSeat(this.#seat, this.#parts);
  }

  /** A command runs that names no gid. Undefined, or why it may not. */
  admit({ text }: Said): Refusal | undefined {
    if (this.#isDoomed && !ENDING.test(text.toString('latin1'))) return goneBefore;
    this.#isDoomed = false;
    this.forget();
    return undefined;
  }

  /** Nothing may be carried out before the client has ended the local transaction that it believes to be in, or has named a gid anew. */
  get isDoomed(): boolean {
    return this.#isDoomed;
  }

  /** Serves a command that runs something, of a session that has a mark, to the end of its answer. */
  async serve(said: Said): Promise<void> {
    const work = workOfSeat(this.#seat, this.#parts);
    assert(work !== undefined, 'what is served inside a global transaction has a mark');
    this.#isDoomed = false;
    const c = this.#context(work, await this.#learnSettings());
    const wasOpen = isOpen(c);
    const { ended } = this.#seat.binding;
    const { local } = c;
    const verb = await this.#serveAll(c, said);
    await this.#settle();
    await this.#endNamed(verb === 'control' ? undefined : local.xid, ended);
    await this.rollBackAbandoned();
    // The server has ended it, or we have: what the client says next without a gid is meant for it all the same.
    const isEnded = wasOpen && this.#seat.binding.ended !== ended && !isOpen(c);
    if (isEnded && verb !== 'control') this.#isDoomed = true;
  }

  /** Serves each statement of the command. Answers whether the last one served was transaction control. */
  async #serveAll(c: Context, said: Said): Promise<'control' | 'other'> {
    const text = said.text.toString('latin1');
    const parsed = parse(text, c.settings.lexical);
    if (parsed.kind === 'unreadable') {
      this.#refuse(c, unreadable(parsed.message));
      return 'other';
    }
    const { statements } = parsed;
    const [first] = statements;
    const isOne = statements.length <= 1;
    if (first === undefined) {
      // The server says itself that there is nothing.
      await this.#seat.relay('inside');
      return 'other';
    }
    if (!isOne && !this.#takesSeveral) {
      this.#refuse(c, severalStatements);
      return 'other';
    }
    let verb: 'control' | 'other' = 'other';
    for (const [index, parsedOne] of statements.entries()) {
      const hasMore = index < statements.length - 1;
      const piece = pieceOf(parsedOne, { isWhole: isOne, hasMore, prepared: said.prepared });
      const isDone = await this.#serveOne(c, piece, (kind) => {
        verb = kind === 'control' ? 'control' : 'other';
      });
      if (!isDone) break;
      if (hasMore) await this.#settle();
    }
    return verb;
  }

  /** The global transaction, or the operation, was rolled back as a whole: nothing more of its local transaction is carried out. */
  abandon(work: Work): void {
    const open = this.openWork;
    if (open !== undefined && workKey(open) === workKey(work)) this.#abandoned = { key: workKey(work), work };
  }

  /** Rolls back what was abandoned, between two commands. */
  async rollBackAbandoned(): Promise<void> {
    const open = this.openWork;
    if (this.#abandoned === undefined || open === undefined || workKey(open) !== this.#abandoned.key) return;
    await rollBack(this.#context(open, await this.#learnSettings()));
    this.#isDoomed = true;
  }

  get #current(): Local {
    if (this.#localAt !== this.#seat.binding.ended) {
      this.#localAt = this.#seat.binding.ended;
      this.#local = new Local();
    }
    return this.#local;
  }

  #context(work: Work, settings: Settings): Context {
    const local = (): Local => this.#current;
    const setLast = (last: LastStatement | undefined): void => {
      this.#last = last;
    };
    const last = (): LastStatement | undefined => this.#last;
    return {
      seat: this.#seat,
      parts: this.#parts,
      contention: this.#parts.contention,
      settings,
      work,
      get local() {
        return local();
      },
      get last() {
        return last();
      },
      set last(value) {
        setLast(value);
      },
      isAbandoned: () => this.#abandoned?.key === workKey(work),
    };
  }

  async #learnSettings(): Promise<Settings> {
    if (this.#settings !== undefined) return this.#settings;
    const [reply] = await this.#seat.ask([{ sql: settingsSql(this.#seat.isMariadb) }]);
    if (reply === undefined) throw new Error('a statement was not answered');
    this.#settings = readSettings(reply);
    return this.#settings;
  }

  /** An error may have ended the local transaction: the next OK of the server tells. */
  async #settle(): Promise<void> {
    const { binding } = this.#seat;
    if (!binding.isDoubtful) return;
    await this.#seat.ask([{ sql: 'DO 0' }]);
    binding.resolve();
  }

  /**
   * An error has ended a local transaction that has a name: the server wants to hear so, and takes nothing before. Where several
   * statements have been served, what follows the error was not.
   */
  async #endNamed(xid: Xid | undefined, ended: number): Promise<void> {
    const { binding } = this.#seat;
    if (xid === undefined || binding.ended === ended || binding.transaction.block !== 'idle') return;
    await this.#seat.ask([xaEnd(xid), xaFinish('ROLLBACK', xid)].map((sql) => ({ sql, effect: 'ends' })));
  }

  async #serveOne(c: Context, said: Piece, onPlan: (kind: StatementPlan['kind']) => void): Promise<boolean> {
    let piece = said;
    for (let tries = 1; ; tries += 1) {
      const written = isChange(piece) ? writtenOut(c, piece) : piece;
      if ('kind' in written) return this.#refuse(c, written.refusal);
      piece = written;
      let plan = await this.#plan(c, piece.parsed);
      if (plan.kind === 'locking-read') {
        const text = writtenOut(c, piece);
        if ('kind' in text) return this.#refuse(c, text.refusal);
        piece = text;
        plan = await this.#plan(c, piece.parsed);
      }
      onPlan(plan.kind);
      const isDone = await this.#carryOut(c, plan, piece, tries > 1);
      if (isDone !== 'stale') return isDone;
      this.#parts.facts.moved();
    }
  }

  async #plan(c: Context, parsed: ParsedStatement): Promise<StatementPlan> {
    const { facts } = this.#parts;
    const context = {
      database: c.settings.database,
      facts: (database: string, table: string) => facts.known(database, table),
      parameters: [],
    };
    for (let asked = 0; ; asked += 1) {
      const planned = planOf(parsed, context);
      if (planned.kind !== 'facts-needed') return planned;
      if (asked === LEARNINGS_MAX)
        return {
          kind: 'refuse',
          refusal: factsUnknown('they are forgotten as fast as they are read'),
          escalates: false,
        };
      try {
        await facts.learn(planned.tables);
      } catch (error) {
        const reason = error instanceof CodedError ? error.message : String(error);
        return { kind: 'refuse', refusal: factsUnknown(reason), escalates: false };
      }
    }
  }

  async #carryOut(c: Context, plan: StatementPlan, piece: Piece, isLastTry: boolean): Promise<boolean | 'stale'> {
    const isOperation = c.work.kind === 'operation';
    switch (plan.kind) {
      case 'control':
        return serveControl(c, plan, piece);
      case 'pass':
        c.local.begunAs = undefined;
        this.#count('passed');
        return this.#pass(c, piece);
      case 'locking-read':
        c.local.begunAs = undefined;
        this.#count('passed');
        return isOperation ? this.#pass(c, piece) : serveLockingRead(c, plan, piece);
      case 'capture':
        if (isOperation || this.#parts.mode === 'xa') return this.#runAsItCame(c, piece);
        this.#count('captured');
        return serveCapture(c, plan, piece, isLastTry);
      case 'refuse':
        if (!plan.escalates || !(isOperation || isNamed(c))) return this.#refuse(c, withErrno(plan.refusal));
        // What has begun without a name cannot be prepared: then it is said why it has no images.
        if (!isOperation && !isAlone(c) && isOpen(c) && c.local.xid === undefined) {
          return this.#refuse(c, withErrno(plan.refusal));
        }
        return this.#runAsItCame(c, piece);
    }
  }

  #runAsItCame(c: Context, piece: Piece): Promise<boolean> {
    const isOperation = c.work.kind === 'operation';
    this.#count(isOperation ? 'entered' : 'escalated');
    return runAsItCame(c, piece, !isOperation);
  }

  async #pass(c: Context, piece: Piece): Promise<boolean> {
    const { source, span } = piece.parsed;
    const asked: Asked = this.#last === undefined ? AS_IS : askedOf(source, span, this.#last);
    if (asked.kind === 'refuse') return this.#refuse(c, notKnown(asked.message));
    if (asked.kind !== 'as-is' && piece.isPrepared) return this.#refuse(c, notKnown('by a prepared statement'));
    if (asked.kind === 'warnings' && this.#last !== undefined) {
      answer(c, piece, warningsAnswer(this.#last, asked.rows));
      this.#last = { ...this.#last, affectedRows: -1n };
      return true;
    }
    this.#last = undefined;
    const text = asked.kind === 'text' ? { ...piece, isWhole: false, sql: asked.text } : piece;
    const heard = await passOn(c, text, 'inside');
    // SET, USE and the like may have changed what texts mean.
    if (!QUERIES.test(piece.sql)) this.#settings = undefined;
    return heard?.kind === 'ok';
  }

  #refuse(c: Context, refusal: Refusal): false {
    this.#count('refused');
    const failure: Failure = { kind: 'refused', refusal };
    return tell(c, failure);
  }
}

/** What a client says that knows that its local transaction is over, or ends it. */
const ENDING = /^(?:\s|\/\*[^!]*?\*\/)*(?:begin|start\s+transaction|commit|rollback(?!(?:\s+work)?\s+to))\b/i;

const AS_IS: Asked = { kind: 'as-is' };

/** Texts that leave the settings of the session as they are. */
const QUERIES = /^\(*\s*(?:select|with|table|values|show|explain|desc|describe)\b/i;

function factsUnknown(reason: string): { code: string; message: string; hint: string } {
  return {
    code: '58000',
    message: `the tables of this statement cannot be looked up: ${reason}`,
    hint: 'Check credentials of this database in the sidecar configuration. Nothing was changed; trying again is safe.',
  };
}
