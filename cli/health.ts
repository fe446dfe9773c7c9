/** `atomesh health`: asks a listener whether it is well, for containers that have no other program to do so. */
import { Command } from 'commander';
import { request } from 'undici';
import { CommandFailed, describeError, EXIT } from './exit.ts';

const ANSWER_MS_MAX = 3000;

export const healthCommand: Command = new Command('health')
  .description('exit code 0 when the URL answers 2xx within 3 s, else 1')
  .argument('[url]', 'what to ask', 'http://127.0.0.1:36789/readyz')
  .action(async (url: string) => {
    if (!/^https?:\/\//.test(url) || !URL.canParse(url))
      throw new CommandFailed(EXIT.usage, `${url} is not an http URL`);
    let status: number;
    try {
      const { statusCode, body } = await request(url, { signal: AbortSignal.timeout(ANSWER_MS_MAX) });
      await body.dump();
      status = statusCode;
    } catch (error) {
      throw new CommandFailed(EXIT.failure, `${url} did not answer: ${describeError(error)}`, { cause: error });
    }
    if (status < 200 || status > 299) throw new CommandFailed(EXIT.failure, `${url} answered ${status}`);
  });
