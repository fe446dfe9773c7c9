/** Why a transaction was rolled back, for people. */
const REASON_CHARACTERS_MAX = 4000;

/** The reason, of bounded length. */
export function reasonText(reason: string): string {
  return reason.slice(0, REASON_CHARACTERS_MAX).toWellFormed();
}
