/**
 * A client's connection in the lane: plain requests, one at a time and in their order. The first request that is not plain goes, with
 * everything behind it and before anything is decided about it, to node's server, where the connection stays.
 */
import type { Socket } from 'node:net';
import type { CodedError } from '../../../src/contract/errors.ts';
import { monotonicSeconds } from '../../../src/platform/clock.ts';
import type { Log } from '../../../src/platform/log.ts';
import { messageRefused, notServed, sendRawError } from '../../http/errors.ts';
import type { Exchange, ExchangeKeeper, Listener, RequestHandler } from '../../http/listener.ts';
import type { AnswerMessage, RequestMessage } from '../../http/message.ts';
import { LaneAnswer, type AnswerLine } from './answer.ts';
import { readPlainRequest } from './plain-request.ts';
import { LaneBody, LaneRequest } from './request.ts';

/** What all connections of a lane have in common. */
export interface LaneParts {
  /** Largest head of a request, in bytes. */
  readonly headBytesMax: number;
  /** How long a body may stand still while it is wanted, in milliseconds. */
  readonly bodyIdleMs: number;
  readonly log: Log;
  readonly onRequest: RequestHandler;
}

/** Bytes behind a request that is being answered, above which no more are read. */
const BEHIND_BYTES_MAX = 16_384;
/** A head that comes in more pieces than this is node's: putting it together again and again would cost more than it saves. */
const PIECES_MAX = 8;
/** A head that leaves HTTP. */
const LEAVES_HTTP = /^(?:CONNECT |GET [^]*\r\nupgrade:[ \t]*websocket[ \t]*\r\n)/i;

export class LaneConnection implements AnswerLine, ExchangeKeeper {
  readonly socket: Socket;
  private readonly parts: LaneParts;
  private readonly listener: Listener;
  private readonly forget: (connection: LaneConnection) => void;
  /** Bytes that have come and belong to no request yet. */
  private rest: Buffer | undefined = undefined;
  /** How many pieces the rest has come in. */
  private pieces = 0;
  /** `over`: nothing that still comes is read as a request. */
  private state: 'reading' | 'answering' | 'over' = 'reading';
  private answer: LaneAnswer | undefined = undefined;
  private exchange: Exchange | undefined = undefined;
  /** The body of the request that is being answered, as long as it comes. */
  private body: LaneBody | undefined = undefined;
  /** Times that the lane has looked at it since it began to wait for (the rest of) a head. */
  private looks = 0;

  /** `forget` is called once, when the connection is no longer the lane's. */
  constructor(socket: Socket, parts: LaneParts, listener: Listener, forget: (connection: LaneConnection) => void) {
    this.socket = socket;
    this.parts = parts;
    this.listener = listener;
    this.forget = forget;
  }

  /** `first`: what has been read of it. */
  start(first: Buffer): void {
    this.socket.on('data', this.onData).on('end', this.onEnd).on('timeout', this.onTimeout).once('close', this.onClose);
    this.socket.resume();
    this.read(first);
  }

  /** Ends a connection on which nothing is being answered, once its client has read what it was sent; after an answer, it ends by itself. */
  drain(): void {
    if (this.state !== 'reading') return;
    this.state = 'over';
    this.end();
  }

  /** Called at regular intervals. After `headLooks` an unfinished head has had its time, after `idleLooks` an idle connection. */
  look(headLooks: number, idleLooks: number): void {
    if (this.state !== 'reading') return;
    this.looks += 1;
    const isHeadAwaited = this.rest !== undefined && !this.socket.writableNeedDrain;
    if (isHeadAwaited && this.looks > headLooks) this.giveUp('ERR_HTTP_REQUEST_TIMEOUT');
    else if (this.looks > idleLooks) this.socket.destroy();
  }

  isDraining(): boolean {
    return this.listener.isDraining();
  }

  hold(_socket: Socket, exchange: Exchange): void {
    this.exchange = exchange;
    if (this.socket.destroyed) exchange.clientLeft();
  }

  release(_socket: Socket, exchange: Exchange): void {
    if (this.exchange === exchange) this.exchange = undefined;
  }

  refuse(request: RequestMessage, response: AnswerMessage, startedAt: number, error: CodedError): void {
    this.listener.refuse(request, response, startedAt, error);
  }

  ended(request: RequestMessage, status: number, startedAt: number): void {
    this.listener.ended(request, status, startedAt);
  }

  answered(isLast: boolean): void {
    const isOver = isLast || this.state === 'over' || this.listener.isDraining();
    this.state = isOver ? 'over' : 'reading';
    this.answer = undefined;
    this.looks = 0;
    if (isOver) this.end();
    else if (this.socket.writableNeedDrain) this.awaitReader();
    // The exchange that was answered is not over before this returns.
    else if (this.rest !== undefined) process.nextTick(this.readOn);
  }

