/** Services that run workflows, and the deaths of their processes. */
import {
  type BranchRequest,
  CodedError,
  createWorkflows,
  type DtmClient,
  type RegisteredWorkflow,
  serveBranch,
  type Workflows,
} from '../../src/client/index.ts';
import type { DtmBranch, DtmRequest } from '../../src/client/dtm/client.ts';
import { type Service, startService, startWorld, type World } from './support.ts';

/** A coordinator, and the place where it finds whichever process runs the workflows at the time. */
export interface Host extends AsyncDisposable {
  readonly world: World;
  readonly callback: string;
  /** The coordinator's calls, `<workflow's name> 00 /workflows` each. */
  readonly callbacks: readonly string[];
  /** A process that has just started and has registered its programs; the coordinator's calls go to it from now on. */
  boot<Input, Result>(
    register: (workflows: Workflows) => RegisteredWorkflow<Input, Result>,
    dtm?: DtmClient,
  ): RegisteredWorkflow<Input, Result>;
}

/** Starts the coordinator; nobody answers its calls before the first `boot`. */
export async function startHost(): Promise<Host> {
  const stack = new AsyncDisposableStack();
  const world = stack.use(await startWorld());
  let current: Workflows | undefined;
  const door = stack.use(
    await startService({
      '/workflows': (request) => current?.serve(request) ?? Promise.resolve({ status: 503, headers: {}, body: '' }),
    }),
  );
  const callback = `${door.url}/workflows`;
  return {
    world,
    callback,
    callbacks: door.calls,
    boot: (register, dtm = world.dtm) => {
      const workflows = createWorkflows(dtm, { callback });
      const registered = register(workflows);
      current = workflows;
      return registered;
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** At which of its words to the coordinator a process dies, counted from 1. */
export interface Death {
  readonly at: number;
  /** `before`: the coordinator does not get the word any more. `after`: it does, and nobody hears its answer. */
  readonly when: 'before' | 'after';
}

/** The connection of a process that dies; `isDead` says whether it came to that. */
export function dyingDtm(dtm: DtmClient, death: Death): DtmClient & { readonly isDead: () => boolean } {
  let said = 0;
  let isDead = false;
  let hasBegun = false;
  const mortal =
    <Argument, Answer>(say: (argument: Argument) => Promise<Answer>, counts = (): boolean => true) =>
    async (argument: Argument): Promise<Answer> => {
      const isCounted = counts();
      if (isCounted) said += 1;
      const isLast = isCounted && !isDead && said === death.at;
      if (isLast && death.when === 'after') await say(argument);
      if (isLast) isDead = true;
      if (isDead) throw new CodedError('COORDINATOR_UNREACHABLE', 'the process is gone', { retry: 'safe' });
      return say(argument);
    };
  // Of these only the first is no sign of life, which comes whenever it is time.
  const isBegin = (): boolean => {
    const isFirst = !hasBegun;
    hasBegun = true;
    return isFirst;
  };
  return {
    ...dtm,
    prepareWorkflow: mortal((request: DtmRequest) => dtm.prepareWorkflow(request), isBegin),
    registerBranch: mortal((branch: DtmBranch) => dtm.registerBranch(branch)),
    submit: mortal((request: DtmRequest) => dtm.submit(request)),
    isDead: () => isDead,
  };
}

/** A service whose operations take effect once, as behind a barrier. */
export interface Participant extends Service {
  /** `<op> <branch id> <path>` of each operation that took effect, in order. */
  readonly effects: readonly string[];
}

/** Answers each path with what `routes` return; what they throw is an effect too, when it is a refusal. */
export async function startParticipant(
  routes: Readonly<Record<string, (body: unknown) => unknown>>,
): Promise<Participant> {
  const effects: string[] = [];
  const serve = (path: string, work: (body: unknown) => unknown) => (request: BranchRequest) =>
    serveBranch(request, ({ op, branchId }, body) => {
      const value: unknown = work(body);
      const effect = `${op} ${branchId} ${path}`;
      if (!effects.includes(effect)) effects.push(effect);
      return value;
    });
  const service = await startService(
    Object.fromEntries(Object.entries(routes).map(([path, work]) => [path, serve(path, work)])),
  );
  return Object.assign(service, { effects });
}
