/** The package's public face for programs that talk to a coordinator, or are called by one. */

// The coordinator's native API.
export { type CoordinatorConnection, connectCoordinator } from './connect.ts';
export type { CoordinatorClient } from './coordinator-client.ts';

// Global transactions in code: `docs/client.md`.
export { connectDtm } from './dtm/connect.ts';
export type { DtmClient, DtmConnection, TransactionOptions } from './dtm/client.ts';
export { type Saga, type SagaStep, submitSaga } from './saga.ts';
export { joinTcc, runTcc, type Tcc, type TccBranch } from './tcc.ts';
export { runXa, serveXa, type Xa, type XaBranch } from './xa.ts';
export type { XaDatabase } from './xa/database.ts';
export { mysqlXa, type MysqlXaOptions } from './xa/mysql.ts';
export { postgresXa, type PostgresXaOptions } from './xa/postgres.ts';
export { type Committed, type Message, type MessageStep, newMessage, type NewMessage } from './message.ts';
export { createWorkflows, type RegisteredWorkflow, type Workflows, type WorkflowsOptions } from './workflow.ts';
export type {
  PhaseTwo,
  PhaseTwoWork,
  Workflow,
  WorkflowBranch,
  WorkflowOptions,
  WorkflowProgram,
} from './workflow/program.ts';

// Branches, called and serving.
export type { BranchAnswer, ResultOf } from './branch/answer.ts';
export type { HttpCall } from './branch/call.ts';
export type { GrpcCall } from './branch/grpc.ts';
export { branchListener, type ListenerOptions } from './branch/listener.ts';
export {
  branchOfRequest,
  type BranchReply,
  type BranchRequest,
  serveBehindBarrier,
  serveBranch,
  type ServeOptions,
  serveQueryPrepared,
} from './branch/serve.ts';

// Barriers: `docs/barrier.md`.
export { branchFromMetadata, branchFromQuery } from './barrier/identity.ts';
export { mongoBarrier, type MongoBarrier, type MongoBarrierOptions } from './barrier/mongo.ts';
export { mysqlBarrier, type MysqlBarrierOptions } from './barrier/mysql.ts';
export { postgresBarrier, type PostgresBarrierOptions } from './barrier/postgres.ts';
export {
  type RedisAdjustment,
  type RedisBarrierOptions,
  redisCheckAdjustAmount,
  redisLocalTransaction,
  redisQueryPrepared,
} from './barrier/redis.ts';
export { barrierSql } from './barrier/schema.ts';
export type {
  BarrierChoice,
  BarrierOutcome,
  BarrierStore,
  BranchIdentity,
  BranchOperation,
  CleanOptions,
  TransType,
} from './barrier/types.ts';

// Errors and words.
export { FailureError, OngoingError, resultOfError } from './errors.ts';
export { CodedError, type ErrorBody, type ErrorCode, type Retry } from '../contract/errors.ts';
export type {
  AbortRequest,
  BeginRequest,
  BranchView,
  Callback,
  CallbackView,
  ColumnDiagnosis,
  Diagnosis,
  EnlistAnswer,
  EnlistRequest,
  OperationRequest,
  ResolutionView,
  ResolveRequest,
  ResultRules,
  RowDiagnosis,
  RunAnswer,
  StatusRange,
  StepRequest,
  StepView,
  SubmitRequest,
  TransactionList,
  TransactionView,
} from '../contract/messages.ts';
export type {
  BranchId,
  BranchKind,
  BranchStatus,
  Gid,
  GlobalStatus,
  Instant,
  Mode,
  Operation,
  Resolution,
} from '../contract/transaction.ts';
export { parseGid } from '../contract/transaction.ts';
export { newGid } from '../platform/random.ts';
