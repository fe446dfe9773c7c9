/**
 * What a client may ask for once it is logged in: one frame each, with the sequence id 0. The larger ones have files of their own.
 * Source: MySQL documentation, "Command Phase"; MySQL source: include/my_command.h; MariaDB documentation, "Client/Server Protocol".
 */
import { BodyReader, BodyWriter, type ProtocolFault } from './body.ts';
import { CAPABILITY, has, type Capabilities } from './capabilities.ts';
import {
  decodeBulkExecute,
  decodeExecute,
  decodeSendLongData,
  encodeBulkExecute,
  encodeExecute,
  encodeSendLongData,
  type BulkExecute,
  type Execute,
  type SendLongData,
  type StatementContext,
} from './execute.ts';
import { readAttributes, writeAttributes, type ConnectionAttribute } from './handshake.ts';
import { decodeQuery, encodeQuery, type Query } from './query.ts';

/** Codes of commands. */
export const COMMAND = {
  quit: 0x01,
  initDb: 0x02,
  query: 0x03,
  fieldList: 0x04,
  createDb: 0x05,
  dropDb: 0x06,
  refresh: 0x07,
  shutdown: 0x08,
  statistics: 0x09,
  processInfo: 0x0a,
  processKill: 0x0c,
  debug: 0x0d,
  ping: 0x0e,
  changeUser: 0x11,
  binlogDump: 0x12,
  tableDump: 0x13,
  registerSlave: 0x15,
  stmtPrepare: 0x16,
  stmtExecute: 0x17,
  stmtSendLongData: 0x18,
  stmtClose: 0x19,
  stmtReset: 0x1a,
  setOption: 0x1b,
  stmtFetch: 0x1c,
  binlogDumpGtid: 0x1e,
  resetConnection: 0x1f,
  bulkExecute: 0xfa,
} as const;

/** Commands that are nothing but their code. */
const BARE = {
  [COMMAND.quit]: 'quit',
  [COMMAND.statistics]: 'statistics',
  [COMMAND.processInfo]: 'process-info',
  [COMMAND.debug]: 'debug',
  [COMMAND.ping]: 'ping',
  [COMMAND.resetConnection]: 'reset-connection',
} as const;

/** Another user, and a session like new. */
export interface ChangeUser {
  readonly kind: 'change-user';
  readonly user: Buffer;
  readonly authResponse: Buffer;
  readonly database: Buffer;
  /** Each of these is missing where the packet ends before it. */
  readonly charset: number | undefined;
  readonly plugin: Buffer | undefined;
  readonly attributes: readonly ConnectionAttribute[] | undefined;
}

export type Command =
  | { readonly kind: (typeof BARE)[keyof typeof BARE] }
  | { readonly kind: 'init-db'; readonly schema: Buffer }
  /** The columns of a table, with their defaults: old clients use it for completion. */
  | { readonly kind: 'field-list'; readonly table: Buffer; readonly wildcard: Buffer }
  | { readonly kind: 'process-kill'; readonly connectionId: number }
  /** 0: several statements in one query are allowed, 1: they no longer are. */
  | { readonly kind: 'set-option'; readonly option: number }
  | { readonly kind: 'stmt-prepare'; readonly text: Buffer }
  | { readonly kind: 'stmt-close' | 'stmt-reset'; readonly statement: number }
  | { readonly kind: 'stmt-fetch'; readonly statement: number; readonly rows: number }
  /** One that the sidecar has nothing to do with. */
  | { readonly kind: 'other'; readonly code: number; readonly data: Buffer }
  | Query
  | Execute
  | BulkExecute
  | SendLongData
  | ChangeUser;

const NO_STATEMENT: StatementContext = { parameterCount: 0, types: undefined, isLong: () => false };

/**
 * Decodes a command. `context`: what the session knows of the statement that COM_STMT_EXECUTE and its bulk form name, see
 * `statementOf`; their bytes mean nothing without it.
 */
