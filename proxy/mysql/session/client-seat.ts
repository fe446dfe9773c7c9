/** The session's connection for what is done inside a global transaction: asks the server, and answers the client, one command at a time. */
import { ReplyCollector, type Reply } from '../inside/reply.ts';
import { SessionOver, type Own, type Seat } from '../inside/seat.ts';
import { CAPABILITY, has, type Capabilities } from '../wire/capabilities.ts';
import { COMMAND } from '../wire/commands.ts';
import { encodePackets, packetsIn } from '../wire/frames.ts';
import { encodeQuery } from '../wire/query.ts';
import type { Asked } from './asked.ts';
import type { Binding } from './binding.ts';
import { errorPacket, type Refusal } from './refusals.ts';
import type { Effect, Heard } from './transaction.ts';

export interface SeatOptions {
  readonly binding: Binding;
  readonly capabilities: Capabilities;
  readonly isMariadb: boolean;
  /** Bytes of our own for the server, behind all that the client has said. */
  readonly toServer: (bytes: Buffer) => void;
  /** A command of our own is answered next. */
  readonly expect: (code: number, asked: Asked) => void;
  /** The client's command goes on. `isWanted`: the answer is collected. */
  readonly pass: (asked: Asked) => void;
  readonly toClient: (bytes: Buffer) => void;
  /** Values that were sent ahead of the client's command are dropped. */
  readonly dropValues: () => void;
  readonly hangUp: () => void;
}

export class ClientSeat implements Seat {
  readonly #options: SeatOptions;
  /** Of the packet that the client hears next. */
  #sequence = 1;
  /** Those who wait for an answer of the server. */
  readonly #waiting = new Set<(over: SessionOver) => void>();
  #isOver = false;

  constructor(options: SeatOptions) {
    this.#options = options;
  }

  get binding(): Binding {
    return this.#options.binding;
  }

  get capabilities(): Capabilities {
    return this.#options.capabilities;
  }

  get isMariadb(): boolean {
    return this.#options.isMariadb;
  }

  /** A command of the client is served. `sequence`: what the first packet of its answer has to carry. */
  begin(sequence: number): void {
    this.#sequence = sequence;
  }

  /** The connection is gone. */
  over(): void {
    this.#isOver = true;
    for (const reject of this.#waiting) reject(new SessionOver());
    this.#waiting.clear();
  }

  async ask(statements: readonly Own[]): Promise<readonly Reply[]> {
    if (statements.length === 0) return [];
    const { capabilities, toServer, expect } = this.#options;
    const attributes = has(capabilities, CAPABILITY.queryAttributes) ? [] : undefined;
    const replies = statements.map(({ effect = 'inside' }) => {
      const collector = new ReplyCollector(capabilities, true);
      return this.#answered((onEnd) => {
        const collect: Asked['collect'] = (role, payload) => collector.take(role, payload);
        expect(COMMAND.query, { by: 'sidecar', effect, collect, onEnd });
      }).then(() => collector.reply);
    });
    const texts = statements.map(({ sql }) =>
      encodePackets(encodeQuery({ kind: 'query', attributes, text: Buffer.from(sql, 'latin1') }), 0),
    );
    if (!this.#isOver) toServer(texts.length === 1 ? (texts[0] as Buffer) : Buffer.concat(texts));
    return Promise.all(replies);
  }

  relay(effect: Effect): Promise<Heard | undefined> {
    return this.#answered((onEnd) => this.#options.pass({ by: 'client', effect, onEnd }));
  }

  async collect(effect: Effect): Promise<Reply> {
    const collector = new ReplyCollector(this.#options.capabilities, false);
    await this.#answered((onEnd) => {
      const collect: Asked['collect'] = (role, payload) => collector.take(role, payload);
      this.#options.pass({ by: 'sidecar', effect, collect, onEnd });
    });
    return collector.reply;
  }

  answer(packets: readonly Buffer[]): void {
    for (const packet of packets) {
      this.#options.toClient(encodePackets(packet, this.#sequence));
      this.#sequence = (this.#sequence + packetsIn(packet.length)) & 0xff;
    }
  }

  refuse(refusal: Refusal): void {
    this.#options.toClient(errorPacket(refusal, this.#sequence));
    this.#sequence = (this.#sequence + 1) & 0xff;
    this.#options.dropValues();
  }

  hangUp(): void {
    this.#options.hangUp();
  }

  #answered(send: (onEnd: (end: Heard | undefined) => void) => void): Promise<Heard | undefined> {
    if (this.#isOver) return Promise.reject(new SessionOver());
    return new Promise((resolve, reject) => {
      this.#waiting.add(reject);
      send((end) => {
        this.#waiting.delete(reject);
        resolve(end);
      });
    });
  }
}
