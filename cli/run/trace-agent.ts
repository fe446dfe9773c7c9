/**
 * `--trace-agent`: starts an application with OpenTelemetry's automatic instrumentation, which carries the gid from the request
 * that it came with into calls and SQL. Only languages where that takes no more than variables.
 */
import { accessSync, constants, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, delimiter, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CommandFailed, EXIT } from '../exit.ts';
import type { Changes, Variables } from './database-engines.ts';
import { appended } from './environment.ts';

/** `--trace-agent <language>[=<path>]`. */
export interface AgentChoice {
  readonly language: Language | 'auto';
  /** The agent itself, where it is a file that nobody can find: the jar of Java. */
  readonly path?: string;
}

type Language = 'node' | 'python' | 'java';

/** A program and its arguments. */
export type ApplicationCommand = readonly [program: string, ...words: string[]];

/** What an agent is looked for in. */
export interface AgentSurroundings {
  readonly command: ApplicationCommand;
  /** The folder that the application is started in. */
  readonly folder: string;
  readonly variables: Variables;
}

/** What languages people name, and the programs that `auto` knows them by. */
const LANGUAGES: Readonly<Record<Language, RegExp>> = {
  node: /^(?:node|nodejs|npm|npx|yarn|pnpm|tsx)$/,
  python: /^(?:python[\d.]*|uvicorn|gunicorn|hypercorn|flask|fastapi|celery)$/,
  java: /^(?:java|mvnw?|gradlew?)$/,
};
const NODE_AGENT = '@opentelemetry/auto-instrumentations-node';
const PYTHON_AGENT = 'opentelemetry-instrument';

/** Reads the value of `--trace-agent`. Throws `CommandFailed` (64) for a language that has no such switch here. */
export function readAgentChoice(text: string): AgentChoice {
  const [language = '', path] = text.split(/=(.*)/s, 2);
  if (language !== 'auto' && !Object.hasOwn(LANGUAGES, language)) {
    throw new CommandFailed(
      EXIT.usage,
      `atomesh: --trace-agent knows no "${language}"\nIt is one of auto, ${Object.keys(LANGUAGES).join(', ')}; ` +
        'docs/run.md says what to do in other languages.',
    );
  }
  return { language: language as Language | 'auto', ...(path === undefined || path === '' ? {} : { path }) };
}

/**
 * The variables that start the agent in whatever `command` starts. Throws `CommandFailed` (1) that says what to install when the
 * agent is not there.
 */
export function agentVariables(choice: AgentChoice, surroundings: AgentSurroundings): Changes {
  const language = choice.language === 'auto' ? languageOf(surroundings.command[0]) : choice.language;
  return { ...shared(surroundings.variables), ...AGENTS[language](surroundings, choice.path) };
}

