/**
 * A session whose local transaction was rolled back under it, because its global transaction was. The client keeps its
 * connection and sees what it would see in a failed block: every statement is refused until it ends the block itself.
 */
import type { Mark } from '../../../src/contract/transaction.ts';
import { isSameMark, markOf } from '../../sql/session.ts';
import type { Refusal } from '../../sql/statement.ts';
import { BIND_COMPLETE, CLOSE_COMPLETE, NO_DATA, SYNC } from '../wire/bodiless.ts';
import { READY_FOR_QUERY } from '../wire/backend-state.ts';
import { decodeBind } from '../wire/bind.ts';
import { decodeClose, decodeDescribe } from '../wire/describe.ts';
import { decodeExecute, encodeCommandComplete } from '../wire/execute.ts';
import { FRONTEND } from '../wire/frames.ts';
import { decodeParse } from '../wire/parse.ts';
import { decodeQuery } from '../wire/query.ts';
import { encodeParameterDescription } from '../wire/row.ts';
import { bodyOf, controlIn, errorFrame, rollBack, type Conversation } from './conversation.ts';
import type { ClientFrame } from './pass-watch.ts';
import { rolledBackAsAWhole } from './refusals.ts';
import { forget, remember, settle } from './statements.ts';

/** Where the client stands when its block is taken from it. */
export interface Doom {
  readonly refusal: Refusal;
  /** It has seen an error in this block. */
  readonly isTold: boolean;
  /** It has seen an error in this pipeline: nothing of it is answered any more, up to its Sync. */
  readonly isSkipping: boolean;
}

/**
 * Rolls back the local transaction that serves `mark`. `isOpen`: a part of a pipeline of it is not synchronised. Undefined when it has
 * ended by itself meanwhile.
 */
export async function takeBlock(
  c: Conversation,
  mark: Mark,
  isOpen: boolean,
): Promise<Omit<Doom, 'isSkipping'> | undefined> {
  if (isOpen || c.exchange.pending > 0) {
    c.exchange.add({ kind: 'sync', to: 'nobody' }, SYNC);
    await c.exchange.settled();
  }
  if (!isSameMark(markOf(c.state), mark) || c.state.block === 'idle') return undefined;
  const isTold = c.state.block === 'failed';
  await rollBack(c);
  return { refusal: rolledBackAsAWhole(mark.gid), isTold };
}

/** Serves messages until the client has ended its block. The server, which is out of the block already, hears only of prepared statements. */
export async function serveDoomed(c: Conversation, doom: Doom): Promise<void> {
  const { refusal } = doom;
  const texts = new Map<string, string>();
  const portals = new Map<string, string>();
  let { isSkipping, isTold } = doom;
  let isOver = false;

  const refuse = (): void => {
    isSkipping = true;
    isTold = true;
    c.toClient(errorFrame(refusal));
  };
  /** Runs one text; true when it was answered, false when it was refused. */
  const run = (text: string): boolean => {
    const verb = endOfBlock(c, text);
    if (verb === undefined) return false;
    isOver = true;
    // The tag ROLLBACK says enough to a client that has seen an error; to one that has not it looks like success.
    if (verb === 'commit' && !isTold) return false;
    c.toClient(encodeCommandComplete({ kind: 'command-complete', tag: ROLLBACK }));
    return true;
  };
  const ready = (): void => {
    isSkipping = false;
    c.toClient(READY_FOR_QUERY[isOver ? 'I' : 'E']);
  };

  /** Prepared statements outlive the block: the server hears of them. True when it has done as it was asked. */
  const tell = async (kind: 'parse' | 'close', bytes: Buffer): Promise<boolean> => {
    const request = c.exchange.add({ kind, to: 'client' }, Buffer.from(bytes));
    c.exchange.add({ kind: 'sync', to: 'nobody' }, SYNC);
    await c.exchange.settled();
    if (request.state !== 'done') isSkipping = true;
    return request.state === 'done';
  };

  const answer = async (frame: ClientFrame): Promise<void> => {
    const body = bodyOf(frame);
    switch (frame.type) {
      case FRONTEND.parse: {
        const parse = decodeParse(body);
        if (parse.kind === 'fault') return refuse();
        const text = parse.text.toString('utf8');
        // As in a failed block: what ends it may be prepared, and nothing else.
        if (endOfBlock(c, text) === undefined) return refuse();
        const statement = remember(c.statements, body);
        texts.set(parse.statement.toString('latin1'), text);
        const isPrepared = await tell('parse', frame.bytes);
        if (!('kind' in statement)) settle(c.statements, statement, isPrepared);
        return undefined;
      }
      case FRONTEND.bind: {
        const bind = decodeBind(body);
        if (bind.kind === 'fault') return refuse();
        const name = bind.statement.toString('latin1');
        portals.set(bind.portal.toString('latin1'), texts.get(name) ?? c.statements.byName.get(name)?.text ?? '');
        return c.toClient(BIND_COMPLETE);
      }
      case FRONTEND.describe: {
        const describe = decodeDescribe(body);
        if (describe.kind === 'fault') return refuse();
        if (describe.target === 'statement')
          c.toClient(encodeParameterDescription({ kind: 'parameter-description', parameterTypes: [] }));
        return c.toClient(NO_DATA);
      }
      case FRONTEND.execute: {
        const execute = decodeExecute(body);
        const text = execute.kind === 'fault' ? '' : (portals.get(execute.portal.toString('latin1')) ?? '');
        return run(text) ? undefined : refuse();
      }
      case FRONTEND.close: {
        const close = decodeClose(body);
        if (close.kind === 'fault') return refuse();
        if (close.target === 'portal') return c.toClient(CLOSE_COMPLETE);
        const name = close.name.toString('latin1');
        texts.delete(name);
        forget(c.statements, name);
        await tell('close', frame.bytes);
        return undefined;
      }
      default:
        return undefined;
    }
  };

  for (;;) {
    const frame = await c.next();
    if (frame.type === FRONTEND.query) {
      const query = decodeQuery(bodyOf(frame));
      if (query.kind === 'fault' || !run(query.text.toString('utf8'))) refuse();
      ready();
    } else if (frame.type === FRONTEND.sync) {
      ready();
    } else if (frame.type === FRONTEND.functionCall) {
      refuse();
      ready();
    } else if (!isSkipping) await answer(frame);
    // An Execute that ended the block is followed by its Sync: only then the client knows.
    if (isOver && (frame.type === FRONTEND.query || frame.type === FRONTEND.sync)) return;
  }
}

function endOfBlock(c: Conversation, text: string): 'commit' | 'rollback' | undefined {
  const plan = controlIn(c, text);
  return plan.kind === 'control' && (plan.verb === 'commit' || plan.verb === 'rollback') ? plan.verb : undefined;
}

const ROLLBACK = Buffer.from('ROLLBACK');
