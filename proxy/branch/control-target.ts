/** What a path of the control listener means. Pure. */

/** What ends an undo branch. */
export type FinishOperation = 'commit' | 'rollback';

/** What is asked of which service; `finish` ends a branch, `check` and `run` are asked of the initiator. */
export type ControlTarget =
  | {
      readonly kind: 'finish';
      readonly service: string;
      /** The database. */
      readonly name: string;
      readonly operation: FinishOperation;
      /** The run of a workflow that the branch belongs to. */
      readonly run: number | undefined;
    }
  | { readonly kind: 'check' | 'run'; readonly service: string };

const DATABASE =
  /^\/v1\/services\/([a-z0-9][a-z0-9._-]{0,62})\/databases\/([a-z0-9][a-z0-9_-]{0,62})\/(commit|rollback)(?:\?run=([1-9][0-9]{0,5}))?$/;
const INITIATOR = /^\/v1\/services\/([a-z0-9][a-z0-9._-]{0,62})\/(messages\/check|workflows\/run)$/;

/** Reads path and query; undefined when they mean nothing. */
export function readTarget(url: string): ControlTarget | undefined {
  const [, owner, name, operation, run] = DATABASE.exec(url) ?? [];
  if (owner !== undefined && name !== undefined) {
    return {
      kind: 'finish',
      service: owner,
      name,
      operation: operation === 'commit' ? 'commit' : 'rollback',
      run: run === undefined ? undefined : Number(run),
    };
  }
  const [, service, what] = INITIATOR.exec(url) ?? [];
  return service === undefined ? undefined : { kind: what === 'messages/check' ? 'check' : 'run', service };
}