const AGENTS: Readonly<Record<Language, (surroundings: AgentSurroundings, path: string | undefined) => Changes>> = {
  node({ command, folder, variables }) {
    if (/auto-instrumentations-node/.test(variables['NODE_OPTIONS'] ?? '')) {
      throw missing('NODE_OPTIONS starts OpenTelemetry already', 'Leave it out of NODE_OPTIONS, or --trace-agent out.');
    }
    // A program that lies elsewhere brings its packages from there.
    const program = command.find((word, index) => index > 0 && isFile(resolve(folder, word)));
    const agent =
      resolved(NODE_AGENT, folder) ??
      (program === undefined ? undefined : resolved(NODE_AGENT, dirname(resolve(folder, program))));
    if (agent === undefined) {
      throw missing(`${NODE_AGENT} is not installed in ${folder}`, `npm install ${NODE_AGENT} @opentelemetry/api`);
    }
    // A URL holds no spaces, so it needs no quotes.
    const preload = new URL(`./node-preload${import.meta.url.slice(-3)}`, import.meta.url);
    return {
      NODE_OPTIONS: appended(variables['NODE_OPTIONS'], `--import=${preload.href}`),
      ATOMESH_TRACE_AGENT: agent,
    };
  },

  python({ folder, variables }) {
    if (!isOnPath(PYTHON_AGENT, variables['PATH'] ?? '')) {
      throw missing(
        `${PYTHON_AGENT} is not on PATH`,
        'pip install opentelemetry-distro opentelemetry-exporter-otlp && opentelemetry-bootstrap -a install',
      );
    }
    // Python imports `sitecustomize` from the first folder that has one. The folder of the application stands there because
    // opentelemetry-instrument does so: an application that is a program of its own, such as uvicorn, finds its modules.
    const preload = fileURLToPath(new URL('python', import.meta.url));
    const known = (variables['PYTHONPATH'] ?? '').split(delimiter).filter((path) => path !== '');
    const others = known.includes(folder) ? known : [folder, ...known];
    return { PYTHONPATH: [preload, ...others].join(delimiter) };
  },

  java({ folder, variables }, path) {
    const jar = path === undefined ? undefined : resolve(folder, path);
    if (jar === undefined || !isFile(jar)) {
      throw missing(
        jar === undefined ? 'the agent of Java is a file that has to be named' : `there is no file ${jar}`,
        '--trace-agent java=/path/to/opentelemetry-javaagent.jar',
      );
    }
    // The JVM takes double quotes around an option in JAVA_TOOL_OPTIONS ("Environment Variables and System Properties").
    const option = /\s/.test(jar) ? `"-javaagent:${jar}"` : `-javaagent:${jar}`;
    return {
      JAVA_TOOL_OPTIONS: appended(variables['JAVA_TOOL_OPTIONS'], option),
      // The name that the agent knows today, and the one that it knew before.
      OTEL_INSTRUMENTATION_COMMON_DB_EXPERIMENTAL_SQLCOMMENTER_ENABLED: 'true',
      OTEL_INSTRUMENTATION_COMMON_EXPERIMENTAL_DB_SQLCOMMENTER_ENABLED: 'true',
    };
  },
};

/** Tracestate and baggage have to travel. Nothing is exported unless somebody has said where to. */
function shared(variables: Variables): Changes {
  const known = (variables['OTEL_PROPAGATORS'] ?? '').split(',').map((name) => name.trim());
  const wanted = ['tracecontext', 'baggage'];
  const others = known.filter((name) => name !== '' && name !== 'none' && !wanted.includes(name));
  const isExporting = Object.keys(variables).some((name) => name.startsWith('OTEL_EXPORTER_'));
  const exporters = ['OTEL_TRACES_EXPORTER', 'OTEL_METRICS_EXPORTER', 'OTEL_LOGS_EXPORTER'];
  return {
    OTEL_PROPAGATORS: [...wanted, ...others].join(','),
    ...(isExporting ? {} : Object.fromEntries(exporters.map((name) => [name, variables[name] ?? 'none']))),
  };
}

function languageOf(program: string): Language {
  const name = basename(program);
  const found = Object.entries(LANGUAGES).find(([, programs]) => programs.test(name));
  if (found === undefined) {
    throw missing(
      `cannot tell the language of ${name}`,
      `Name it: --trace-agent ${Object.keys(LANGUAGES).join(', --trace-agent ')}`,
    );
  }
  return found[0] as Language;
}

function missing(problem: string, remedy: string): CommandFailed {
  return new CommandFailed(EXIT.failure, `atomesh: --trace-agent: ${problem}\n${remedy}`);
}

/** The file of a package as an application in `folder` finds it. */
function resolved(name: string, folder: string): string | undefined {
  try {
    return createRequire(join(folder, 'application.js')).resolve(name);
  } catch {
    return undefined;
  }
}

function isOnPath(program: string, path: string): boolean {
  return path
    .split(delimiter)
    .filter((folder) => folder !== '')
    .some((folder) => isFile(join(folder, program), constants.X_OK));
}

function isFile(path: string, mode: number = constants.R_OK): boolean {
  try {
    accessSync(path, mode);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
