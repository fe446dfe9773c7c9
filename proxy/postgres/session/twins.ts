/** The capturing statements of one session: prepared once for a text that comes again, under reserved names, at most so many. */
import type { Gid } from '../../../src/contract/transaction.ts';
import type { SessionSettings } from '../../sql/planner.ts';
import type { Capture } from '../../sql/statement.ts';
import type { UndoBranch } from '../../sql/work.ts';
import { SegmentedCache } from '../segmented-cache.ts';
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
/** Those of one capture, by what else makes a difference. */
type Variants = Map<string, Twin>;

const UNNAMED = Buffer.alloc(0);

export class Twins {
  readonly #settings: SessionSettings;
  /** By the plan's own capture, whose identity is cheaper to look up than its text. */
  readonly #twins: SegmentedCache<Capture, Variants>;
  #named = 0;

  /** `close` sends a Close of a statement of ours that makes room for another. */
  constructor(settings: SessionSettings, close: (frame: Buffer) => void) {
    this.#settings = settings;
    this.#twins = new SegmentedCache({ entries: TWINS_MAX, bytes: TWINS_MAX }, (dropped) => {
      for (const { name } of dropped.values()) {
        if (name !== undefined) close(encodeClose({ kind: 'close', target: 'statement', name: Buffer.from(name) }));
      }
    });
  }

  /** The server has dropped every prepared statement. */
  forget(): void {
    this.#twins.clear();
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
    const key = `${sql === capture.sqlWhenEntered ? 'entered' : 'enter'} ${types.join(',')}`;
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
    const variants: Variants = this.#twins.get(capture, 0) ?? new Map();
    let twin = variants.get(key);
    if (twin === undefined) {
      twin = { uses: 0, name: undefined };
      variants.set(key, twin);
      this.#twins.set(capture, { value: variants, bytes: variants.size, untilMs: Infinity });
    }
    twin.uses += 1;
    return twin;
  }

  #delete(capture: Capture, key: string): void {
    this.#twins.get(capture, 0)?.delete(key);
  }
}
