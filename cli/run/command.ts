/** `atomesh run`: starts an application with its sidecar, so that its calls and its SQL pass through it. */
import { Command, InvalidArgumentError } from 'commander';
import { createServer, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import { constants } from 'node:os';
import { CommandFailed, EXIT } from '../exit.ts';
import type { Variables } from './database-engines.ts';
import { isDatabaseUrl, type NamedVariables } from './database-variables.ts';
import { applicationEnvironment, type ApplicationEnvironment } from './environment.ts';
import type { SidecarFacts } from './facts.ts';
import { type Output, startApplication, startSidecar } from './processes.ts';
import { type Outcome, supervise } from './supervise.ts';
import { type AgentChoice, agentVariables, type ApplicationCommand, readAgentChoice } from './trace-agent.ts';

interface RunOptions {
  readonly config: string;
  readonly port?: number;
  readonly env: readonly string[];
  /** True without a language. */
  readonly traceAgent?: AgentChoice | true;
  readonly prefix?: boolean;
}

/** What shells answer for a command that is not there, and for one that cannot be carried out. */
const NOT_FOUND = 127;
const NOT_EXECUTABLE = 126;
/** The system's word for "there is no such file". */
const ABSENT: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR']);
/** By these this command ends as its application did; the others would leave a core dump of the wrong program. */
const RAISED: ReadonlySet<NodeJS.Signals> = new Set(['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGKILL']);
/** The kernel keeps signals away from the first process of a container: then the exit code says it. */
const RAISE_MS_MAX = 500;

export const runCommand: Command = new Command('run')
  .description('start an application with its sidecar, and lead its calls and its SQL through it')
  .usage('--config <file> [options] -- <command> [arguments…]')
  .requiredOption('-c, --config <file>', 'the options of the sidecar')
  .option('--port <port>', 'PORT for the application and for ${env:PORT} in the file; 0 chooses a free one', readPort)
  .option(
    '--env <name[=database]>',
    'a variable with the URL of a database that the sidecar knows under another address; may be repeated',
    (name: string, names: readonly string[]) => [...names, name],
    [],
  )
  .option('--trace-agent [language]', 'start OpenTelemetry in it: auto, node, python, java=<jar>', readAgentChoice)
  .option('--prefix', 'name the process before each line of output; by default on a terminal only')
  .option('--no-prefix', 'pass output on as it is')
  .argument('<command...>', 'the application, after --')
  .action(async (command: [string, ...string[]], options: RunOptions) => run(command, options));

async function run(command: ApplicationCommand, options: RunOptions): Promise<void> {
  const inherited = definedOnly(process.env);
  const variables = options.port === undefined ? inherited : { ...inherited, PORT: String(await portOf(options.port)) };
  for (const entry of options.env) checkNamed(entry, variables);
  // Without a language commander asks nobody what it means.
  const choice = options.traceAgent === true ? readAgentChoice('auto') : options.traceAgent;
  const agent = choice && agentVariables(choice, { command, folder: process.cwd(), variables });

  const output: Output = (options.prefix ?? process.stdout.isTTY) ? 'prefixed' : 'plain';
  const isInteractive = process.stdin.isTTY;
  const say = (text: string): void => {
    process.stderr.write(`${output === 'prefixed' ? '[atomesh] ' : ''}atomesh run: ${text}\n`);
  };
  const outcome = await supervise({
    startSidecar: () => startSidecar(options.config, variables, output),
    startApplication: (facts) => {
      const environment = applicationEnvironment(variables, facts, {
        named: databasesOf(options.env, facts),
        ...(agent === undefined ? {} : { agent }),
      });
      for (const line of announced(command[0], facts, environment)) say(line);
      return startApplication(command, environment.variables, { output, isInteractive });
    },
    isInteractive,
    say,
  });
  await endAs(outcome, command[0]);
}

/** What a person should know before the application starts. Names of variables only: their values may be secrets. */
function announced(
  program: string,
  { service }: SidecarFacts,
  { changed, left, replaced }: ApplicationEnvironment,
): readonly string[] {
  return [
    `the sidecar of ${service} is ready; starting ${program} with ${changed.join(', ')}`,
    ...left.map((one) => `${one} is no database of this sidecar: what goes there is in no global transaction`),
    ...replaced.map((name) => `${name} was set: calls go through the sidecar now, and from there directly`),
  ];
}

/** The process ends as the application did: with its code, or by its signal. */
async function endAs(outcome: Outcome, program: string): Promise<void> {
  if (outcome.kind === 'sidecar') {
    process.exitCode = outcome.code;
  } else if (outcome.kind === 'stopped') {
    await raise(outcome.signal);
  } else if (outcome.ending.kind === 'exited') {
    process.exitCode = outcome.ending.code;
  } else if (outcome.ending.kind === 'killed') {
    await raise(outcome.ending.signal);
  } else {
    const { code } = outcome.ending;
    if (ABSENT.has(code)) throw new CommandFailed(NOT_FOUND, `atomesh: ${program}: command not found`);
    throw new CommandFailed(NOT_EXECUTABLE, `atomesh: ${program}: cannot be executed (${code})`);
  }
}

async function raise(signal: NodeJS.Signals): Promise<void> {
  if (RAISED.has(signal)) {
    process.kill(process.pid, signal);
    await new Promise((resolve) => setTimeout(resolve, RAISE_MS_MAX));
  }
  process.exitCode = 128 + constants.signals[signal];
}

function readPort(text: string): number {
  const port = Number(text);
  if (!/^\d{1,5}$/.test(text) || port > 65_535) throw new InvalidArgumentError('A port is 0 to 65535.');
  return port;
}

/** A port that is free now. Between now and the application's start another process may take it; then that start fails. */
async function portOf(port: number): Promise<number> {
  if (port !== 0) return port;
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port: free } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  return free;
}

function checkNamed(entry: string, variables: Variables): void {
  const [name = ''] = entry.split('=', 1);
  const value = variables[name];
  if (value !== undefined && isDatabaseUrl(value)) return;
  const problem =
    value === undefined ? 'is not set' : 'does not hold the URL of a database, such as postgres://host/db';
  throw new CommandFailed(EXIT.usage, `atomesh: --env ${name}: the variable ${name} ${problem}`);
}

/** Which database each `--env` means; without a name, the only one there is. Throws `CommandFailed` (64). */
function databasesOf(entries: readonly string[], { databases }: SidecarFacts): NamedVariables {
  return new Map(
    entries.map((entry) => {
      const [name = '', wanted] = entry.split('=', 2);
      const candidates = databases.filter((database) => wanted === undefined || database.name === wanted);
      const [found, another] = candidates;
      if (found === undefined || another !== undefined) {
        const names = databases.map((database) => database.name).join(', ') || 'none';
        throw new CommandFailed(
          EXIT.usage,
          `atomesh: --env ${entry}: which database is it? The sidecar has ${names}; write --env ${name}=<database>`,
        );
      }
      return [name, found] as const;
    }),
  );
}

function definedOnly(environment: NodeJS.ProcessEnv): Variables {
  return Object.fromEntries(
    Object.entries(environment).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}
