/** What the server says of itself: ParameterStatus, BackendKeyData, ReadyForQuery, and NotificationResponse, which comes unasked. */
import { BodyReader, encoder, type FrameWriter, type ProtocolFault } from './body.ts';
import { BACKEND } from './frames.ts';
import { SECRET_BYTES_MAX, SECRET_BYTES_MIN } from './startup.ts';

/** A setting of the session that the server reports at startup and whenever it changes. */
export interface ParameterStatus {
  readonly kind: 'parameter-status';
  readonly name: Buffer;
  readonly value: Buffer;
}

/** What a CancelRequest must name. */
export interface BackendKeyData {
  readonly kind: 'backend-key-data';
  readonly processId: number;
  /** 4 bytes in protocol 3.0, 4 to 256 in 3.2. */
  readonly secret: Buffer;
}

/** `I` outside a transaction block, `T` inside one, `E` inside a failed one. */
export type TransactionStatus = 'I' | 'T' | 'E';

export interface ReadyForQuery {
  readonly kind: 'ready-for-query';
  readonly status: TransactionStatus;
}

/** What NOTIFY sends to those who LISTEN. */
export interface Notification {
  readonly kind: 'notification';
  readonly processId: number;
  readonly channel: Buffer;
  readonly payload: Buffer;
}

export function decodeParameterStatus(body: Buffer): ParameterStatus | ProtocolFault {
  const from = new BodyReader('ParameterStatus', body);
  return from.end({ kind: 'parameter-status', name: from.cstring(), value: from.cstring() });
}

export function writeParameterStatus(out: FrameWriter, message: ParameterStatus): void {
  out.begin(BACKEND.parameterStatus).cstring(message.name).cstring(message.value).end();
}

export const encodeParameterStatus: (message: ParameterStatus) => Buffer = encoder(writeParameterStatus);

export function decodeBackendKeyData(body: Buffer): BackendKeyData | ProtocolFault {
  const from = new BodyReader('BackendKeyData', body);
  const processId = from.int32();
  const secret = from.rest();
  if (secret.length < SECRET_BYTES_MIN || secret.length > SECRET_BYTES_MAX) {
    from.fail(`a cancel key of ${secret.length} bytes`);
  }
  return from.end({ kind: 'backend-key-data', processId, secret });
}

export function writeBackendKeyData(out: FrameWriter, message: BackendKeyData): void {
  out.begin(BACKEND.backendKeyData).int32(message.processId).bytes(message.secret).end();
}

export const encodeBackendKeyData: (message: BackendKeyData) => Buffer = encoder(writeBackendKeyData);

export function decodeReadyForQuery(body: Buffer): ReadyForQuery | ProtocolFault {
  const from = new BodyReader('ReadyForQuery', body);
  const status = String.fromCharCode(from.byte());
  if (!isTransactionStatus(status)) {
    from.fail('an unknown transaction status');
    return from.end({ kind: 'ready-for-query', status: 'E' });
  }
  return from.end({ kind: 'ready-for-query', status });
}

/** The three frames there are; not to be written to. */
export const READY_FOR_QUERY: Readonly<Record<TransactionStatus, Buffer>> = {
  I: ready('I'),
  T: ready('T'),
  E: ready('E'),
};

export function decodeNotification(body: Buffer): Notification | ProtocolFault {
  const from = new BodyReader('NotificationResponse', body);
  return from.end({
    kind: 'notification',
    processId: from.int32(),
    channel: from.cstring(),
    payload: from.cstring(),
  });
}

export function writeNotification(out: FrameWriter, message: Notification): void {
  out.begin(BACKEND.notification).int32(message.processId).cstring(message.channel).cstring(message.payload).end();
}

export const encodeNotification: (message: Notification) => Buffer = encoder(writeNotification);

function isTransactionStatus(status: string): status is TransactionStatus {
  return status === 'I' || status === 'T' || status === 'E';
}

function ready(status: TransactionStatus): Buffer {
  return Buffer.from([BACKEND.readyForQuery, 0, 0, 0, 5, status.charCodeAt(0)]);
}
