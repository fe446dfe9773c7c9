/**
 * What happens to statements of sessions that belong to a global transaction, and to connections. `entered`: a change of an operation
 * behind the barrier's row. `unattributed`: a text named no global transaction while a request of one was being served, so that nobody
 * can tell whether it was a part of that.
 */
export type SqlEvent = 'captured' | 'entered' | 'refused' | 'passed' | 'protocol-error' | 'unattributed';
