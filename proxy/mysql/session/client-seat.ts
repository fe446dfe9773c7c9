/** The session's connection for what is done inside a global transaction: asks the server, and answers the client, one command at a time. */
import type { Instant } from '../../../src/contract/transaction.ts';
import { assert } from '../../../src/platform/assert.ts';
import { at, now } from '../../../src/platform/clock.ts';
import { ReplyCollector, type Reply } from '../inside/reply.ts';
import { SessionOver, type Own, type Seat } from '../inside/seat.ts';
import type { Sockets } from '../../relay/sockets.ts';
import { CAPABILITY, has, type Capabilities } from '../wire/capabilities.ts';
import { COMMAND, encodeCommand } from '../wire/commands.ts';
import { encodePackets, packetsIn } from '../wire/frames.ts';
import { encodeQuery } from '../wire/query.ts';
import { parkedConnection, type ParkedConnection } from '../xa/parked-connection.ts';
import { encodeError } from '../wire/outcome.ts';
import { INTERRUPTED } from './answer-reader.ts';
import { OWN, type Asked } from './asked.ts';
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
  /** The client's command goes on, and its answer to whom `asked` says. */
  readonly pass: (asked: Asked) => void;
  readonly sockets: () => Pick<Sockets, 'toClient' | 'keepUpstream' | 'takeUpstream'>;
  /** Values that were sent ahead of the client's command are dropped. */
  readonly dropValues: () => void;
  readonly hangUp: () => void;
  /** The server takes texts of several statements from this session, as its client wants it. */
  readonly takesSeveral: () => boolean;
}

/** COM_SET_OPTION, MYSQL_OPTION_MULTI_STATEMENTS_ON and OFF. */
const [SEVERAL_ON, SEVERAL_OFF] = [0, 1].map((option) =>
  encodePackets(encodeCommand({ kind: 'set-option', option }, 0n), 0),
) as [Buffer, Buffer];

/** How long a text of several statements is waited for before the server is asked something else behind it. */
const PATIENCE_MS = 500;
const PING = encodePackets(encodeCommand({ kind: 'ping' }, 0n), 0);
const INTERRUPTION = encodeError({
  kind: 'error',
  errno: INTERRUPTED,
  sqlState: Buffer.from('70100'),
  message: Buffer.from('Query execution was interrupted'),
});

export class ClientSeat implements Seat {
  readonly #options: SeatOptions;
  /** Of the packet that the client hears next. */
  #sequence = 1;
  /** Those who wait for an answer of the server. */
  readonly #waiting = new Set<(over: SessionOver) => void>();
  /** What is being carried out, in its order; undefined for what the client hears as it comes. */
  readonly #running = new Set<() => Effect | undefined>();
  /** Nothing more is said to the server until it resolves. */
  #held: Promise<void> | undefined;
  #isOver = false;
  /** The connection to the server is somebody else's. */
  #isTaken = false;
  /** The server takes texts of several statements for our own sake: until the client's next command. */
  #isGranted = false;

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

  get takesSeveral(): boolean {
    return this.#options.takesSeveral();
  }

