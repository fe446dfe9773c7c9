/** Messages without a body, as constants to be sent as they are and never written to, and the check that the body is empty. */
import { protocolFault, type ProtocolFault } from './body.ts';
import { BACKEND, FRONTEND } from './frames.ts';

const KIND_OF_FRONTEND = {
  [FRONTEND.sync]: 'sync',
  [FRONTEND.flush]: 'flush',
  [FRONTEND.terminate]: 'terminate',
  [FRONTEND.copyDone]: 'copy-done',
} as const;

const KIND_OF_BACKEND = {
  [BACKEND.parseComplete]: 'parse-complete',
  [BACKEND.bindComplete]: 'bind-complete',
  [BACKEND.closeComplete]: 'close-complete',
  [BACKEND.noData]: 'no-data',
  [BACKEND.portalSuspended]: 'portal-suspended',
  [BACKEND.emptyQueryResponse]: 'empty-query-response',
  [BACKEND.copyDone]: 'copy-done',
} as const;

export interface BodilessFrontend {
  readonly kind: (typeof KIND_OF_FRONTEND)[keyof typeof KIND_OF_FRONTEND];
}

export interface BodilessBackend {
  readonly kind: (typeof KIND_OF_BACKEND)[keyof typeof KIND_OF_BACKEND];
}

/** Ends a pipeline: the server commits the implicit transaction, or leaves the error state, and answers ReadyForQuery. */
export const SYNC: Buffer = bodiless(FRONTEND.sync);
/** Asks for the replies so far, without ending the pipeline. */
export const FLUSH: Buffer = bodiless(FRONTEND.flush);
export const TERMINATE: Buffer = bodiless(FRONTEND.terminate);

export const PARSE_COMPLETE: Buffer = bodiless(BACKEND.parseComplete);
export const BIND_COMPLETE: Buffer = bodiless(BACKEND.bindComplete);
export const CLOSE_COMPLETE: Buffer = bodiless(BACKEND.closeComplete);
/** Answers a Describe of something that returns no rows. */
export const NO_DATA: Buffer = bodiless(BACKEND.noData);
/** Execute stopped at its row limit: the portal can go on. */
export const PORTAL_SUSPENDED: Buffer = bodiless(BACKEND.portalSuspended);
/** Instead of CommandComplete for a text without a statement. */
export const EMPTY_QUERY_RESPONSE: Buffer = bodiless(BACKEND.emptyQueryResponse);
/** The copy stream ended well. The same bytes in both directions. */
export const COPY_DONE: Buffer = bodiless(BACKEND.copyDone);

const FRONTEND_FRAME: Readonly<Record<BodilessFrontend['kind'], Buffer>> = {
  sync: SYNC,
  flush: FLUSH,
  terminate: TERMINATE,
  'copy-done': COPY_DONE,
};

const BACKEND_FRAME: Readonly<Record<BodilessBackend['kind'], Buffer>> = {
  'parse-complete': PARSE_COMPLETE,
  'bind-complete': BIND_COMPLETE,
  'close-complete': CLOSE_COMPLETE,
  'no-data': NO_DATA,
  'portal-suspended': PORTAL_SUSPENDED,
  'empty-query-response': EMPTY_QUERY_RESPONSE,
  'copy-done': COPY_DONE,
};

/** The constant frame of a client message. */
export function encodeBodilessFrontend(message: BodilessFrontend): Buffer {
  return FRONTEND_FRAME[message.kind];
}

/** The constant frame of a server message. */
export function encodeBodilessBackend(message: BodilessBackend): Buffer {
  return BACKEND_FRAME[message.kind];
}

export function decodeBodilessFrontend(
  type: keyof typeof KIND_OF_FRONTEND,
  body: Buffer,
): BodilessFrontend | ProtocolFault {
  return decode(KIND_OF_FRONTEND[type], body);
}

export function decodeBodilessBackend(
  type: keyof typeof KIND_OF_BACKEND,
  body: Buffer,
): BodilessBackend | ProtocolFault {
  return decode(KIND_OF_BACKEND[type], body);
}

function decode<K extends string>(kind: K, body: Buffer): { readonly kind: K } | ProtocolFault {
  return body.length === 0 ? { kind } : protocolFault(`invalid ${kind} message: ${body.length} bytes too many`);
}

function bodiless(type: number): Buffer {
  return Buffer.from([type, 0, 0, 0, 4]);
}
