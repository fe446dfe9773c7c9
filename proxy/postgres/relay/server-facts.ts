/** What a session learns from messages of the server that go through: its settings, its cancel key, what was discarded. */
import { explainChannelBinding } from '../login/channel-binding.ts';
import { decodeAuthentication, encodeAuthentication, withoutChannelBinding } from '../wire/authentication.ts';
import { decodeBackendKeyData, decodeParameterStatus } from '../wire/backend-state.ts';
import { BACKEND, HEADER_BYTES, type FrameReader } from '../wire/frames.ts';

/** The key that a CancelRequest must carry. */
export interface CancelKey {
  readonly processId: number;
  readonly secret: Buffer;
}

const LETTER_D = 0x44;
const HELD = new Uint8Array(256);
for (const type of [
  BACKEND.parameterStatus,
  BACKEND.backendKeyData,
  BACKEND.authentication,
  BACKEND.copyInResponse,
  BACKEND.commandComplete,
]) {
  HELD[type] = 1;
}

export class ServerFacts {
  /** The parameters that the server reports, by name. */
  readonly settings = new Map<string, string>();
  key: CancelKey | undefined;

  readonly #stripsChannelBinding: boolean;
  #isLoggedIn = false;
  readonly #onCopyIn: () => void;
  readonly #onDiscard: () => void;
  readonly #onDeallocate: () => void;

  constructor(options: {
    readonly stripsChannelBinding: boolean;
    readonly onCopyIn: () => void;
    /** The server has dropped every prepared statement. */
    readonly onDiscard: () => void;
    /** The server has dropped one of them, and does not say which. */
    readonly onDeallocate: () => void;
  }) {
    this.#stripsChannelBinding = options.stripsChannelBinding;
    this.#onCopyIn = options.onCopyIn;
    this.#onDiscard = options.onDiscard;
    this.#onDeallocate = options.onDeallocate;
  }

  /** True for messages that are few and tell something: they are looked at as a whole. Errors are, up to the end of the login. */
  isTelling(type: number): boolean {
    return HELD[type] === 1 || (this.#stripsChannelBinding && !this.#isLoggedIn && type === BACKEND.error);
  }

  /** True when a whole message must be observed. Command tags are many; only DISCARD and DEALLOCATE matter, which begin with D. */
  isWorthALook(reader: FrameReader): boolean {
    if (!this.isTelling(reader.type)) return false;
    return reader.type !== BACKEND.commandComplete || reader.bytes[reader.start + HEADER_BYTES] === LETTER_D;
  }

  /** Looks at a whole message. Answers other bytes for one that must not go through as it came. */
  observe(type: number, frame: Buffer): Buffer | undefined {
    const body = frame.subarray(HEADER_BYTES);
    switch (type) {
      case BACKEND.parameterStatus: {
        const status = decodeParameterStatus(body);
        if (status.kind !== 'fault') this.settings.set(status.name.toString('latin1'), status.value.toString('utf8'));
        return undefined;
      }
      case BACKEND.backendKeyData: {
        const key = decodeBackendKeyData(body);
        if (key.kind !== 'fault') this.key = { processId: key.processId, secret: Buffer.from(key.secret) };
        return undefined;
      }
      case BACKEND.authentication: {
        if (!this.#stripsChannelBinding) return undefined;
        const request = decodeAuthentication(body);
        if (request.kind === 'fault') return undefined;
        this.#isLoggedIn ||= request.method === 'ok';
        return encodeAuthentication(withoutChannelBinding(request));
      }
      case BACKEND.error:
        return this.isTelling(type) ? explainChannelBinding(body) : undefined;
      case BACKEND.copyInResponse:
        this.#onCopyIn();
        return undefined;
      case BACKEND.commandComplete:
        if (body.includes('DISCARD ALL') || body.includes('DEALLOCATE ALL')) this.#onDiscard();
        else if (body.includes('DEALLOCATE')) this.#onDeallocate();
        return undefined;
      default:
        return undefined;
    }
  }
}
