/** From a call of a gRPC method to a function and back. No call ends without a status, and none with an exception. */
import { type handleUnaryCall, Metadata, status } from '@grpc/grpc-js';
import type { Log } from '../platform/log.ts';

/** Clients limit what they read of headers, Java's to 8 KiB; percent-encoding makes three characters of each byte. */
const DETAILS_BYTES_MAX = 2000;

/** What a method answers. */
export type UnaryReply<Answer> =
  | { readonly kind: 'answer'; readonly message: Answer }
  /** `metadata`: sent along with the status. */
  | {
      readonly kind: 'status';
      readonly code: status;
      readonly details: string;
      readonly metadata?: Readonly<Record<string, string>>;
    };

/** `signal` aborts when the client goes away or the server stops. */
export type UnaryMethod<Request, Answer> = (request: Request, signal: AbortSignal) => Promise<UnaryReply<Answer>>;

/** The handler for the gRPC library. */
export function unary<Request, Answer>(
  method: UnaryMethod<Request, Answer>,
  draining: AbortSignal,
  log: Log,
): handleUnaryCall<Request, Answer> {
  return (call, callback) => {
    const gone = new AbortController();
    const onStop = (): void => gone.abort();
    call.once('cancelled', onStop);
    draining.addEventListener('abort', onStop);
    if (draining.aborted) onStop();
    const answer = async (): Promise<UnaryReply<Answer>> => {
      try {
        return await method(call.request, gone.signal);
      } catch (error) {
        log.error({ err: error, method: call.getPath() }, 'a request met a defect');
        return DEFECT;
      }
    };
    void answer().then((reply) => {
      draining.removeEventListener('abort', onStop);
      if (reply.kind === 'answer') return callback(null, reply.message);
      const metadata = new Metadata();
      for (const [name, value] of Object.entries(reply.metadata ?? {})) metadata.set(name, value);
      callback({ code: reply.code, details: cut(reply.details), metadata });
    });
  };
}

const DEFECT: UnaryReply<never> = {
  kind: 'status',
  code: status.INTERNAL,
  details: 'the coordinator met a defect of its own and has logged the details; query the transaction before you go on',
};

/** At most so many bytes; of a character that does not fit nothing is kept. */
function cut(text: string): string {
  const bytes = Buffer.from(text.toWellFormed());
  if (bytes.length <= DETAILS_BYTES_MAX) return text.toWellFormed();
  let end = DETAILS_BYTES_MAX;
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return bytes.toString('utf8', 0, end);
}
