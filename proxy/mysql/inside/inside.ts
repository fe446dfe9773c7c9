/** What a session does inside a global transaction: each command is looked at, planned, and carried out as its plan says. */
import { assert } from '../../../src/platform/assert.ts';
import { workKey, type Work } from '../../sql/work.ts';
import type { Said } from '../session/naming/claimants.ts';
import { withErrno, type Refusal } from '../session/refusals.ts';
import type { SqlEvent } from '../../sql/event.ts';
import { tablesIn, type StatementPlan } from '../plan.ts';
import { canRunAsItCame, runAsItCame } from './as-it-came.ts';
import { runAsking } from './capture/ask.ts';
import { serveCapture } from './capture/serve.ts';
import type { Capture } from '../undo/capture.ts';
import type { Refused } from '../undo/refusal.ts';
import { isOpen, workOfSeat, type Context } from './context.ts';
import { serveControl } from './control.ts';
import { beginNamed, rollBack } from './ending.ts';
import { serveLockingRead } from './capture/locking-read.ts';
import { questionIn, warningsAnswer, type LastStatement, type SessionMemory } from './last-statement.ts';
import { Local } from './local.ts';
import type { InsideParts } from './parts.ts';
import { answer, passOn, QUERIES, READS_TABLES, tell, type Piece } from './piece.ts';
import { parsedOf } from '../session/prepared-texts.ts';
import { goneBefore, movedSince, notKnown, readOtherwise, setAnew, severalStatements, unreadable } from './refusals.ts';
import { asText, isBulk, isChange, pieceOf, withRows, writtenOut } from './written-out.ts';
import { serveBulk } from './bulk/bulk.ts';
import type { Seat } from './seat.ts';
import type { Xid } from '../xa/names.ts';
import { xaEnd, xaFinish } from '../xa/statements.ts';
import { SELECTS, type Lasting } from './past/lasting.ts';
import { Past, type Epoch } from './past/past.ts';
import { askSettings, readsAlike, type Settings } from './settings.ts';
import { ownFault } from './tables/own-fault.ts';
import { planStatement } from './tables/planning.ts';
import { TemporaryTables } from './tables/temporary.ts';

export class Inside {
  readonly #seat: Seat;
  readonly #parts: InsideParts;
  readonly #count: (what: SqlEvent) => void;
  #settings: Settings | undefined;
  readonly #past: Past;
  /** The command that is served was prepared where another database may have been selected: its names mean what they meant there. */
  #isMoved = false;
  readonly #tables = new TemporaryTables();
  readonly #memory: SessionMemory = { expectsWarnings: false };
  #local = new Local();
  /** How many local transactions had ended when this one began. */
  #localAt: number;
  #last: LastStatement | undefined;
  /** What was rolled back as a whole while this session belonged to it. */
  #abandoned: string | undefined;
  /** The local transaction is gone, and its mark with it, and the client has not ended it yet. */
  #isDoomed = false;

  constructor(seat: Seat, parts: InsideParts, count: (what: SqlEvent) => void) {
    this.#seat = seat;
    this.#parts = parts;
    this.#count = count;
    this.#past = new Past(seat);
    this.#localAt = seat.binding.ended;
  }

  /** The session is like new. */
  reset(): void {
    this.forget();
    this.#isDoomed = false;
    this.#past.reset();
  }

  /** The session has begun in this database, by the login of its client. */
  loggedInto(database: Buffer | undefined): void {
    this.#past.loggedInto(database);
  }

  /** A text goes on to the server, which `bytes` has from `start` to `end`. No view of it is made: this is on the path of every statement. */
  unseenText(bytes: Buffer, start: number, end: number): void {
    this.forget();
    this.#past.said(bytes, start, end);
  }

  /** Something else goes on to the server, which may leave this behind. */
  unseen(lasting?: Lasting): void {
    this.forget();
    if (lasting !== undefined) this.#past.leaves(lasting);
  }

  /** What a text is prepared under that goes on to the server. */
  get epoch(): Epoch {
    return this.#past.epoch;
  }

  /** Something was carried out that was not looked at: the session may have other settings. */
  forget(): void {
    this.#settings = undefined;
    this.#last = undefined;
    this.#tables.forget();
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
    this.#past.said(text);
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
    const under = said.prepared?.statement.epoch ?? this.#past.epoch;
    const settings = await this.#learnSettings();
    this.#past.learned(settings);
    this.#isMoved = this.#past.hasMoved(under, settings);
    const isReadOtherwise = this.#past.isReadOtherwise(under);
    this.#past.said(said.text);
    const c = this.#context(work, settings);
    const wasOpen = isOpen(c);
    const { ended } = this.#seat.binding;
    const { local } = c;
    const { hasLevel: hadLevel } = this.#past;
    const verb = isReadOtherwise ? this.#notServed(c, setAnew) : await this.#serveAll(c, said);
    await this.#settle();
    await this.#endNamed(verb === 'control' || local.isPrepared ? undefined : local.xid, ended);
    // What is chained has it still.
    if (hadLevel && isOpen(c)) this.#past.keepsLevel();
    await this.rollBackAbandoned();
    // The server has ended it, or we have: what the client says next without a gid is meant for it all the same.
    const isEnded = wasOpen && this.#seat.binding.ended !== ended && !isOpen(c);
    if (isEnded && verb !== 'control') this.#isDoomed = true;
  }

