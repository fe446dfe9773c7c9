/** All messages, a union for each direction: the same type byte means one thing from a client and another from a server. */
import {
  decodeAuthentication,
  decodeAuthenticationResponse,
  writeAuthentication,
  writeAuthenticationResponse,
  type Authentication,
  type AuthenticationResponse,
} from './authentication.ts';
import {
  READY_FOR_QUERY,
  decodeBackendKeyData,
  decodeNotification,
  decodeParameterStatus,
  decodeReadyForQuery,
  writeBackendKeyData,
  writeNotification,
  writeParameterStatus,
  type BackendKeyData,
  type Notification,
  type ParameterStatus,
  type ReadyForQuery,
} from './backend-state.ts';
import { decodeBind, writeBind, type Bind } from './bind.ts';
import {
  decodeBodilessBackend,
  decodeBodilessFrontend,
  encodeBodilessBackend,
  encodeBodilessFrontend,
  type BodilessBackend,
  type BodilessFrontend,
} from './bodiless.ts';
import { encoder, protocolFault, type FrameWriter, type ProtocolFault } from './body.ts';
import {
  decodeCopyData,
  decodeCopyFail,
  decodeCopyResponse,
  writeCopyData,
  writeCopyFail,
  writeCopyResponse,
  type CopyData,
  type CopyFail,
  type CopyResponse,
} from './copy.ts';
import { decodeClose, decodeDescribe, writeClose, writeDescribe, type Close, type Describe } from './describe.ts';
import { decodeReport, writeReport, type Report } from './error.ts';
import {
  decodeCommandComplete,
  decodeExecute,
  writeCommandComplete,
  writeExecute,
  type CommandComplete,
  type Execute,
} from './execute.ts';
import { BACKEND, FRONTEND } from './frames.ts';
import { decodeParse, writeParse, type Parse } from './parse.ts';
import {
  decodeFunctionCall,
  decodeFunctionCallResponse,
  decodeQuery,
  writeFunctionCall,
  writeFunctionCallResponse,
  writeQuery,
  type FunctionCall,
  type FunctionCallResponse,
  type Query,
} from './query.ts';
import {
  decodeDataRow,
  decodeParameterDescription,
  decodeRowDescription,
  writeDataRow,
  writeParameterDescription,
  writeRowDescription,
  type DataRow,
  type ParameterDescription,
  type RowDescription,
} from './row.ts';
import {
  decodeNegotiateProtocolVersion,
  writeNegotiateProtocolVersion,
  type NegotiateProtocolVersion,
} from './startup.ts';

/** What a client sends behind the startup packets. */
export type FrontendMessage =
  | AuthenticationResponse
  | Bind
  | BodilessFrontend
  | Close
  | CopyData
  | CopyFail
  | Describe
  | Execute
  | FunctionCall
  | Parse
  | Query;

/** What a server sends. */
export type BackendMessage =
  | Authentication
  | BackendKeyData
  | BodilessBackend
  | CommandComplete
  | CopyData
  | CopyResponse
  | DataRow
  | FunctionCallResponse
  | NegotiateProtocolVersion
  | Notification
  | ParameterDescription
  | ParameterStatus
  | ReadyForQuery
  | Report
  | RowDescription;

/** Decodes the body of a client's frame. Byte fields are views of `body`. */
export function decodeFrontend(type: number, body: Buffer): FrontendMessage | ProtocolFault {
  switch (type) {
    case FRONTEND.query:
      return decodeQuery(body);
    case FRONTEND.parse:
      return decodeParse(body);
    case FRONTEND.bind:
      return decodeBind(body);
    case FRONTEND.describe:
      return decodeDescribe(body);
    case FRONTEND.execute:
      return decodeExecute(body);
    case FRONTEND.close:
      return decodeClose(body);
    case FRONTEND.sync:
    case FRONTEND.flush:
    case FRONTEND.terminate:
    case FRONTEND.copyDone:
      return decodeBodilessFrontend(type, body);
    case FRONTEND.copyData:
      return decodeCopyData(body);
    case FRONTEND.copyFail:
      return decodeCopyFail(body);
    case FRONTEND.functionCall:
      return decodeFunctionCall(body);
    case FRONTEND.authenticationResponse:
      return decodeAuthenticationResponse(body);
    default:
      return protocolFault(`invalid frontend message type ${type}`);
  }
}

