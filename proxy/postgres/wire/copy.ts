/** COPY: the server's three ways to begin it, the data, which both sides send, and the client's way to fail. CopyDone is in bodiless.ts. */
import { BodyReader, encoder, type FrameWriter, type ProtocolFault } from './body.ts';
import { BACKEND, FRONTEND } from './frames.ts';

export interface CopyResponse {
  /** in: the client sends; out: the server sends; both: streaming replication. */
  readonly kind: 'copy-in-response' | 'copy-out-response' | 'copy-both-response';
  /** 0 text, 1 binary. */
  readonly format: number;
  readonly columnFormats: readonly number[];
}

/** A piece of the stream; from a client its ends mean nothing, from a server it is one row. */
export interface CopyData {
  readonly kind: 'copy-data';
  readonly data: Buffer;
}

export interface CopyFail {
  readonly kind: 'copy-fail';
  /** Becomes part of the server's error message. */
  readonly reason: Buffer;
}

const TYPE: Readonly<Record<CopyResponse['kind'], number>> = {
  'copy-in-response': BACKEND.copyInResponse,
  'copy-out-response': BACKEND.copyOutResponse,
  'copy-both-response': BACKEND.copyBothResponse,
};

export function decodeCopyResponse(kind: CopyResponse['kind'], body: Buffer): CopyResponse | ProtocolFault {
  const from = new BodyReader(kind, body);
  return from.end({ kind, format: from.byte(), columnFormats: from.list(2, () => from.int16()) });
}

export function writeCopyResponse(out: FrameWriter, message: CopyResponse): void {
  out
    .begin(TYPE[message.kind])
    .byte(message.format)
    .list(message.columnFormats, (format) => out.int16(format))
    .end();
}

export const encodeCopyResponse: (message: CopyResponse) => Buffer = encoder(writeCopyResponse);

export function decodeCopyData(body: Buffer): CopyData {
  return { kind: 'copy-data', data: body };
}

/** The same type byte in both directions. */
export function writeCopyData(out: FrameWriter, message: CopyData): void {
  out.begin(FRONTEND.copyData).bytes(message.data).end();
}

export const encodeCopyData: (message: CopyData) => Buffer = encoder(writeCopyData);

export function decodeCopyFail(body: Buffer): CopyFail | ProtocolFault {
  const from = new BodyReader('CopyFail', body);
  return from.end({ kind: 'copy-fail', reason: from.cstring() });
}

export function writeCopyFail(out: FrameWriter, message: CopyFail): void {
  out.begin(FRONTEND.copyFail).cstring(message.reason).end();
}

export const encodeCopyFail: (message: CopyFail) => Buffer = encoder(writeCopyFail);
