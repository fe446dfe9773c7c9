/** What a session refuses by itself, whatever the statement says. */
import type { Gid } from '../../../src/contract/transaction.ts';
import type { Refusal } from '../../sql/statement.ts';
import type { ProtocolFault } from '../wire/body.ts';

/** What the client hears of a local transaction that was rolled back with its global transaction. */
export function rolledBackAsAWhole(gid: Gid): Refusal {
  return {
    code: '40000',
    message: `global transaction ${gid} has been rolled back, and this local transaction with it`,
    hint: 'Nothing of it was kept. End it with ROLLBACK and begin again, in a new global transaction.',
  };
}

/** Its end was asked for, and something had ended it before. */
export const endedBefore: Refusal = {
  code: '40000',
  message: 'the local transaction had failed before it could be committed',
  hint: 'Nothing of it was kept. Roll back the global transaction, or try the local transaction again.',
};

/** A message that is not what the protocol says. */
export function malformed(fault: ProtocolFault): Refusal {
  return {
    code: fault.code,
    message: fault.message,
    hint: 'The message is malformed: report this to the authors of the driver.',
  };
}

/** Nobody can tell to what a change belongs, and it could be undone by nobody. */
export const ambiguousTrace: Refusal = {
  code: '25000',
  message:
    'several requests of the trace of this statement are being served: to which of them it belongs cannot be told',
  hint: 'Pass the value of the atomesh-gid header on to the database, in a comment or by set_config, or tracestate beside traceparent.',
};

/** The comment in front and the one at the end disagree. */
export const contradictoryComments: Refusal = {
  code: '25000',
  message: 'the comments of this statement name different global transactions, or different operations',
  hint: 'Name one, once.',
};

/** A portal that was bound when the session belonged to another global transaction, or to none; or to a statement nobody can tell. */
export const foreignPortal: Refusal = {
  code: '0A000',
  message:
    'this portal was bound before the session belonged to its global transaction, or to a statement that is not known',
  hint: 'Bind it again: name the gid before the statement is bound. If that was so, prepare the statement again.',
};

/** A message is larger than may be kept, and would have to be. `bytesMax`: the limit, in bytes. */
export function messageTooLarge(bytesMax: number): Refusal {
  return {
    code: '54000',
    message: `a message that may belong to a global transaction is larger than ${bytesMax} bytes`,
    hint: 'Send less at once, or raise limits.statement in the sidecar configuration.',
  };
}

/** Which of two texts the server has under one name cannot be told: it kept the first unless that one failed. */
export const preparedTwice: Refusal = {
  code: '0A000',
  message: 'two different texts were prepared under the name of this statement',
  hint: 'Close a prepared statement before its name is used again, or use another name.',
};

/** The catalogue changed between planning and running. */
export const stalePlan: Refusal = {
  code: '40001',
  message: 'a relation of this statement is not the one that the statement was planned for',
  hint: 'Try the local transaction again: its definition or the search_path has just changed.',
};

/** The gid is set under a name that only a parameter shows. */
export const hiddenGid: Refusal = {
  code: '0A000',
  message: 'atomesh.gid is set through set_config with its name as a parameter',
  hint: "Write the name into the text: select set_config('atomesh.gid', $1, true).",
};

/** A part of a pipeline is carried out already, and what comes now belongs to a global transaction. */
export const namedInPipeline: Refusal = {
  code: '0A000',
  message: 'a gid was named in the middle of a pipeline whose earlier statements already ran without it',
  hint: 'Name the gid in the first statement of the pipeline, or send a Sync before.',
};

/** A defect of ours. */
export const sidecarFailed: Refusal = {
  code: 'XX000',
  message: 'the sidecar failed',
  hint: 'The local transaction is rolled back. Report this with the log of the sidecar.',
};

/** The gid is given at start-up, where it would belong to every local transaction of the connection. */
export const gidAtStartup: Refusal = {
  code: '0A000',
  message: 'atomesh.gid cannot be given in the start-up parameters of a connection',
  hint: "Name it in each local transaction: select set_config('atomesh.gid', $1, true), or a comment.",
};
