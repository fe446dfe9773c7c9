/** What stands behind the inbound listener: the barrier's operations, messages and workflows of the service. Composition, no logic. */
import type { CoordinatorClient } from '../src/client/coordinator-client.ts';
import type { Gid } from '../src/contract/transaction.ts';
import { now } from '../src/platform/clock.ts';
import type { Log } from '../src/platform/log.ts';
import { newId } from '../src/platform/random.ts';
import type { ActiveRequests } from './binding/active-requests.ts';
import { openCarriers } from './binding/from-headers.ts';
import { resourceOf } from './sql/work.ts';
import type { FinishResult } from './branch/finish.ts';
import type { Database } from './database.ts';
import type { OperationDesk } from './http/admission.ts';
import type { HttpMetrics } from './http/metrics.ts';
import type { SidecarOptions } from './options.ts';
import type { Journal } from './outbound/journal.ts';
import { WorkflowDesk } from './workflow/desk.ts';
import { openJournal } from './workflow/journal.ts';
import { openApplication } from './workflow/send.ts';
import type { MessageDesk } from './inbound/begin-message.ts';
import { openOperations } from './inbound/operations.ts';

export interface DesksParts {
  readonly options: SidecarOptions;
  readonly inbound: NonNullable<SidecarOptions['inbound']>;
  /** The base URL of the control listener, as the coordinator sees it. */
  readonly controlUrl: string;
  readonly coordinator: CoordinatorClient;
  readonly databases: ReadonlyMap<string, Database>;
  readonly activeRequests: ActiveRequests;
  readonly metrics: HttpMetrics;
  readonly log: Log;
}

export interface Desks {
  readonly operations: OperationDesk;
  /** Without a database that carries barriers there are no messages. */
  readonly message: MessageDesk | undefined;
  readonly workflow: WorkflowDesk;
  /** What outbound asks about the calls of a workflow. */
  readonly journal: Journal;
}

/** Opens the desks of the service. The databases are started. */
export function openDesks(parts: DesksParts): Desks {
  const { options, inbound, controlUrl, coordinator, databases, metrics, log } = parts;
  const own = `${controlUrl}/v1/services/${options.service}`;
  const database = barrierOf(databases);
  const { barrier, rows } = database?.operations ?? {};
  const target = new URL(inbound.target);
  const bodyBytesMax = options.limits.body;
  const workflow = new WorkflowDesk({
    service: options.service,
    coordinator,
    runUrl: `${own}/workflows/run`,
    bodyBytesMax,
    application: openApplication({
      origin: target.origin,
      basePath: target.pathname.replace(/\/$/, ''),
      timeoutMs: inbound.timeout,
      bodyBytesMax,
    }),
    undo: (gid, run) => Promise.all([...databases.values()].map((database) => undone(database, gid, run))),
    bind: binderOf(parts),
    metrics,
    log,
  });
  return {
    operations: openOperations({
      here: database?.operations && {
        ...database.operations,
        abandon: (operation) => database.abandonOperation(operation),
      },
      results: inbound.results,
      log,
    }),
    message: barrier && rows && { barrier, rows, checkUrl: `${own}/messages/check` },
    workflow,
    journal: openJournal({ runs: workflow.runs, bodyBytesMax, log }),
  };
}

function barrierOf(databases: ReadonlyMap<string, Database>): Database | undefined {
  return [...databases.values()].find(({ operations }) => operations !== undefined);
}

async function undone(database: Database, gid: Gid, run: number): Promise<FinishResult> {
  if ((await database.beforeFinish(gid, 'rollback', run)) === 'wait') {
    return { result: 'ongoing', detail: `a local transaction of it is still open in ${database.name}` };
  }
  const result = await database.finisher.rollback(gid, resourceOf(database.resource, run));
  if (result.result === 'success') database.finished(gid, run);
  return result;
}

/** Does to a request that the sidecar makes itself what the listener does to those that arrive. */
function binderOf({ options, activeRequests }: DesksParts): ConstructorParameters<typeof WorkflowDesk>[0]['bind'] {
  const carriers = openCarriers(options.propagation, newId);
  return (headers, mark) => {
    const marked = carriers.begin(headers, mark);
    const release = activeRequests.add(marked.traceId, mark, now());
    return release && { headers: marked.headers, release };
  };
}
