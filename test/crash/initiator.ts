/** An initiator: goes through its story until the coordinator is gone, and later on from where it was. */
import type { Request, Story } from './stories.ts';

/** How long a transaction may take to end once its coordinator is back. */
const WAIT_MS = 20_000;
/** How long one may take before, when some of its writes fail. */
const SETTLE_MS = 2000;

export interface Progress {
  readonly story: Story;
  /** How many of its requests were answered with success. */
  acknowledged: number;
}

export interface Begun {
  readonly progress: readonly Progress[];
  /** Answers that are neither success nor the end of the coordinator. */
  readonly refusals: readonly string[];
}

/** Tells all stories at once, each request after the answer to the one before. A story ends at the first that is not acknowledged. */
export async function begin(url: string, stories: readonly Story[]): Promise<Begun> {
  const refusals: string[] = [];
  const progress = await Promise.all(
    stories.map(async (story): Promise<Progress> => {
      let acknowledged = 0;
      for (const request of story.requests) {
        const answer = await send(url, request).catch(() => undefined);
        if (answer !== undefined && !isSuccess(answer)) refusals.push(`${request.path}: ${answer.text}`);
        if (answer === undefined || !isSuccess(answer)) break;
        acknowledged += 1;
      }
      return { story, acknowledged };
    }),
  );
  return { progress, refusals };
}

/** What no client should ever see after a restart: one line for each fault. */
export async function resume(
  url: string,
  { story, acknowledged }: Progress,
  wantsOpposite: boolean,
  asked: () => ReadonlySet<string>,
): Promise<readonly string[]> {
  const { gid, requests, opposite, mayHaveTurned } = story;
  const found = await read(url, gid, 0);
  const faults = lostOf(found, acknowledged, requests);
  for (const request of requests.slice(acknowledged)) {
    const isLast = request === requests.at(-1);
    const isTurned = wantsOpposite && isLast && opposite !== undefined;
    const answer = await send(url, isTurned ? opposite : request);
    // Who turned round too late is told so, and then it ends as was asked first.
    if (!isSuccess(answer) && !((isTurned || mayHaveTurned === true) && answer.status === 409)) {
      faults.push(`${request.path} again: ${answer.status} ${answer.text}`);
    }
  }
  const end = await read(url, gid, WAIT_MS);
  const isDecided = acknowledged === requests.length && opposite !== undefined;
  if (isDecided && end !== (verbOf(requests.at(-1)) === 'submit' ? 'succeed' : 'failed')) {
    faults.push('its decision was acknowledged, and turned');
  }
  const expected = story.ends[end as 'succeed' | 'failed'];
  if (expected === undefined) return [...faults, `it ended as ${end}`];
  const operations = [...asked()].sort();
  if (!expected.some((some) => some.join() === operations.join())) {
    faults.push(`it is ${end}, but what was asked of its branches is: ${operations.join(', ') || 'nothing'}`);
  }
  return faults;
}

/** What was acknowledged and is not there. */
function lostOf(status: string, acknowledged: number, requests: Story['requests']): string[] {
  if (acknowledged === 0) return [];
  const last = verbOf(requests[acknowledged - 1]);
  if (status === 'unknown') return [`${last} was acknowledged, but it is gone`];
  if ((last === 'submit' || last === 'abort') && status === 'prepared')
    return [`${last} was acknowledged, but undecided`];
  return [];
}

interface Answer {
  readonly status: number;
  readonly text: string;
}

async function send(url: string, { path, body }: Request): Promise<Answer> {
  const answer = await fetch(url + path, { method: 'POST', body: JSON.stringify(body) });
  return { status: answer.status, text: await answer.text() };
}

/** What has begun over the native API is 201 the first time. */
function isSuccess({ status }: Answer): boolean {
  return status === 200 || status === 201;
}

function verbOf(request: Request | undefined): string | undefined {
  return request?.path.split('/').at(-1);
}

/** The status, once it has ended or `waitMs` have passed. */
async function read(url: string, gid: string, waitMs: number): Promise<string> {
  const answer = await fetch(`${url}/v1/transactions/${gid}?wait=${waitMs}ms`);
  const body = (await answer.json()) as { readonly status?: string };
  return answer.status === 404 ? 'unknown' : (body.status ?? `an answer of status ${answer.status}`);
}

/** Waits until all of them have ended, or the coordinator has. */
export async function settled(url: string, stories: readonly Story[]): Promise<void> {
  await Promise.all(stories.map(({ gid }) => read(url, gid, SETTLE_MS).catch(() => undefined)));
}
