/**
 * What happens to statements of sessions that belong to a global transaction, and to connections. `entered`: a change of an operation
 * behind the barrier's row. `half`: a local transaction of an operation was refused after another one of it had committed. `escalated`:
 * a change without images, in a local transaction that is going to be prepared. `prepared`: a local transaction was.
 */
export type SqlEvent =
  | 'captured'
  | 'entered'
  | 'escalated'
  | 'prepared'
  | 'refused'
  | 'passed'
  | 'half'
  | 'protocol-error'
  | Unattributed;

/**
 * A statement was carried out, or refused, that named no global transaction while a request of one was being served, so that nobody
 * can tell whether it was a part of that. `ambiguous`: its trace has several. `unknown-trace`: its trace is none that is being served.
 * `none`: it carries nothing.
 */
export type Unattributed = 'ambiguous' | 'unknown-trace' | 'none';
