/** The capturing statements of one session: prepared once for a text that comes again, under reserved names, at most so many. */
import type { Gid } from '../../../src/contract/transaction.ts';
import type { SessionSettings } from '../../sql/planner.ts';
import type { Capture } from '../../sql/statement.ts';
import type { UndoBranch } from '../../sql/work.ts';
import { ownTypes, ownValues } from './capture-run.ts';
import type { Portal } from './statements.ts';
import { extendBind } from '../wire/bind.ts';
import type { ProtocolFault } from '../wire/body.ts';
import { encodeClose } from '../wire/describe.ts';
import { HEADER_BYTES } from '../wire/frames.ts';
import { encodeParse } from '../wire/parse.ts';

/** What is to be sent for a Bind of the client. */
export interface BoundTwin {
  readonly kind: 'bound';
  /** The Parse of the capturing statement, unless the server has it. */
  readonly parse: Buffer | undefined;
  readonly bind: Buffer;
  /** The Parse takes the place of the client's unnamed statement. */
  readonly replacesUnnamed: boolean;
  /** To be called when the Parse failed. */
  readonly unprepared: () => void;
}

interface Twin {
  uses: number;
  name: string | undefined;
}

const TWINS_MAX = 500;
const UNNAMED = Buffer.alloc(0);

export class Twins {
  readonly #settings: SessionSettings;
  readonly #close: (frame: Buffer) => void;
  /** By the plan's own capture, whose identity is cheaper to look up than its text, then by what else makes a difference. */
  readonly #twins = new Map<Capture, Map<string, Twin>>();
  #count = 0;
  #named = 0;

  /** `close` sends a Close of a statement of ours that makes room for another. */
  constructor(settings: SessionSettings, close: (frame: Buffer) => void) {
    this.#settings = settings;
    this.#close = close;
  }

  /** The server has dropped every prepared statement. */
  forget(): void {
    this.#twins.clear();
    this.#count = 0;
  }

  /** The frames that bind the client's portal to the capturing statement instead of its own. */
  bind(of: {
    readonly portal: Portal;
    readonly capture: Capture;
    readonly enter: boolean;
    readonly branch: UndoBranch;
    readonly committed: readonly Gid[];
  }): BoundTwin | ProtocolFault {
    const { capture, portal } = of;
    const sql = of.enter ? capture.sql : capture.sqlWhenEntered;
    const types = [...this.#clientTypes(portal, capture), ...ownTypes(capture.ownParameters)];
    const key = `${of.enter ? 'enter' : 'entered'} ${types.join(',')}`;
    const twin = this.#use(capture, key);
    const isNew = twin.name === undefined;
    // The first time, an unnamed statement of the client's stays unnamed: texts with literals in them never come again.
    const isKept = portal.statement.name !== '' || twin.uses > 1;
    if (isNew && isKept) twin.name = `atomesh_${(this.#named += 1)}`;
    const statement = twin.name === undefined ? UNNAMED : Buffer.from(twin.name);
    const values = ownValues(capture.ownParameters, {
      branch: of.branch,
      timeZone: this.#settings.get('TimeZone') ?? 'UTC',
      committed: of.committed,
    });
    const bind = extendBind(portal.frame.subarray(HEADER_BYTES), {
      statement,
      values,
      ...(capture.returnsRows ? {} : { resultFormats: [] }),
    });
    if (!Buffer.isBuffer(bind)) return bind;
    return {
      kind: 'bound',
      parse: isNew
        ? encodeParse({ kind: 'parse', statement, text: Buffer.from(sql), parameterTypes: types })
        : undefined,
      bind,
      replacesUnnamed: isNew && !isKept,
      unprepared: () => this.#delete(capture, key),
    };
  }

  #clientTypes(portal: Portal, capture: Capture): number[] {
    return Array.from({ length: capture.clientParameters }, (_, index) => portal.statement.types[index] ?? 0);
  }

  #use(capture: Capture, key: string): Twin {
    const twins = this.#twins.get(capture) ?? new Map<string, Twin>();
    let twin = twins.get(key);
    if (twin === undefined) {
      twin = { uses: 0, name: undefined };
      twins.set(key, twin);
      this.#count += 1;
    }
    twin.uses += 1;
    // Last used, last in the map.
    this.#twins.delete(capture);
    this.#twins.set(capture, twins);
    while (this.#count > TWINS_MAX && this.#twins.size > 1) this.#dropOldest();
    return twin;
  }

  #delete(capture: Capture, key: string): void {
    if (this.#twins.get(capture)?.delete(key) === true) this.#count -= 1;
  }

  #dropOldest(): void {
    const [oldest] = this.#twins;
    if (oldest === undefined) return;
    const [capture, twins] = oldest;
    this.#twins.delete(capture);
    this.#count -= twins.size;
    for (const { name } of twins.values()) {
      if (name !== undefined) this.#close(encodeClose({ kind: 'close', target: 'statement', name: Buffer.from(name) }));
    }
  }
}
