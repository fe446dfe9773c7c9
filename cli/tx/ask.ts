/** What the commands that ask a coordinator share. */
import { userInfo } from 'node:os';
import { Command, InvalidArgumentError, Option } from 'commander';
import { connectCoordinator } from '../../src/client/connect.ts';
import type { CoordinatorClient } from '../../src/client/coordinator-client.ts';
import { type Gid, parseGid } from '../../src/contract/transaction.ts';
import { CommandFailed, EXIT } from '../exit.ts';

/** The options that all of them have. */
export interface Common {
  readonly url: string;
  readonly json?: true;
}

const TIMEOUT_MS = 10_000;

/** A command that asks a coordinator. */
export function common(name: string): Command {
  return new Command(name)
    .addOption(
      new Option('--url <url>', 'the coordinator').env('ATOMESH_COORDINATOR_URL').default('http://127.0.0.1:36789'),
    )
    .option('--json', 'as JSON, for programs');
}

/** Asks the coordinator that the options name. */
export async function ask<T>({ url }: Common, question: (client: CoordinatorClient) => Promise<T>): Promise<T> {
  if (!/^https?:\/\//.test(url) || !URL.canParse(url)) throw new CommandFailed(EXIT.usage, `${url} is not an http URL`);
  const token = process.env['ATOMESH_TOKEN'];
  const client = connectCoordinator({ url, timeoutMs: TIMEOUT_MS, ...(token ? { token } : {}) });
  try {
    return await question(client);
  } finally {
    await client.close();
  }
}

/** Who asks, where he does not say: the user of this system. Undefined where the system has no name for him, as in some containers. */
export function systemUser(): string | undefined {
  try {
    return userInfo().username.slice(0, 200);
  } catch {
    return undefined;
  }
}

/** A gid among the arguments. */
export function gid(text: string): Gid {
  const parsed = parseGid(text);
  if (parsed === undefined) throw new InvalidArgumentError('A gid has 1 to 128 of the characters A-Za-z0-9._:{}-.');
  return parsed;
}

/** A text with a line end. */
export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
