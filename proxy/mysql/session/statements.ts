/** The prepared statements of a session, as far as a global transaction needs to know them: bounded, and what is left out is known to be. */
import { hasClue } from '../../binding/gid-clues.ts';
import { ANYTHING, lastingOf, NOTHING, type Lasting } from '../inside/past/lasting.ts';
import type { Epoch } from '../inside/past/past.ts';
import { COMMAND } from '../wire/commands.ts';
import { LAST_STATEMENT, statementOf, type StatementContext } from '../wire/execute.ts';
import type { ParameterType } from '../wire/values.ts';

/** A statement that the client has prepared, and the server has. */
export interface Statement {
  readonly id: number;
  readonly text: Buffer;
  readonly parameterCount: number;
  /** What it was prepared under: its names and its text mean what they meant then. Undefined where nothing is carried out inside a gid. */
  readonly epoch: Epoch | undefined;
  /** What its runs may leave behind. */
  readonly lasting: Lasting;
  /** The text may name a gid: such a statement never runs unseen. */
  readonly hasClue: boolean;
  /** As sent with its last run, if that was looked at. */
  types: readonly ParameterType[] | undefined;
  /** The run that sent the types did not go to the server, so that it does not know them. */
  isUntold: boolean;
  /** Parameters whose values were sent ahead since its last run, piece by piece; they are kept where it may be captured. */
  readonly long: Map<number, Buffer[] | 'too much'>;
}

/** Commands that name a statement and change what it is, or which values were sent ahead for it. */
const ON_STATEMENTS: readonly number[] = [
  COMMAND.stmtClose,
  COMMAND.stmtSendLongData,
  COMMAND.stmtReset,
  COMMAND.stmtExecute,
  COMMAND.bulkExecute,
];
/** Of COM_STMT_SEND_LONG_DATA: behind the code and the number of the statement stands that of the parameter. */
const LONG_PARAMETER_AT = 5;
const LONG_DATA_BYTES = 7;

/** MySQL source: max_prepared_stmt_count is 16,382 for a whole server. */
const STATEMENTS_MAX = 2_000;
const BYTES_MAX = 4 * 1024 * 1024;
/** What a statement takes beside its text, roughly. */
const OVERHEAD_BYTES = 300;

export class Statements {
  readonly #byId = new Map<number, Statement>();
  #bytes = 0;
  /** Of values that were sent ahead. */
  #longBytes = 0;
  #withClue = 0;
  #hasLostClues = false;
  #hasLostSome = false;
  /** The one that was prepared last, which clients of MariaDB may run before they know its number. Undefined until it is answered. */
  #last: number | undefined;
  #isLastSuspect = false;
  /** Statements with types that the server does not know. */
  #untold = 0;
  /** Some statement has types that were seen. */
  #hasTypes = false;
  /** Some statement may leave something behind. */
  #mayLast = false;

  /** True while the number of a statement alone may tell that its run has to be looked at. */
  get mayConcern(): boolean {
    return this.#withClue > 0 || this.#untold > 0 || this.#hasLostClues || this.#isLastSuspect;
  }

  /** A text is sent to be prepared. */
  preparing(text: Buffer): void {
    this.#last = undefined;
    this.#isLastSuspect = hasClue(text);
    this.#mayLast ||= lastingOf(text) !== NOTHING;
  }

