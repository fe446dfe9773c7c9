/** The package's public face for programs that talk to a coordinator. */
export { type CoordinatorConnection, connectCoordinator } from './connect.ts';
export type { CoordinatorClient } from './coordinator-client.ts';
export { CodedError, type ErrorBody, type ErrorCode, type Retry } from '../contract/errors.ts';
export type {
  AbortRequest,
  BeginRequest,
  BranchView,
  EnlistAnswer,
  EnlistRequest,
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
} from '../contract/transaction.ts';
export { parseGid } from '../contract/transaction.ts';