  /** None, in the form that the session's capabilities ask for. */
  get #attributes(): [] | undefined {
    return has(this.#options.capabilities, CAPABILITY.queryAttributes) ? [] : undefined;
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

  /** A statement is being carried out of which nobody has heard anything yet, and that ends no local transaction. */
  get isInterruptible(): boolean {
    // The number of a connection that is gone may be somebody else's.
    if (this.#isOver || this.#isTaken) return false;
    const [first] = this.#running;
    return first?.() === 'inside';
  }

  /** Resolves when the server may be spoken to. */
  async free(): Promise<void> {
    while (this.#held !== undefined) await this.#held;
  }

  /**
   * KILL QUERY is on its way: what runs may be hit by it, and nothing that comes behind. A server may keep it for the next statement, so that
   * there is one of ours. Where it is not known whether it has come, the session ends.
   */
  expectInterruption(over: Promise<boolean>): void {
    const held = Promise.all([this.#held, over]).then(async ([, isOver]) => {
      if (!isOver) this.hangUp();
      await this.#ask([{ sql: 'DO 0' }]).catch(() => undefined);
      if (this.#held === held) this.#held = undefined;
    });
    this.#held = held;
  }

  async ask(statements: readonly Own[]): Promise<readonly Reply[]> {
    if (statements.length === 0) return [];
    if (this.#held !== undefined) await this.free();
    return this.#ask(statements);
  }

  async #ask(statements: readonly Own[]): Promise<readonly Reply[]> {
    this.ungrant();
    const { capabilities, toServer, expect } = this.#options;
    const attributes = this.#attributes;
    const replies = statements.map(({ effect = 'inside' }) => {
      const collector = new ReplyCollector(capabilities, true);
      return this.#answered(
        () => effect,
        (onEnd) => {
          const collect: Asked['collect'] = (role, payload) => collector.take(role, payload);
          expect(COMMAND.query, { by: 'sidecar', effect, collect, onEnd });
        },
      ).then(() => collector.reply);
    });
    const texts = statements.map(({ sql }) =>
      encodePackets(encodeQuery({ kind: 'query', attributes, text: Buffer.from(sql, 'latin1') }), 0),
    );
    if (!this.#isOver) toServer(texts.length === 1 ? (texts[0] as Buffer) : Buffer.concat(texts));
    return Promise.all(replies);
  }

  async script(statements: readonly Own[]): Promise<readonly Reply[]> {
    if (statements.length < 2) return this.ask(statements);
    if (this.#held !== undefined) await this.free();
    const { capabilities, toServer, expect, takesSeveral } = this.#options;
    const replies: Reply[] = [];
    let current = new ReplyCollector(capabilities, true);
    const effects = statements.map(({ effect = 'inside' }): Effect => effect);
    const sql = statements.map((each) => each.sql).join(';\n');
    const query = encodePackets(
      encodeQuery({ kind: 'query', attributes: this.#attributes, text: Buffer.from(sql, 'latin1') }),
      0,
    );
    const grants = !this.#isGranted && !takesSeveral();
    if (grants) expect(COMMAND.setOption, OWN);
    this.#isGranted ||= grants;
    const effectNow = (): Effect => effects[replies.length] ?? 'inside';
    const answered = this.#answered(effectNow, (onEnd) => {
      expect(COMMAND.query, {
        by: 'sidecar',
        get effect() {
          return effectNow();
        },
        collect(role, payload) {
          current.take(role, payload);
          if (role !== 'result-end' && role !== 'end' && role !== 'error') return;
          replies.push(current.reply);
          current = new ReplyCollector(capabilities, true);
        },
        onEnd,
      });
    });
    if (!this.#isOver) toServer(grants ? Buffer.concat([SEVERAL_ON, query]) : query);
    const settled = this.#askedOn();
    const end = await answered.finally(settled);
    if (end?.kind === 'error' && replies.at(-1)?.results.at(-1)?.kind !== 'error') {
      current.take('error', INTERRUPTION);
      replies.push(current.reply);
    }
    return replies;
  }

  /**
   * A server whose statement is killed between two statements of a text says so by nothing but its answer to the next command. So there is
   * one when it takes long. Answers what ends that.
   */
  #askedOn(): () => void {
    const { toServer, expect } = this.#options;
    return at((now() + PATIENCE_MS) as Instant, () => {
      if (this.#isOver || this.#isTaken) return;
      expect(COMMAND.ping, OWN);
      toServer(PING);
    });
  }

  /** A command of the client goes on to the server next: of its texts the server takes one statement each, unless it has asked for more. */
  ungrant(): void {
    if (!this.#isGranted || this.#isOver) return;
    this.#isGranted = false;
    this.#options.expect(COMMAND.setOption, OWN);
    this.#options.toServer(SEVERAL_OFF);
  }

  async relay(effect: Effect): Promise<Heard | undefined> {
    if (this.#held !== undefined) await this.free();
    return this.#answered(undefined, (onEnd) => this.#options.pass({ by: 'client', effect, onEnd }));
  }

  async collect(effect: Effect): Promise<Reply> {
    if (this.#held !== undefined) await this.free();
    const collector = new ReplyCollector(this.#options.capabilities, false);
    await this.#answered(
      () => effect,
      (onEnd) => {
        const collect: Asked['collect'] = (role, payload) => collector.take(role, payload);
        this.#options.pass({ by: 'sidecar', effect, collect, onEnd });
      },
    );
    return collector.reply;
  }

  answer(packets: readonly Buffer[]): void {
    for (const packet of packets) {
      this.#options.sockets().toClient(encodePackets(packet, this.#sequence));
      this.#sequence = (this.#sequence + packetsIn(packet.length)) & 0xff;
    }
  }

  refuse(refusal: Refusal): void {
    this.#options.sockets().toClient(errorPacket(refusal, this.#sequence));
    this.#sequence = (this.#sequence + 1) & 0xff;
    this.#options.dropValues();
  }

  keepServer(isKept: boolean): void {
    this.#options.sockets().keepUpstream(isKept);
  }

  takeServer(): ParkedConnection | undefined {
    this.#isGranted = false;
    const upstream = this.#options.sockets().takeUpstream();
    this.#isTaken = upstream !== undefined;
    return upstream && parkedConnection(upstream, this.#options.capabilities);
  }

  hangUp(): void {
    this.#options.hangUp();
  }

  #answered(
    effect: (() => Effect) | undefined,
    send: (onEnd: (end: Heard | undefined) => void) => void,
  ): Promise<Heard | undefined> {
    assert(!this.#isTaken, 'what is prepared is not spoken to by its session');
    if (this.#isOver) return Promise.reject(new SessionOver());
    // One of its own for each, which a Set tells apart.
    const running = (): Effect | undefined => effect?.();
    return new Promise((resolve, reject) => {
      this.#waiting.add(reject);
      this.#running.add(running);
      send((end) => {
        this.#waiting.delete(reject);
        this.#running.delete(running);
        resolve(end);
      });
    });
  }
}