  /** Serves each statement of the command. Answers whether the last one served was transaction control. */
  async #serveAll(c: Context, said: Said): Promise<'control' | 'other'> {
    const parsed = parsedOf(said, c.settings.lexical);
    if (parsed.kind === 'unreadable') return this.#notServed(c, unreadable(parsed.message));
    const { statements } = parsed;
    const isOne = statements.length <= 1;
    if (statements.length === 0) {
      // The server says itself that there is nothing.
      await this.#seat.relay('inside');
      return 'other';
    }
    if (!isOne && !this.#seat.takesSeveral) return this.#notServed(c, severalStatements);
    if (!isOne) this.#seat.binding.namesAll();
    let verb: 'control' | 'other' = 'other';
    let at = c;
    for (const [index, parsedOne] of statements.entries()) {
      const hasMore = index < statements.length - 1;
      const piece = pieceOf(parsedOne, { isWhole: isOne, hasMore, prepared: said.prepared });
      const { local } = at;
      const isDone = await this.#servePiece(at, piece, (kind) => {
        verb = kind === 'control' ? 'control' : 'other';
      });
      if (!isDone || !hasMore || local.isPrepared) break;
      await this.#settle();
      // What is selected or set in the text holds for the rest of it.
      const settings = await this.#learnSettings();
      if (!readsAlike(settings, c.settings)) {
        this.#refuse(c, readOtherwise);
        break;
      }
      this.#seat.binding.goesOn();
      at = this.#context(c.work, settings);
    }
    return verb;
  }

  /** It was rolled back as a whole: nothing more of its local transaction is carried out. Answers on which server, where a statement of it `isServed`. */
  abandon(work: Work, isServed: boolean): string | undefined {
    const open = this.openWork ?? (isServed ? workOfSeat(this.#seat, this.#parts) : undefined);
    if (open === undefined || workKey(open) !== workKey(work)) return undefined;
    this.#abandoned = workKey(work);
    return isServed ? this.#settings?.place : undefined;
  }

  /** Rolls back what was abandoned, between two commands. */
  async rollBackAbandoned(): Promise<void> {
    const open = this.openWork;
    if (this.#abandoned === undefined || open === undefined || workKey(open) !== this.#abandoned) return;
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

  #context(work: Work, known: Settings): Context {
    const settings = this.#past.hasLevel ? { ...known, hasPhantoms: true } : known;
    const local = (): Local => this.#current;
    const setLast = (last: LastStatement | undefined): void => {
      this.#last = last;
    };
    const last = (): LastStatement | undefined => this.#last;
    return {
      seat: this.#seat,
      parts: this.#parts,
      settings,
      hasLevel: this.#past.hasLevel,
      tables: this.#tables,
      memory: this.#memory,
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
      isAbandoned: () => this.#abandoned === workKey(work),
    };
  }

  async #learnSettings(): Promise<Settings> {
    this.#settings ??= await askSettings(this.#seat);
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

  /** Rows of parameters are captured one by one; where nothing is captured they run as they came. */
  #servePiece(c: Context, piece: Piece, onPlan: (kind: StatementPlan['kind']) => void): Promise<boolean> {
    const parameters = piece.prepared?.parameters;
    const captures = c.work.kind === 'undo' && this.#parts.mode === 'undo' && isChange(piece) && !this.#isMoved;
    if (!captures || parameters === undefined || !isBulk(parameters)) return this.#serveOne(c, piece, onPlan);
    return serveBulk(c, piece, parameters, (own, row) => this.#serveOne(own, row, onPlan));
  }

  async #serveOne(c: Context, said: Piece, onPlan: (kind: StatementPlan['kind']) => void): Promise<boolean> {
    let piece = said;
    let tries = 1;
    for (;;) {
      const written = isChange(piece) ? writtenOut(c, piece) : piece;
      if ('kind' in written) return this.#refuse(c, written.refusal);
      piece = written;
      this.#tables.named(tablesIn(piece.parsed, c.settings.database));
      let plan = await planStatement(c, piece.parsed, this.#isMoved);
      if (plan.kind === 'locking-read') {
        const text = writtenOut(c, piece);
        if ('kind' in text) return this.#refuse(c, text.refusal);
        piece = text;
        plan = await planStatement(c, piece.parsed, this.#isMoved);
      }
      // A table that is not known, or that reads otherwise, may be a temporary one.
      const isAsked = plan.kind === 'refuse' || plan.kind === 'locking-read';
      if (isAsked && (await this.#tables.ask(c.seat))) continue;
      onPlan(plan.kind);
      const isDone = await this.#carryOut(c, plan, piece, tries > 1);
      if (isDone === 'temporary') continue;
      if (isDone !== 'stale') return isDone;
      tries += 1;
      this.#parts.facts.moved();
    }
  }

  async #carryOut(
    c: Context,
    planned: StatementPlan,
    piece: Piece,
    isLastTry: boolean,
  ): Promise<boolean | 'stale' | 'temporary'> {
    const isOperation = c.work.kind === 'operation';
    // A change passes where its name is that of a temporary table.
    const isPlannedByNames = planned.kind === 'pass' ? isChange(piece) : planned.kind !== 'control';
    // What is written out of it would be read by what is selected now.
    if (this.#isMoved && isPlannedByNames && !piece.isWhole) return this.#refuse(c, withErrno(movedSince.refusal));
    const plan = this.#isMoved && isPlannedByNames && planned.kind !== 'refuse' ? movedSince : planned;
    switch (plan.kind) {
      case 'control':
        return serveControl(c, plan, piece);
      case 'pass':
        if (READS_TABLES.test(piece.sql)) await beginNamed(c);
        c.local.begunAs = undefined;
        this.#count('passed');
        return this.#pass(c, piece);
      case 'locking-read':
        await beginNamed(c);
        c.local.begunAs = undefined;
        this.#count('passed');
        return isOperation ? this.#pass(c, piece) : serveLockingRead(c, plan, piece);
      case 'capture':
        if (isOperation || this.#parts.mode === 'xa') return this.#runAsItCame(c, piece);
        return this.#capture(c, plan, piece, isLastTry);
      case 'refuse':
        // Where nothing is open it commits nothing, and drivers say it when they have connected.
        if (!isOpen(c) && SETS_AUTOCOMMIT.test(piece.sql)) return this.#pass(c, piece);
        return plan.escalates && canRunAsItCame(c) ? this.#runAsItCame(c, piece) : this.#refusePlanned(c, plan, piece);
    }
  }

  async #runAsItCame(c: Context, piece: Piece): Promise<boolean | 'temporary'> {
    const isOperation = c.work.kind === 'operation';
    const isDone = await (isOperation || this.#isMoved ? runAsItCame(c, piece, !isOperation) : runAsking(c, piece));
    if (isDone === 'temporary') return isDone;
    this.#count(isOperation ? 'entered' : 'escalated');
    // What it calls may set and select anything.
    this.#settings = undefined;
    // What it calls may make temporary tables; where nothing is captured they do no harm.
    if (!isOperation && this.#parts.mode === 'undo') this.#tables.forget();
    return isDone;
  }

  async #capture(
    c: Context,
    plan: Capture,
    piece: Piece,
    isLastTry: boolean,
  ): Promise<boolean | 'stale' | 'temporary'> {
    const isDone = await serveCapture(c, plan, withRows(c, plan, piece), isLastTry);
    if (typeof isDone === 'object') return this.#carryOut(c, isDone, piece, isLastTry);
    if (typeof isDone === 'boolean') this.#count('captured');
    return isDone;
  }

  async #pass(c: Context, piece: Piece): Promise<boolean> {
    const asked = questionIn(piece, this.#last);
    if (asked.kind === 'refuse') return this.#refuse(c, notKnown(asked.message));
    if (asked.kind !== 'as-is' && piece.isPrepared && piece.isTurned === undefined) {
      const text = asText(c, piece);
      return 'kind' in text ? this.#refuse(c, text.refusal) : this.#pass(c, text);
    }
    const shown = await warningsAnswer(this.#seat, this.#last, asked);
    if (shown !== undefined) {
      answer(c, piece, shown);
      this.#last = this.#last && { ...this.#last, affectedRows: -1n };
      return true;
    }
    this.#last = undefined;
    const text = asked.kind === 'text' ? { ...piece, isWhole: false, sql: asked.text } : piece;
    if (this.#isMoved && !text.isWhole) return this.#refuse(c, withErrno(movedSince.refusal));
    const { binding } = this.#seat;
    const { hasWritten } = binding;
    const heard = await passOn(c, text, 'inside');
    // What is changed and passes are temporary tables.
    if (!hasWritten) binding.wroteNothing();
    // SET, USE and the like may have changed what texts mean.
    if (!isChange(piece) && !QUERIES.test(piece.sql)) this.#settings = undefined;
    if (!piece.isWhole && /^use\b/i.test(piece.sql)) this.unseen(SELECTS);
    return heard?.kind === 'ok';
  }

  async #refusePlanned(c: Context, { refusal }: Refused, piece: Piece): Promise<false> {
    const fault = await ownFault(c, piece);
    return fault === undefined ? this.#refuse(c, withErrno(refusal)) : tell(c, fault);
  }

  #notServed(c: Context, refusal: Refusal): 'other' {
    this.#refuse(c, refusal);
    return 'other';
  }

  #refuse(c: Context, refusal: Refusal): false {
    this.#count('refused');
    return tell(c, { kind: 'refused', refusal });
  }
}

/** What a client says that knows that its local transaction is over, or ends it. */
const ENDING = /^(?:\s|\/\*[^!]*?\*\/)*(?:begin|start\s+transaction|commit|rollback(?!(?:\s+work)?\s+to))\b/i;

const SETS_AUTOCOMMIT =
  /^\s*set\s+(?:session\s+|@@(?:session\.)?)?autocommit\s*:?=\s*(?:0|1|on|off|true|false)[\s;]*$/i;
