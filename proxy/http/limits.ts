/** What one client may make a listener hold, and for how long: the same for every reader of HTTP/1. */

/** What one client may make a listener hold. */
export interface ListenerLimits {
  /** Largest request head in bytes. */
  readonly header: number;
  /** How long a head may take to arrive, in milliseconds: a client that drips it byte by byte is cut off. Default 30,000. */
  readonly headMs?: number;
  /** How long a body may stand still while we are willing to read it, in milliseconds. Default 60,000. */
  readonly bodyIdleMs?: number;
}

/** How long a head may take to arrive, where the limits do not say. */
export const HEAD_MS = 30_000;
/** How long a body may stand still, where the limits do not say. */
export const BODY_IDLE_MS = 60_000;
/** How often readers look for heads that take too long. */
export const HEAD_CHECK_MS = 5_000;
/** Longer than the 60 s after which common load balancers close, so that they are the side that closes. */
export const KEEP_ALIVE_MS = 75_000;
