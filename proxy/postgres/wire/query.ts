/** The requests that the server answers with a ReadyForQuery of their own: Query, and FunctionCall with its reply. */
import { BodyReader, encoder, type FrameWriter, type ProtocolFault } from './body.ts';
import { BACKEND, FRONTEND } from './frames.ts';

/** The simple protocol: any number of statements in one text, one implicit transaction, one ReadyForQuery. */
export interface Query {
  readonly kind: 'query';
  /** The text in the session's client_encoding. */
  readonly text: Buffer;
}

/** Calls a function by its oid (libpq: PQfn, used for large objects). */
export interface FunctionCall {
  readonly kind: 'function-call';
  readonly functionOid: number;
  /** 0 text, 1 binary: none for all text, one for all, or one for each argument. */
  readonly formats: readonly number[];
  readonly values: readonly (Buffer | null)[];
  readonly resultFormat: number;
}

export interface FunctionCallResponse {
  readonly kind: 'function-call-response';
  readonly value: Buffer | null;
}

export function decodeQuery(body: Buffer): Query | ProtocolFault {
  const from = new BodyReader('Query', body);
  return from.end({ kind: 'query', text: from.cstring() });
}

export function writeQuery(out: FrameWriter, message: Query): void {
  out.begin(FRONTEND.query).cstring(message.text).end();
}

export const encodeQuery: (message: Query) => Buffer = encoder(writeQuery);

export function decodeFunctionCall(body: Buffer): FunctionCall | ProtocolFault {
  const from = new BodyReader('FunctionCall', body);
  return from.end({
    kind: 'function-call',
    functionOid: from.uint32(),
    formats: from.list(2, () => from.int16()),
    values: from.list(4, () => from.value()),
    resultFormat: from.int16(),
  });
}

export function writeFunctionCall(out: FrameWriter, message: FunctionCall): void {
  out
    .begin(FRONTEND.functionCall)
    .int32(message.functionOid)
    .list(message.formats, (format) => out.int16(format))
    .list(message.values, (value) => out.value(value))
    .int16(message.resultFormat)
    .end();
}

export const encodeFunctionCall: (message: FunctionCall) => Buffer = encoder(writeFunctionCall);

export function decodeFunctionCallResponse(body: Buffer): FunctionCallResponse | ProtocolFault {
  const from = new BodyReader('FunctionCallResponse', body);
  return from.end({ kind: 'function-call-response', value: from.value() });
}

export function writeFunctionCallResponse(out: FrameWriter, message: FunctionCallResponse): void {
  out.begin(BACKEND.functionCallResponse).value(message.value).end();
}

export const encodeFunctionCallResponse: (message: FunctionCallResponse) => Buffer = encoder(writeFunctionCallResponse);
