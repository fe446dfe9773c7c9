/** The extended protocol inside a global transaction: Parse, Bind, Describe, Execute, Close, Flush, Sync. */
import type { Gid } from '../../../src/contract/transaction.ts';
import { assert } from '../../../src/platform/assert.ts';
import { admit, markOf } from '../../sql/session.ts';
import type { Capture, Refusal, StatementPlan } from '../../sql/statement.ts';
import { addRow } from '../operation/extended.ts';
import { runWaitingPortal, type WaitingPortal } from '../locks/waiting-run.ts';
import { runCapture, type CaptureOutcome } from './capture-run.ts';
import {
  bindByComment,
  bindBySetting,
  bodyOf,
  currentBranch,
  currentWork,
  errorFrame,
  fail,
  isChanging,
  naming,
  note,
  noteCaptured,
  notePassed,
  refuseCommit,
  rollBack,
  statementOf,
  waitsOutside,
  type Conversation,
} from './conversation.ts';
import { aheadOfPassed, aheadOfRead } from './ahead/earlier-writes.ts';
import { planOf } from './ahead/plan-bound.ts';
import { serveDoomed, takeBlock } from './doomed.ts';
import type { Request, RequestKind } from './exchange.ts';
import type { ClientFrame } from './pass-watch.ts';
import { foreignPortal, malformed, preparedTwice, stalePlan, hiddenGid } from './refusals.ts';
import { forget, lose, namesGidByParameter, portalFor, remember, setPrepared, settle } from './statements.ts';
import type { Portal, Statement } from './statements.ts';
import {
  addDescribe,
  addPortion,
  addPrepared,
  addTwin,
  passError,
  twinRun,
  type TwinBinding,
} from './twin-requests.ts';
import { decodeBind } from '../wire/bind.ts';
import { FLUSH, PARSE_COMPLETE } from '../wire/bodiless.ts';
import type { ProtocolFault } from '../wire/body.ts';
import { decodeClose, decodeDescribe } from '../wire/describe.ts';
import { decodeExecute, type Execute } from '../wire/execute.ts';
import { FRONTEND } from '../wire/frames.ts';
import { COMMITTED, endPipeline, prepare } from '../xa/end.ts';
import { enterPortal, type Entry } from '../xa/enter.ts';

/** One session's pipeline. */
export class Pipeline {
  readonly #c: Conversation;
  /** The client has its error; everything up to its Sync is dropped, as the server would. */
  #isSkipping = false;
  /** Something was sent since the last Sync, the client's or ours. */
  #isOpen = false;
  /** Statements executed since the client's last Sync. */
  #executed = 0;
  /** We began a block so that a pipeline of several statements stays one local transaction. */
  #isWrapped = false;

  constructor(c: Conversation) {
    this.#c = c;
  }

  /** True behind a Sync, when nothing of the pipeline is open. */
  get isIdle(): boolean {
    return !this.#isSkipping && !this.#isOpen && !this.#isWrapped && this.#executed === 0;
  }

