/** What a session keeps of each command until it is answered. */
import type { Epoch } from '../inside/past/past.ts';
import type { PacketRole } from '../wire/answers.ts';
import type { Effect, Heard } from './transaction.ts';

export interface Asked {
  /** `sidecar`: the client does not hear the answer. */
  readonly by: 'client' | 'sidecar';
  /** What it does to a local transaction, as far as it was looked at. */
  readonly effect: Effect;
  /** The text of a statement that is prepared; undefined for other commands, and where it was too large to be kept. */
  readonly prepared?: Buffer;
  /** What it was prepared under. */
  readonly epoch?: Epoch | undefined;
  /** The session is like new behind it, if it succeeds: COM_RESET_CONNECTION, COM_CHANGE_USER. */
  readonly resets?: true;
  /** Takes the packets of the answer, each whole and its own to keep; nothing of it goes to the client. */
  readonly collect?: (role: PacketRole, payload: Buffer) => void;
  /** The answer has ended so, and its last byte has gone on. */
  readonly onEnd?: (end: Heard | undefined) => void;
}

/** Most commands: nothing was looked at. */
export const UNSEEN: Asked = { by: 'client', effect: 'unknown' };
/** A command of the sidecar's own that changes nothing. */
export const OWN: Asked = { by: 'sidecar', effect: 'inside' };
