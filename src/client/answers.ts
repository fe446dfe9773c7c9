/** From the coordinator's answers to what callers get: checked as far as callers rely on them. */
import { CodedError, type ErrorCode, httpStatusOf, type Retry } from '../contract/errors.ts';
import type { EnlistAnswer, RunAnswer, TransactionList, TransactionView } from '../contract/messages.ts';

/** Nobody answered, or somebody who is no coordinator. `retry` is `safe`: every request is idempotent. */
export function unreachable(message: string, cause?: unknown): CodedError {
  return new CodedError('COORDINATOR_UNREACHABLE', message, {
    retry: 'safe',
    hint: 'Check that the coordinator runs and that its URL and network are right; then try again.',
    cause,
  });
}

/** The error of an answer that is not 2xx: the coordinator's own, or COORDINATOR_UNREACHABLE when something between answered. */
export function errorOf(status: number, text: string): CodedError {
  const body = parsed(text);
  const error = isObject(body) && isObject(body['error']) ? body['error'] : {};
  const { code, message, hint, retry } = error;
  if (!isErrorCode(code) || typeof message !== 'string') {
    return unreachable(`what answers is no coordinator: HTTP ${status} ${text.slice(0, 200)}`.trimEnd());
  }
  return new CodedError(code, message, {
    retry: isRetry(retry) ? retry : 'ask',
    ...(typeof hint === 'string' ? { hint } : {}),
  });
}

/** Throws `CodedError` COORDINATOR_UNREACHABLE when `text` is not a transaction. */
export function transactionOf(text: string): TransactionView {
  const value = parsed(text);
  return isTransaction(value) ? value : refuse(text);
}

/** Throws `CodedError` COORDINATOR_UNREACHABLE when `text` is not the answer to an enlistment. */
export function enlistAnswerOf(text: string): EnlistAnswer {
  const value = parsed(text);
  const isAnswer = isObject(value) && typeof value['branchId'] === 'string' && typeof value['sequence'] === 'number';
  return isAnswer ? (value as unknown as EnlistAnswer) : refuse(text);
}

/** Throws `CodedError` COORDINATOR_UNREACHABLE when `text` is not the answer to a new run. */
export function runAnswerOf(text: string): RunAnswer {
  const value = parsed(text);
  const isAnswer = isObject(value) && typeof value['run'] === 'number' && Array.isArray(value['steps']);
  return isAnswer ? (value as unknown as RunAnswer) : refuse(text);
}

/** Throws `CodedError` COORDINATOR_UNREACHABLE when `text` is not a list of transactions. */
export function transactionListOf(text: string): TransactionList {
  const value = parsed(text);
  const isList = isObject(value) && Array.isArray(value['transactions']) && value['transactions'].every(isTransaction);
  return isList ? (value as unknown as TransactionList) : refuse(text);
}

function isTransaction(value: unknown): value is TransactionView {
  return (
    isObject(value) &&
    typeof value['gid'] === 'string' &&
    typeof value['status'] === 'string' &&
    Array.isArray(value['branches'])
  );
}

function refuse(text: string): never {
  throw unreachable(`what answers is no coordinator: ${text.slice(0, 200)}`);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

/** `httpStatusOf` is a table of all codes; a newer coordinator may have more. */
function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && typeof httpStatusOf(code as ErrorCode) === 'number';
}

function isRetry(retry: unknown): retry is Retry {
  return retry === 'never' || retry === 'safe' || retry === 'ask';
}
