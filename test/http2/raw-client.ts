/** A client of HTTP/2 that sends whatever frames a test wants. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { ExecutionContext } from 'ava';
import { ACK, END_HEADERS, FRAME, frame, frameReader, literals, PREFACE } from '../../bench/http2/frames.ts';
import { until } from '../proxy-http/support.ts';

/** A frame that the server has sent. */
export interface Received {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

export class RawHttp2Client {
  readonly socket: Socket;
  readonly frames: Received[] = [];
  isClosed = false;

  private constructor(socket: Socket) {
    this.socket = socket;
    const read = frameReader((type, flags, stream, payload) => {
      this.frames.push({ type, flags, stream, payload: Buffer.from(payload) });
      if (type === FRAME.SETTINGS && flags !== ACK) socket.write(frame(FRAME.SETTINGS, ACK, 0));
      if (type === FRAME.PING && flags !== ACK) socket.write(frame(FRAME.PING, ACK, 0, payload));
    });
    socket.on('data', read);
    socket.on('error', () => undefined);
    socket.on('close', () => (this.isClosed = true));
  }

  /** Connects, and sends the preface with `settings` unless `first` is what is to be sent first. */
  static async open(t: ExecutionContext, port: number, first?: Buffer): Promise<RawHttp2Client> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    await once(socket, 'connect');
    t.teardown(() => void socket.destroy());
    const client = new RawHttp2Client(socket);
    client.send(first ?? Buffer.concat([PREFACE, frame(FRAME.SETTINGS, 0, 0)]));
    return client;
  }

  send(...frames: readonly Buffer[]): void {
    if (!this.isClosed) this.socket.write(Buffer.concat(frames));
  }

  head(stream: number, fields: readonly string[], flags: number = 0): void {
    this.send(frame(FRAME.HEADERS, END_HEADERS | flags, stream, literals(fields)));
  }

  of(type: number, stream?: number): readonly Received[] {
    return this.frames.filter((one) => one.type === type && (stream === undefined || one.stream === stream));
  }

  /** The code of the RST_STREAM for `stream`, once it has come. */
  async reset(stream: number): Promise<number> {
    await until(() => this.of(FRAME.RST_STREAM, stream).length > 0 || this.isClosed, `stream ${stream} to be reset`);
    return this.of(FRAME.RST_STREAM, stream)[0]?.payload.readUInt32BE(0) ?? -1;
  }

  /** The code of the GOAWAY with which the server ends the connection; -1 when it just ends. */
  async ended(): Promise<number> {
    await until(() => this.isClosed, 'the connection to end');
    return this.of(FRAME.GOAWAY).at(-1)?.payload.readUInt32BE(4) ?? -1;
  }
}