  /** Ends a connection that is over, once what was written has gone out. What still comes is dropped: left unread, it would make the end a reset. */
  private end(): void {
    this.socket.resume();
    this.socket.destroySoon();
  }

  /** As behind node's server: a client that does not read its answers gets no further ones. */
  private awaitReader(): void {
    this.socket.pause();
    this.socket.once('drain', this.readOn);
  }

  private readonly onData = (chunk: Buffer): void => {
    if (this.body === undefined) return this.onHeadData(chunk);
    const behind = this.body.receive(chunk);
    if (this.body.left > 0) return;
    this.body = undefined;
    this.socket.setTimeout(0);
    if (behind !== undefined) this.onHeadData(behind);
  };

  private onHeadData(chunk: Buffer): void {
    if (this.state === 'over') return;
    const bytes = this.rest === undefined ? chunk : Buffer.concat([this.rest, chunk]);
    if (this.state === 'reading') return this.read(bytes);
    this.rest = bytes;
    this.pieces += 1;
    // As behind node's server: no client has a reason to send this before it is answered.
    if (this.pieces <= PIECES_MAX && leavesHttp(bytes)) this.socket.destroy();
    else if (bytes.byteLength > BEHIND_BYTES_MAX) this.socket.pause();
  }

  /** A client that closes its end has left, as it has for node's server, which says so to one that has not sent all of a request. */
  private readonly onEnd = (): void => {
    const isHeadCut = this.state === 'reading' && this.rest !== undefined;
    const isBodyCut = this.state === 'answering' && this.body !== undefined && this.answer?.headersSent !== true;
    if (isHeadCut || isBodyCut) return this.giveUp('HPE_INVALID_EOF_STATE');
    this.state = 'over';
    this.socket.end();
  };

  private readonly onClose = (): void => {
    this.forget(this);
    this.body?.destroy(new Error('the client has left'));
    this.exchange?.clientLeft();
  };

  /** A client that sends nothing of a body that is wanted. One that we do not read ourselves is not its fault. */
  private readonly onTimeout = (): void => {
    if (this.body?.readableFlowing === true) this.socket.destroy();
  };

  private readonly readOn = (): void => {
    const { rest, socket } = this;
    if (this.state !== 'reading' || socket.destroyed) return;
    this.rest = undefined;
    socket.resume();
    if (rest !== undefined) this.read(rest);
  };

  /** Serves the request that `bytes` begin with, while none is being answered. */
  private read(bytes: Buffer): void {
    const { headBytesMax } = this.parts;
    const request = readPlainRequest(bytes, headBytesMax);
    if (request === 'more' && this.pieces < PIECES_MAX) {
      if (this.rest === undefined) this.looks = 0;
      this.rest = bytes;
      this.pieces += 1;
      return;
    }
    if (typeof request === 'string') return this.handOver(bytes);
    const { headBytes, length } = request;
    const behind = bytes.byteLength - headBytes;
    // Who sends requests without waiting for answers is served by node's server, which reads them all.
    if (behind > length) return this.handOver(bytes);
    this.rest = undefined;
    this.pieces = 0;
    this.state = 'answering';
    let body: Buffer | LaneBody | undefined;
    if (behind < length) body = this.awaitBody(length, bytes.subarray(headBytes));
    else if (length > 0) body = bytes.subarray(headBytes);
    const answer = new LaneAnswer(this, request.method);
    this.answer = answer;
    this.serve(new LaneRequest(request, body, this.socket), answer);
  }

  private awaitBody(length: number, first: Buffer): LaneBody {
    const body = new LaneBody(length, this.socket);
    this.body = body;
    if (first.byteLength > 0) body.receive(first);
    this.socket.setTimeout(this.parts.bodyIdleMs);
    return body;
  }

  private serve(request: LaneRequest, answer: LaneAnswer): void {
    try {
      this.parts.onRequest(request, answer, this);
    } catch (cause) {
      this.parts.log.error({ err: cause }, 'a defect: a request could not be served');
      this.refuse(request, answer, monotonicSeconds(), notServed(cause));
      // An answer that has begun, and that nobody goes on with, is not to be taken for a whole one.
      if (this.answer === answer) this.socket.destroy();
    }
  }

  /** Says what is wrong with a request that is not whole, by the code of node's parser, and ends the connection. */
  private giveUp(code: string): void {
    this.state = 'over';
    this.rest = undefined;
    sendRawError(this.socket, messageRefused(code));
  }

  private handOver(bytes: Buffer): void {
    const { socket } = this;
    this.state = 'over';
    socket.off('data', this.onData).off('end', this.onEnd).off('timeout', this.onTimeout).off('close', this.onClose);
    this.forget(this);
    socket.pause();
    this.listener.readByNode(socket, bytes);
  }
}

function leavesHttp(bytes: Buffer): boolean {
  const end = bytes.indexOf('\r\n\r\n');
  return end !== -1 && LEAVES_HTTP.test(bytes.toString('latin1', 0, end + 2));
}
