/**
 * What an OK packet says of the session under `sessionTrack`: the only word of a server on its transactions that can be relied on.
 * Source: MySQL documentation, "OK_Packet: Session State Information"; MySQL source: sql/session_tracker.cc; MariaDB
 * documentation, "OK_Packet: Session State Info".
 */
import { BodyReader, BodyWriter, type ProtocolFault } from './body.ts';

/** A change of the session's state. */
export type StateChange =
  /** MariaDB may name several variables at once, MySQL names one. */
  | { readonly kind: 'variables'; readonly variables: readonly (readonly [name: Buffer, value: Buffer])[] }
  | { readonly kind: 'schema'; readonly name: Buffer }
  /** `1`: something changed that a pool has to reset. */
  | { readonly kind: 'state-change'; readonly flag: Buffer }
  | { readonly kind: 'gtids'; readonly specification: number; readonly gtids: Buffer }
  /** The statements that would begin such a transaction again; empty when there is none. */
  | { readonly kind: 'transaction-characteristics'; readonly statements: Buffer }
  /** Eight letters, for `readTransactionState`. */
  | { readonly kind: 'transaction-state'; readonly state: Buffer }
  | { readonly kind: 'other'; readonly code: number; readonly data: Buffer };

/** What the letters of a transaction's state mean. */
export interface TransactionState {
  /** `explicit`: begun by a statement. `implicit`: begun by itself, with autocommit off, and something was read or written. */
  readonly open: 'no' | 'explicit' | 'implicit';
  readonly readTransactional: boolean;
  readonly wroteTransactional: boolean;
  readonly readOther: boolean;
  readonly wroteOther: boolean;
  readonly wasUnsafe: boolean;
  readonly sentRows: boolean;
  readonly lockedTables: boolean;
}

const CODE = {
  variables: 0,
  schema: 1,
  'state-change': 2,
  gtids: 3,
  'transaction-characteristics': 4,
  'transaction-state': 5,
} as const;

export function decodeStateChanges(data: Buffer): readonly StateChange[] | ProtocolFault {
  const from = new BodyReader('session state', data);
  const changes = from.all((): StateChange => {
    const code = from.byte();
    const content = from.string();
    const change = stateChange(code, content);
    if (change.kind !== 'fault') return change;
    from.fail(change.message);
    return { kind: 'other', code, data: content };
  });
  return from.end(changes);
}

export function encodeStateChanges(changes: readonly StateChange[]): Buffer {
  const out = new BodyWriter();
  for (const change of changes) {
    out.byte(change.kind === 'other' ? change.code : CODE[change.kind]).string(contentOf(change));
  }
  return out.take();
}

/** The meaning of `T_______` and the like. Undefined when it is not eight letters. */
export function readTransactionState(state: Buffer): TransactionState | undefined {
  if (state.length !== 8) return undefined;
  const letters = state.toString('latin1');
  const first = letters[0];
  const isSet = (index: number): boolean => letters[index] !== '_';
  return {
    open: first === 'T' ? 'explicit' : first === 'I' ? 'implicit' : 'no',
    readOther: isSet(1),
    readTransactional: isSet(2),
    wroteOther: isSet(3),
    wroteTransactional: isSet(4),
    wasUnsafe: isSet(5),
    sentRows: isSet(6),
    lockedTables: isSet(7),
  };
}

function stateChange(code: number, content: Buffer): StateChange | ProtocolFault {
  const from = new BodyReader('session state', content);
  switch (code) {
    case CODE.variables:
      return from.end({ kind: 'variables', variables: from.all(() => [from.string(), from.string()] as const) });
    case CODE.schema:
      return from.end({ kind: 'schema', name: from.string() });
    case CODE['state-change']:
      return from.end({ kind: 'state-change', flag: from.string() });
    case CODE.gtids:
      return from.end({ kind: 'gtids', specification: from.byte(), gtids: from.string() });
    case CODE['transaction-characteristics']:
      return from.end({ kind: 'transaction-characteristics', statements: from.string() });
    case CODE['transaction-state']:
      return from.end({ kind: 'transaction-state', state: from.string() });
    default:
      return { kind: 'other', code, data: content };
  }
}

function contentOf(change: StateChange): Buffer {
  const out = new BodyWriter();
  switch (change.kind) {
    case 'variables':
      for (const [name, value] of change.variables) out.string(name).string(value);
      return out.take();
    case 'schema':
      return out.string(change.name).take();
    case 'state-change':
      return out.string(change.flag).take();
    case 'gtids':
      return out.byte(change.specification).string(change.gtids).take();
    case 'transaction-characteristics':
      return out.string(change.statements).take();
    case 'transaction-state':
      return out.string(change.state).take();
    case 'other':
      return change.data;
  }
}
