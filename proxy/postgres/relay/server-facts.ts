/** What a session learns from messages of the server that go through: its settings, its cancel key, what was discarded or defined. */
import { explainChannelBinding } from '../login/channel-binding.ts';
import { decodeAuthentication, encodeAuthentication, withoutChannelBinding } from '../wire/authentication.ts';
import { decodeBackendKeyData, decodeParameterStatus } from '../wire/backend-state.ts';
import { BACKEND, HEADER_BYTES, type FrameReader } from '../wire/frames.ts';

/** The key that a CancelRequest must carry. */
export interface CancelKey {
  readonly processId: number;
  readonly secret: Buffer;
}

const LETTER_A = 0x41;
const LETTER_C = 0x43;
const LETTER_D = 0x44;
const LETTER_L = 0x4c;
const LETTER_R = 0x52;
/**
 * Tags behind which names may mean something else, or what they call may do something else. What a statement is told of tables it
 * checks by their shapes; temporary ones come and go.
 */
const DEFINES = /^(?:ALTER|(?:CREATE|DROP) (?!TABLE|INDEX|SEQUENCE))/;
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
  readonly #onDefined: () => void;
  /** The local transaction has changed definitions, which others see from its end on. */
  #hasDefined = false;

  constructor(options: {
    readonly stripsChannelBinding: boolean;
    readonly onCopyIn: () => void;
    /** The server has dropped every prepared statement. */
    readonly onDiscard: () => void;
    /** The server has dropped one of them, and does not say which. */
    readonly onDeallocate: () => void;
    /** A local transaction has ended that changed what names mean, or what views, functions, types and their like are. */
    readonly onDefined: () => void;
  }) {
    this.#stripsChannelBinding = options.stripsChannelBinding;
    this.#onCopyIn = options.onCopyIn;
    this.#onDiscard = options.onDiscard;
    this.#onDeallocate = options.onDeallocate;
    this.#onDefined = options.onDefined;
  }

  /** True for messages that are few and tell something: they are looked at as a whole. Errors are, up to the end of the login. */
  isTelling(type: number): boolean {
    return HELD[type] === 1 || (this.#stripsChannelBinding && !this.#isLoggedIn && type === BACKEND.error);
  }

  /** True when a whole message must be observed. Command tags are many; DISCARD and DEALLOCATE matter, ALTER, CREATE and DROP. */
  isWorthALook(reader: FrameReader): boolean {
    if (!this.isTelling(reader.type)) return false;
    if (reader.type !== BACKEND.commandComplete) return true;
    const at = reader.start + HEADER_BYTES;
    const first = reader.bytes[at];
    if (first === LETTER_D) return true;
    const second = reader.bytes[at + 1];
    return first === LETTER_C ? second === LETTER_R : first === LETTER_A && second === LETTER_L;
  }

  /** The server is ready, and no local transaction is open. */
  idle(): void {
    if (!this.#hasDefined) return;
    this.#hasDefined = false;
    this.#onDefined();
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
        else if (DEFINES.test(body.toString('latin1'))) this.#hasDefined = true;
        return undefined;
      default:
        return undefined;
    }
  }
}