/** Decodes the body of a server's frame. Byte fields are views of `body`. */
export function decodeBackend(type: number, body: Buffer): BackendMessage | ProtocolFault {
  switch (type) {
    case BACKEND.dataRow:
      return decodeDataRow(body);
    case BACKEND.rowDescription:
      return decodeRowDescription(body);
    case BACKEND.parameterDescription:
      return decodeParameterDescription(body);
    case BACKEND.commandComplete:
      return decodeCommandComplete(body);
    case BACKEND.readyForQuery:
      return decodeReadyForQuery(body);
    case BACKEND.parseComplete:
    case BACKEND.bindComplete:
    case BACKEND.closeComplete:
    case BACKEND.noData:
    case BACKEND.portalSuspended:
    case BACKEND.emptyQueryResponse:
    case BACKEND.copyDone:
      return decodeBodilessBackend(type, body);
    case BACKEND.error:
      return decodeReport('error', body);
    case BACKEND.notice:
      return decodeReport('notice', body);
    case BACKEND.notification:
      return decodeNotification(body);
    case BACKEND.parameterStatus:
      return decodeParameterStatus(body);
    case BACKEND.backendKeyData:
      return decodeBackendKeyData(body);
    case BACKEND.authentication:
      return decodeAuthentication(body);
    case BACKEND.negotiateProtocolVersion:
      return decodeNegotiateProtocolVersion(body);
    case BACKEND.copyInResponse:
      return decodeCopyResponse('copy-in-response', body);
    case BACKEND.copyOutResponse:
      return decodeCopyResponse('copy-out-response', body);
    case BACKEND.copyBothResponse:
      return decodeCopyResponse('copy-both-response', body);
    case BACKEND.copyData:
      return decodeCopyData(body);
    case BACKEND.functionCallResponse:
      return decodeFunctionCallResponse(body);
    default:
      return protocolFault(`invalid backend message type ${type}`);
  }
}

/** Adds the frame of a client message. */
export function writeFrontend(out: FrameWriter, message: FrontendMessage): void {
  switch (message.kind) {
    case 'query':
      return writeQuery(out, message);
    case 'parse':
      return writeParse(out, message);
    case 'bind':
      return writeBind(out, message);
    case 'describe':
      return writeDescribe(out, message);
    case 'execute':
      return writeExecute(out, message);
    case 'close':
      return writeClose(out, message);
    case 'copy-data':
      return writeCopyData(out, message);
    case 'copy-fail':
      return writeCopyFail(out, message);
    case 'function-call':
      return writeFunctionCall(out, message);
    case 'authentication-response':
      return writeAuthenticationResponse(out, message);
    case 'sync':
    case 'flush':
    case 'terminate':
    case 'copy-done':
      out.bytes(encodeBodilessFrontend(message));
  }
}

/** Adds the frame of a server message. */
export function writeBackend(out: FrameWriter, message: BackendMessage): void {
  switch (message.kind) {
    case 'data-row':
      return writeDataRow(out, message);
    case 'row-description':
      return writeRowDescription(out, message);
    case 'parameter-description':
      return writeParameterDescription(out, message);
    case 'command-complete':
      return writeCommandComplete(out, message);
    case 'error':
    case 'notice':
      return writeReport(out, message);
    case 'notification':
      return writeNotification(out, message);
    case 'parameter-status':
      return writeParameterStatus(out, message);
    case 'backend-key-data':
      return writeBackendKeyData(out, message);
    case 'authentication':
      return writeAuthentication(out, message);
    case 'negotiate-protocol-version':
      return writeNegotiateProtocolVersion(out, message);
    case 'copy-in-response':
    case 'copy-out-response':
    case 'copy-both-response':
      return writeCopyResponse(out, message);
    case 'copy-data':
      return writeCopyData(out, message);
    case 'function-call-response':
      return writeFunctionCallResponse(out, message);
    case 'ready-for-query':
      out.bytes(READY_FOR_QUERY[message.status]);
      break;
    case 'parse-complete':
    case 'bind-complete':
    case 'close-complete':
    case 'no-data':
    case 'portal-suspended':
    case 'empty-query-response':
    case 'copy-done':
      out.bytes(encodeBodilessBackend(message));
  }
}

/** The frame of a client message. */
export const encodeFrontend: (message: FrontendMessage) => Buffer = encoder(writeFrontend);

/** The frame of a server message. */
export const encodeBackend: (message: BackendMessage) => Buffer = encoder(writeBackend);