  /** True behind an error, which the client has then got, up to the Sync: the server drops everything there, a Query too. */
  async isDropping(): Promise<boolean> {
    if (!this.#isSkipping && this.#c.exchange.pending > 0) await this.#settle();
    return (this.#isSkipping ||= this.#c.exchange.isSkipping);
  }

  async serve(frame: ClientFrame): Promise<void> {
    if (frame.type === FRONTEND.sync) return this.#sync();
    // The error may have been answered while nothing was waited for, behind a Flush.
    if ((this.#isSkipping ||= this.#c.exchange.isSkipping)) return undefined;
    switch (frame.type) {
      case FRONTEND.parse:
        return this.#parse(frame);
      case FRONTEND.bind:
        return this.#bind(frame);
      case FRONTEND.describe:
        return this.#describe(frame);
      case FRONTEND.execute:
        return this.#execute(frame);
      case FRONTEND.close:
        return this.#close(frame);
      default:
        // Flush; CopyData and its like outside a COPY, which the server drops or says what is wrong.
        this.#c.exchange.addUnanswered(frame.bytes);
        return this.#c.exchange.flush();
    }
  }

  /** Rolls the local transaction back, because its global transaction was, and lets the client find out. */
  async abandon(): Promise<void> {
    const c = this.#c;
    const mark = markOf(c.state);
    if (mark === undefined || c.state.block === 'idle') return;
    const taken = await takeBlock(c, mark, this.#isOpen);
    this.#isOpen = false;
    if (taken === undefined) return;
    const isSkipping = this.#isSkipping;
    // Without a block of the client's the error ends with its pipeline.
    if (this.#isWrapped) return isSkipping ? undefined : this.#refuse(taken.refusal);
    this.#isSkipping = false;
    this.#executed = 0;
    await serveDoomed(c, { ...taken, isSkipping });
  }

  async #parse(frame: ClientFrame): Promise<void> {
    const c = this.#c;
    const statement = remember(c.statements, bodyOf(frame));
    if ('kind' in statement) return this.#fault(statement);
    const refusal = naming(c, this.#executed > 0, () => bindByComment(c, statement));
    if (refusal !== undefined) return this.#refuse(refusal);
    const plan = await this.#planOf(statement);
    if (plan === undefined) return;
    if (statement.name === '' && plan.kind === 'capture' && isChanging(c)) {
      // The server would parse it for nothing: the capturing statement runs instead.
      setPrepared(c.statements, statement, false);
      return void c.exchange.add({ kind: 'invented', to: 'client', invented: PARSE_COMPLETE });
    }
    const request = this.#send('parse', 'client', frame.bytes);
    request.onEnd = () => settle(c.statements, statement, request.state === 'done');
  }

  async #bind(frame: ClientFrame): Promise<void> {
    const c = this.#c;
    const bind = decodeBind(bodyOf(frame));
    if (bind.kind === 'fault') return this.#fault(bind);
    const statement = await statementOf(c, bind.statement, this.#isOpen || this.#executed > 0);
    if (statement === 'failed') {
      this.#isSkipping = true;
      return undefined;
    }
    const name = bind.portal.toString('latin1');
    c.statements.portals.delete(name);
    if (statement === undefined) return void this.#send('bind', 'client', frame.bytes);
    const refusal =
      markOf(c.state) === undefined ? naming(c, this.#executed > 0, () => bindByComment(c, statement)) : undefined;
    if (refusal !== undefined) return this.#refuse(refusal);
    if (namesGidByParameter(statement, bind.values)) return this.#refuse(hiddenGid);
    if (statement.isDoubtful && isChanging(c)) return this.#refuse(preparedTwice);
    const plan = await this.#planOf(statement, true);
    if (plan === undefined) return undefined;
    const mark = markOf(c.state);
    const portal: Portal = { statement, bind, frame: Buffer.from(frame.bytes), plan, mark, hasRun: false };
    // With another number of values than it takes, the server refuses the client's own: if not, that is no portal that may run here.
    const isMiscounted = plan.kind === 'capture' && plan.capture.clientParameters !== bind.values.length;
    if (!isMiscounted) c.statements.portals.set(name, portal);
    const work = currentWork(c);
    if (plan.kind === 'capture' && !isMiscounted && work?.kind === 'undo' && isChanging(c)) {
      const admission = admit(c.state, plan);
      const enter = admission.kind !== 'capture' || admission.enter;
      this.#bindTwin({ portal, capture: plan.capture, branch: work.branch, committed: [], enter, to: 'client' });
      return undefined;
    }
    addPrepared(c, statement);
    this.#send('bind', 'client', frame.bytes);
  }

  async #describe(frame: ClientFrame): Promise<void> {
    const describe = decodeDescribe(bodyOf(frame));
    if (describe.kind === 'fault') return this.#fault(describe);
    this.#isOpen = true;
    addDescribe(this.#c, describe, frame.bytes);
  }

  async #execute(frame: ClientFrame): Promise<void> {
    const c = this.#c;
    const execute = decodeExecute(bodyOf(frame));
    if (execute.kind === 'fault') return this.#fault(execute);
    const portal = portalFor(c.statements, execute.portal, c.state);
    if (portal === 'unknown') return this.#forward(frame, { kind: 'pass' });
    if (portal === 'foreign') return this.#refuse(foreignPortal);
    const { plan, statement } = portal;
    if (plan.kind === 'capture' && waitsOutside(c))
      return this.#wait(frame, { portal, execute, capture: plan.capture });
    if (markOf(c.state) === undefined && plan.kind !== 'set-gid' && plan.kind !== 'refuse')
      return this.#forward(frame, plan, statement.text);
    const admission = admit(c.state, plan);
    switch (admission.kind) {
      case 'forward':
        return this.#forward(frame, plan, statement.text);
      case 'refuse':
        return this.#refuse(admission.refusal);
      case 'set-gid': {
        const refusal = naming(c, this.#executed > 0, () =>
          bindBySetting(c, admission.setting, (number) => portal.bind.values[number - 1]?.toString('utf8')),
        );
        return refusal === undefined ? this.#forward(frame, plan, statement.text) : this.#refuse(refusal);
      }
      case 'commit':
        return this.#commit(frame, plan);
      case 'prepare':
        return this.#prepare(frame, plan, admission.chains);
      case 'enter':
      case 'entered':
        if (admission.waits !== undefined)
          return this.#wait(frame, { portal, execute, capture: admission.waits }, admission);
        if (currentWork(c)?.kind === 'undo') return this.#change(frame, plan, admission);
        if (!admission.isPlain) this.#wrap();
        if (admission.kind === 'enter') addRow(c, admission);
        c.count('entered');
        return this.#run(frame, plan);
      case 'capture':
        if (portal.hasRun && admission.capture.returnsRows) return addPortion(c, admission.capture, execute);
        return this.#capture(execute, portal, admission.capture);
    }
  }

  async #capture(execute: Execute, portal: Portal, capture: Capture): Promise<void> {
    const c = this.#c;
    const branch = currentBranch(c);
    const isPlain = capture.recorded?.isPlain !== false;
    const isAlone = isPlain && c.state.block === 'idle' && this.#executed === 0 && c.peek() === FRONTEND.sync;
    if (!isAlone) this.#wrap();
    if (capture.read !== undefined && (await aheadOfRead(c, portal.statement.text)) === false)
      return void (this.#isSkipping = true);
    const admission = admit(c.state, portal.plan);
    assert(admission.kind === 'capture', 'the block has not failed');
    this.#executed += 1;
    const bindAgain = (committed: readonly Gid[]): void =>
      this.#bindTwin({ portal, capture, branch, committed, enter: admission.enter, to: 'nobody' });
    const outcome = await runCapture(c, twinRun(c, { execute, branch, admission, isAlone, bindAgain }));
    portal.hasRun = outcome.kind === 'done';
    // The exchange ended with a Sync of ours.
    this.#isOpen = false;
    return this.#conclude(outcome, portal.plan);
  }

  /** Runs a statement that waits for row locks and is not captured. `entry`: that of a change inside a global transaction. */
  async #wait(frame: ClientFrame, of: Omit<WaitingPortal, 'isAlone' | 'before'>, entry?: Entry): Promise<void> {
    const c = this.#c;
    if (of.portal.hasRun) return addPortion(c, of.capture, of.execute);
    const before = c.state;
    const isAlone = entry === undefined && before.block === 'idle' && !this.#executed && c.peek() === FRONTEND.sync;
    if (!isAlone) this.#wrap();
    const obstacle = entry && (await enterPortal(c, entry));
    if (obstacle !== undefined) return this.#conclude(obstacle, of.portal.plan);
    const outcome = await runWaitingPortal(c, { ...of, isAlone, before });
    of.portal.hasRun = outcome.kind === 'done' || outcome.kind === 'as-it-came';
    if (outcome.kind === 'as-it-came') return this.#run(frame, { kind: 'pass' });
    this.#executed += 1;
    this.#isOpen = false;
    return this.#conclude(outcome, of.portal.plan);
  }

  async #conclude(outcome: CaptureOutcome, plan: StatementPlan): Promise<void> {
    const c = this.#c;
    switch (outcome.kind) {
      case 'done':
        for (const bytes of outcome.frames) c.toClient(bytes);
        return plan.kind === 'capture' ? noteCaptured(c, plan.capture, plan) : undefined;
      case 'error':
      case 'skipped':
        if (outcome.kind === 'error') c.toClient(outcome.frame);
        this.#isSkipping = true;
        return;
      case 'stale':
        c.planner.catalogueMoved();
        return this.#refuse(stalePlan);
      case 'refused':
        return this.#refuse(outcome.refusal);
    }
  }

  /** Runs a change as it came: its local transaction is a block, and will be prepared unless triggers record it. */
  async #change(frame: ClientFrame, plan: StatementPlan, entry: Entry): Promise<void> {
    this.#wrap();
    const obstacle = await enterPortal(this.#c, entry);
    return obstacle === undefined ? this.#run(frame, plan) : this.#conclude(obstacle, plan);
  }

  /** Begins a block unless there is one: what the pipeline holds so far, and what follows up to the Sync, is one local transaction. */
  #wrap(): void {
    const c = this.#c;
    if (c.state.block !== 'idle') return;
    passError(c, c.injected.add('begin'));
    this.#isWrapped = true;
    c.state = { ...c.state, block: 'open' };
  }

  async #commit(frame: ClientFrame, plan: StatementPlan): Promise<void> {
    const refusal = await refuseCommit(this.#c);
    if (refusal === undefined) return this.#forward(frame, plan);
    if (await this.isDropping()) return undefined;
    this.#isOpen = false;
    this.#isWrapped = false;
    await rollBack(this.#c);
    return this.#refuse(refusal);
  }

  async #prepare(frame: ClientFrame, plan: StatementPlan, chains: boolean): Promise<void> {
    if (await this.isDropping()) return undefined;
    const result = await prepare(this.#c, chains);
    this.#isOpen = false;
    if (result.kind === 'committable') return this.#forward(frame, plan);
    this.#isWrapped = false;
    this.#executed += 1;
    this.#isSkipping = result.kind === 'failed';
    this.#c.toClient(result.kind === 'failed' ? result.error : COMMITTED);
  }

  /** The client's Sync: whatever is open ends, and it hears that the session is ready. */
  async #sync(): Promise<void> {
    const c = this.#c;
    const isOpen = this.#isOpen || c.exchange.isSkipping || c.exchange.pending > 0;
    this.#isSkipping = false;
    this.#isOpen = false;
    this.#executed = 0;
    const isWrapped = this.#isWrapped && c.state.block !== 'idle';
    this.#isWrapped = false;
    await endPipeline(c, { isOpen, isWrapped });
  }

  async #close(frame: ClientFrame): Promise<void> {
    const close = decodeClose(bodyOf(frame));
    if (close.kind === 'fault') return this.#fault(close);
    const name = close.name.toString('latin1');
    if (close.target === 'statement') forget(this.#c.statements, name);
    else this.#c.statements.portals.delete(name);
    this.#send('close', 'client', frame.bytes);
  }

  /** The plan of a prepared statement; undefined when the client has got an error instead. */
  async #planOf(statement: Statement, isToRun = false): Promise<StatementPlan | undefined> {
    const plan = await planOf(this.#c, statement, { isInPipeline: this.#isOpen || this.#executed > 0, isToRun });
    if (plan !== undefined) return plan;
    this.#isSkipping = true;
    lose(this.#c.statements, statement);
    return undefined;
  }

  #bindTwin(binding: TwinBinding): void {
    this.#isOpen = true;
    const fault = addTwin(this.#c, binding);
    if (fault === undefined) return;
    this.#c.toClient(errorFrame(malformed(fault)));
    this.#isSkipping = true;
  }

  #send(kind: RequestKind, to: 'client' | 'nobody', bytes: Buffer): Request {
    this.#isOpen = true;
    return this.#c.exchange.add({ kind, to }, bytes);
  }

  async #forward(frame: ClientFrame, plan: StatementPlan, text = ''): Promise<void> {
    notePassed(this.#c, text);
    if ((await aheadOfPassed(this.#c, text)) === false) return void (this.#isSkipping = true);
    return this.#run(frame, plan);
  }

  async #run(frame: ClientFrame, plan: StatementPlan): Promise<void> {
    const c = this.#c;
    this.#executed += 1;
    const isDecisive = plan.kind === 'control';
    this.#isOpen = true;
    const request = c.exchange.add({ kind: 'execute', to: 'client', isDecisive }, frame.bytes);
    if (plan.kind !== 'control') return;
    request.onEnd = () => {
      if (request.state !== 'done') return;
      note(c, plan);
      // From here on it is the client's own block, or none.
      if (plan.verb === 'begin' || plan.verb === 'commit' || plan.verb === 'rollback') this.#isWrapped = false;
    };
    // To what the next statement belongs depends on how this one ends; a Sync tells that by itself, but not whose a block of ours now is.
    if (this.#isWrapped || c.peek() !== FRONTEND.sync) await this.#settle();
  }

  /** Waits for the answers so far, inside the pipeline. */
  async #settle(): Promise<void> {
    const { exchange } = this.#c;
    exchange.addUnanswered(FLUSH);
    await exchange.settled();
    if (exchange.isSkipping) this.#isSkipping = true;
  }

  /** Refuses inside a pipeline: earlier answers first, then the error, then nothing up to the client's Sync. */
  async #refuse(refusal: Refusal): Promise<void> {
    const isOpen = this.#isOpen || this.#c.exchange.pending > 0;
    if (await this.isDropping()) return;
    this.#isOpen = false;
    await fail(this.#c, refusal, isOpen);
    this.#isSkipping = true;
  }

  #fault(fault: ProtocolFault): Promise<void> {
    return this.#refuse(malformed(fault));
  }
}