export function decodeCommand(
  payload: Buffer,
  capabilities: Capabilities,
  context: StatementContext = NO_STATEMENT,
): Command | ProtocolFault {
  const from = new BodyReader('command', payload);
  const code = from.byte();
  const bare = isBare(code) ? BARE[code] : undefined;
  if (bare !== undefined) return from.end({ kind: bare });
  switch (code) {
    case COMMAND.query:
      return decodeQuery(payload, capabilities);
    case COMMAND.stmtExecute:
      return decodeExecute(payload, capabilities, context);
    case COMMAND.bulkExecute:
      return decodeBulkExecute(payload, context);
    case COMMAND.stmtSendLongData:
      return decodeSendLongData(payload);
    case COMMAND.changeUser:
      return decodeChangeUser(from, capabilities);
    case COMMAND.initDb:
      return from.end({ kind: 'init-db', schema: from.rest() });
    case COMMAND.fieldList:
      return from.end({ kind: 'field-list', table: from.cstring(), wildcard: from.rest() });
    case COMMAND.processKill:
      return from.end({ kind: 'process-kill', connectionId: from.uint(4) });
    case COMMAND.setOption:
      return from.end({ kind: 'set-option', option: from.uint(2) });
    case COMMAND.stmtPrepare:
      return from.end({ kind: 'stmt-prepare', text: from.rest() });
    case COMMAND.stmtClose:
      return from.end({ kind: 'stmt-close', statement: from.uint(4) });
    case COMMAND.stmtReset:
      return from.end({ kind: 'stmt-reset', statement: from.uint(4) });
    case COMMAND.stmtFetch:
      return from.end({ kind: 'stmt-fetch', statement: from.uint(4), rows: from.uint(4) });
    default:
      return from.end({ kind: 'other', code, data: from.rest() });
  }
}

/** Encodes a command for a session with the given capabilities. */
export function encodeCommand(command: Command, capabilities: Capabilities): Buffer {
  const out = new BodyWriter();
  switch (command.kind) {
    case 'query':
      return encodeQuery(command);
    case 'stmt-execute':
      return encodeExecute(command, capabilities);
    case 'stmt-bulk-execute':
      return encodeBulkExecute(command);
    case 'stmt-send-long-data':
      return encodeSendLongData(command);
    case 'change-user':
      return encodeChangeUser(out, command, capabilities);
    case 'init-db':
      return out.byte(COMMAND.initDb).bytes(command.schema).take();
    case 'field-list':
      return out.byte(COMMAND.fieldList).cstring(command.table).bytes(command.wildcard).take();
    case 'process-kill':
      return out.byte(COMMAND.processKill).uint(4, command.connectionId).take();
    case 'set-option':
      return out.byte(COMMAND.setOption).uint(2, command.option).take();
    case 'stmt-prepare':
      return out.byte(COMMAND.stmtPrepare).bytes(command.text).take();
    case 'stmt-close':
      return out.byte(COMMAND.stmtClose).uint(4, command.statement).take();
    case 'stmt-reset':
      return out.byte(COMMAND.stmtReset).uint(4, command.statement).take();
    case 'stmt-fetch':
      return out.byte(COMMAND.stmtFetch).uint(4, command.statement).uint(4, command.rows).take();
    case 'other':
      return out.byte(command.code).bytes(command.data).take();
    case 'quit':
    case 'statistics':
    case 'process-info':
    case 'debug':
    case 'ping':
    case 'reset-connection':
      return out.byte(bareCode(command.kind)).take();
  }
}

/** MySQL source: parse_com_change_user_packet. What stands behind the database may be missing. */
function decodeChangeUser(from: BodyReader, capabilities: Capabilities): ChangeUser | ProtocolFault {
  const user = from.cstring();
  const authResponse = has(capabilities, CAPABILITY.secureConnection) ? from.bytes(from.byte()) : from.cstring();
  const database = from.cstring();
  const charset = from.left > 0 ? from.uint(2) : undefined;
  const plugin = has(capabilities, CAPABILITY.pluginAuth) && from.left > 0 ? from.cstring() : undefined;
  const attributes =
    has(capabilities, CAPABILITY.connectAttributes) && from.left > 0 ? readAttributes(from) : undefined;
  return from.end({ kind: 'change-user', user, authResponse, database, charset, plugin, attributes });
}

function encodeChangeUser(out: BodyWriter, command: ChangeUser, capabilities: Capabilities): Buffer {
  out.byte(COMMAND.changeUser).cstring(command.user);
  if (has(capabilities, CAPABILITY.secureConnection)) {
    out.byte(command.authResponse.length).bytes(command.authResponse);
  } else out.cstring(command.authResponse);
  out.cstring(command.database);
  if (command.charset !== undefined) out.uint(2, command.charset);
  if (command.plugin !== undefined) out.cstring(command.plugin);
  if (command.attributes !== undefined) writeAttributes(out, command.attributes);
  return out.take();
}

function isBare(code: number): code is keyof typeof BARE {
  return Object.hasOwn(BARE, code);
}

function bareCode(kind: (typeof BARE)[keyof typeof BARE]): number {
  return Number(Object.entries(BARE).find(([, each]) => each === kind)?.[0]);
}
