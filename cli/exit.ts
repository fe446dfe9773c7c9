/** How a command ends: the exit codes, and the errors that stand for them. Codes follow sysexits.h where it has one. */
import { CodedError } from '../src/contract/errors.ts';

export const EXIT = {
  ok: 0,
  failure: 1,
  /** The command line is wrong (EX_USAGE). */
  usage: 64,
  /** A defect of ours (EX_SOFTWARE). */
  defect: 70,
  /** The configuration is wrong (EX_CONFIG). */
  config: 78,
} as const;

/** Thrown by a command to end with `exitCode`; the message, which may be empty, goes to standard error as it is. */
export class CommandFailed extends Error {
  readonly exitCode: number;
  constructor(exitCode: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'CommandFailed';
    this.exitCode = exitCode;
  }
}

/** What a person gets to read about `error`: one line, and a second one that says what to do when somebody knows it. */
export function describeError(error: unknown): string {
  if (error instanceof CodedError) return error.hint === undefined ? error.message : `${error.message}\n${error.hint}`;
  if (error instanceof AggregateError && error.message === '') return error.errors.map(describeError).join('\n');
  return error instanceof Error ? error.message : String(error);
}

/**
 * An error that says something about the world (a port in use, a database that refuses) and not about our code: the
 * system, a driver or we gave it a code.
 */
export function isExpected(error: unknown): boolean {
  return error instanceof CodedError || (error instanceof Error && 'code' in error && typeof error.code === 'string');
}
