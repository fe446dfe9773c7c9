/**
 * Loaded by `--import` into a Node.js application that `atomesh run --trace-agent node` starts, before its own code: OpenTelemetry
 * from the application's own packages, with SQL comments switched on, for which there is no variable. It runs in the Node.js of
 * the application (from 20.6 on), so it imports nothing of Atomesh and is plain in what it uses.
 */
import { createRequire, register } from 'node:module';
import { pathToFileURL } from 'node:url';

/** The parts of @opentelemetry/auto-instrumentations-node and sdk-node that are used here. */
interface Agent {
  getNodeAutoInstrumentations(configuration: Readonly<Record<string, object>>): readonly unknown[];
}
interface Sdk {
  readonly NodeSDK: new (options: { readonly instrumentations: readonly unknown[] }) => {
    start(): void;
    shutdown(): Promise<void>;
  };
}

/** The instrumentations that can write comments, and their switch. */
const SQL_COMMENTS = { addSqlCommenterCommentToQueries: true };
/** How long the last spans may take to leave. */
const SHUTDOWN_MS = 2000;

const agentFile = process.env['ATOMESH_TRACE_AGENT'];
if (agentFile !== undefined) start(agentFile);

function start(file: string): void {
  const fromAgent = createRequire(file);
  const agent = fromAgent(file) as Agent;
  const { NodeSDK } = fromAgent('@opentelemetry/sdk-node') as Sdk;
  // Modules that are imported and not required are seen through this hook only.
  const fromSdk = createRequire(fromAgent.resolve('@opentelemetry/sdk-node'));
  register(pathToFileURL(fromSdk.resolve('@opentelemetry/instrumentation/hook.mjs')).href);
  const sdk = new NodeSDK({
    instrumentations: agent.getNodeAutoInstrumentations({
      '@opentelemetry/instrumentation-pg': SQL_COMMENTS,
      '@opentelemetry/instrumentation-mysql2': SQL_COMMENTS,
    }),
  });
  sdk.start();
  process.once('beforeExit', () => void sdk.shutdown().catch(() => undefined));
  process.once('SIGTERM', () => {
    const end = (): void => {
      // Whoever listens to nothing ends by the signal, as without this file.
      if (process.listenerCount('SIGTERM') === 0) process.kill(process.pid, 'SIGTERM');
    };
    const late = setTimeout(end, SHUTDOWN_MS);
    late.unref();
    void sdk.shutdown().then(end, end);
  });
}