  /** The server has prepared a text under a number. */
  remember(id: number, text: Buffer, parameterCount: number, epoch?: Epoch): void {
    this.forget(id);
    const bytes = Buffer.from(text);
    const statement: Statement = {
      id,
      text: bytes,
      parameterCount,
      epoch,
      lasting: lastingOf(bytes),
      hasClue: hasClue(bytes),
      types: undefined,
      isUntold: false,
      long: new Map(),
    };
    this.#last = id;
    this.#isLastSuspect = false;
    this.#byId.set(id, statement);
    this.#bytes += bytes.length + OVERHEAD_BYTES;
    if (statement.hasClue) this.#withClue += 1;
    while (this.#byId.size > STATEMENTS_MAX || this.#bytes > BYTES_MAX) this.#loseOldest();
  }

  /** What was to be prepared last was not. */
  failed(): void {
    this.#isLastSuspect = false;
  }

  /** The server may have statements that are not known here. */
  get hasLostSome(): boolean {
    return this.#hasLostSome;
  }

  /** A text that was too large to be kept was prepared, and may leave anything behind: `mayName` says whether it may name a gid. */
  lose(mayName: boolean): void {
    this.#lost(mayName);
    this.#mayLast = true;
  }

  /** `id`: as a command names it. */
  get(id: number): Statement | undefined {
    return this.#byId.get(this.#known(id));
  }

  /** True when the statement of that number may name a gid, or the server has to be told its types. */
  concerns(id: number): boolean {
    const statement = this.get(id);
    if (statement === undefined) return this.#hasLostClues || this.#isLastSuspect;
    return statement.hasClue || statement.isUntold;
  }

  forget(id: number): void {
    const statement = this.#byId.get(id);
    if (statement === undefined) return;
    this.dropValues(id);
    this.#tell(statement, true);
    this.#byId.delete(id);
    this.#bytes -= statement.text.length + OVERHEAD_BYTES;
    if (statement.hasClue) this.#withClue -= 1;
  }

  /** A run that was looked at has sent types: later runs need not send them again. */
  typed(statement: Statement, types: readonly ParameterType[]): void {
    statement.types = types;
    this.#hasTypes = true;
    this.#tell(statement, false);
  }

  /**
   * A run goes on to the server that is not looked at: `bytes` has the beginning of its payload from `start` to `end`. Types that it sends
   * are those of later runs too. Answers what it may leave behind; undefined where certainly nothing.
   */
  ranUnseen(bytes: Buffer, start: number, end: number): Lasting | undefined {
    if (!this.#hasTypes && !this.#mayLast) return undefined;
    const beginning = bytes.subarray(start, end);
    const statement = beginning.length < TYPES_AT ? undefined : this.get(beginning.readUInt32LE(1));
    if (statement !== undefined && maySendTypes(beginning, statement)) statement.types = undefined;
    return this.#mayLast ? (statement?.lasting ?? ANYTHING) : undefined;
  }

  /** The statement that a command runs, where the server has to be told its types with this run, which does not send them. */
  untold(payload: Buffer): Statement | undefined {
    const statement = this.#untold === 0 || payload.length < TYPES_AT ? undefined : this.get(payload.readUInt32LE(1));
    return statement?.isUntold === true && !maySendTypes(payload, statement) ? statement : undefined;
  }

  #tell(statement: Statement, isTold: boolean): void {
    if (statement.isUntold === isTold) this.#untold += isTold ? -1 : 1;
    statement.isUntold = !isTold;
  }

  /** A whole command on a statement goes on to the server. `keptBytesMax`: of values that are sent ahead; 0 where none can be captured. */
  passed(code: number, payload: Buffer, keptBytesMax = 0): void {
    if (!ON_STATEMENTS.includes(code)) return;
    const id = statementOf(payload);
    const statement = typeof id === 'number' ? this.get(id) : undefined;
    if (statement === undefined) return;
    if (code === COMMAND.stmtExecute) this.#tell(statement, true);
    if (code === COMMAND.stmtClose) this.forget(statement.id);
    else if (code !== COMMAND.stmtSendLongData) this.dropValues(statement.id);
    else if (payload.length >= LONG_DATA_BYTES) {
      const most = statement.hasClue ? Math.max(keptBytesMax, BYTES_MAX) : keptBytesMax;
      this.#keep(statement, payload.readUInt16LE(LONG_PARAMETER_AT), payload.subarray(LONG_DATA_BYTES), most);
    }
  }

  /** Values that were sent ahead for the statement are gone. */
  dropValues(id: number): void {
    const long = this.get(id)?.long;
    for (const kept of long?.values() ?? []) this.#longBytes -= bytesIn(kept);
    long?.clear();
  }

  #keep({ long }: Statement, parameter: number, data: Buffer, bytesMax: number): void {
    const kept = long.get(parameter) ?? [];
    if (kept === 'too much') return;
    if (this.#longBytes + data.length > bytesMax) {
      this.#longBytes -= bytesIn(kept);
      long.set(parameter, 'too much');
      return;
    }
    this.#longBytes += data.length;
    kept.push(Buffer.from(data));
    long.set(parameter, kept);
  }

  /** The server has dropped all of them. */
  forgetAll(): void {
    this.#byId.clear();
    this.#bytes = 0;
    this.#longBytes = 0;
    this.#withClue = 0;
    this.#hasLostClues = false;
    this.#hasLostSome = false;
    this.#hasTypes = false;
    this.#mayLast = false;
    this.#untold = 0;
    this.#last = undefined;
    this.#isLastSuspect = false;
  }

  #known(id: number): number {
    return id === LAST_STATEMENT ? (this.#last ?? id) : id;
  }

  #loseOldest(): void {
    const [oldest] = this.#byId.values();
    if (oldest === undefined) return;
    this.#lost(oldest.hasClue);
    this.forget(oldest.id);
  }

  #lost(mayName: boolean): void {
    this.#hasLostSome = true;
    this.#hasLostClues ||= mayName;
  }
}

function bytesIn(kept: Buffer[] | 'too much'): number {
  return kept === 'too much' ? 0 : kept.reduce((sum, { length }) => sum + length, 0);
}

/** Of COM_STMT_EXECUTE: behind the number of the statement stand flags and a count of runs. */
const TYPES_AT = 10;
const COUNTS_PARAMETERS = 0x08;

/** False where a run certainly sends no types. Source: MySQL documentation, "COM_STMT_EXECUTE". */
function maySendTypes(payload: Buffer, { parameterCount }: Statement): boolean {
  const isBulk = payload[0] === COMMAND.bulkExecute;
  // With a count of its own, of attributes too, it is not worth reading on.
  if (isBulk || ((payload[5] ?? 0) & COUNTS_PARAMETERS) !== 0) return true;
  return payload[TYPES_AT + Math.ceil(parameterCount / 8)] !== 0;
}

/** What its bytes mean. */
export function contextOf(statement: Statement): StatementContext {
  const { parameterCount, types, long } = statement;
  return { parameterCount, types, isLong: (index) => long.has(index) };
}
