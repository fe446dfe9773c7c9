/** The texts of refusals: what was refused, and the way out. */
import type { Refusal } from '../../sql/statement.ts';

const OUTSIDE = 'Run it outside the global transaction.';

/** SQLSTATE of a refused statement: feature not supported. */
const NOT_SUPPORTED = '0A000';

/** A statement that is refused. `escalates`: for want of images alone, so that an XA transaction could carry it out. */
export interface Refused {
  readonly kind: 'refuse';
  readonly refusal: Refusal;
  readonly escalates: boolean;
}

/** A refusal for want of images. `what` continues "… inside a global transaction". */
export function refuse(what: string, hint: string = OUTSIDE): Refused {
  return {
    kind: 'refuse',
    refusal: {
      code: NOT_SUPPORTED,
      message: `${what} inside a global transaction: its changes could not be undone`,
      hint,
    },
    escalates: true,
  };
}

/** The same for a reading of which it cannot be told what rows it locks. `what` continues "… inside a global transaction". */
export function refuseRead(what: string, hint: string = 'Lock the rows by a plain SELECT of one table.'): Refused {
  const message = `${what} inside a global transaction: whether another one has changed the rows could not be told`;
  return { kind: 'refuse', refusal: { code: NOT_SUPPORTED, message, hint }, escalates: true };
}

/** The same for what no kind of branch can take back: it commits by itself, or leaves the local transaction. */
export function refuseHard(what: string, hint?: string): Refused {
  return { ...refuse(what, hint), escalates: false };
}
