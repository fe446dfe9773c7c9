/** When a request is sent again, for every version of HTTP. */
import type { RetryRule } from '../routes/route.ts';

/**
 * Statuses that say that whoever is behind a gateway was not reached, or could not serve (RFC 9110 §15.6.3 to §15.6.5), and 425: a
 * sidecar's answer while an earlier try of the same branch call is still being served.
 */
const PASSING_STATUSES: ReadonlySet<number> = new Set([425, 502, 503, 504]);

/**
 * True when `rule` allows one more try after `tries`. `status` of the answer, or undefined when there was none. Any other answer is
 * the answer, failure included: only the caller knows what it means.
 */
export function triesAgain(rule: RetryRule | undefined, tries: number, status?: number): boolean {
  if (rule === undefined || tries >= rule.attempts) return false;
  return status === undefined || PASSING_STATUSES.has(status);
}

/**
 * True when a request without a body may have met a kept connection that its server was about to close, and may be sent once more:
 * a safe method, which may be repeated without anybody's leave (RFC 9110 §9.2.2). `code`: of the error that ended it.
 */
export function metStaleConnection(method: string, code: string): boolean {
  return /^(?:GET|HEAD|OPTIONS)$/.test(method) && /^(?:UND_ERR_SOCKET|ECONNRESET|EPIPE)$/.test(code);
}
