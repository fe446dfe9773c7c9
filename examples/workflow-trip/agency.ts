/** The travel agency: runs workflows for its customers, and again when the coordinator asks for it. A process of its own. */
import { createServer } from 'node:http';
import pg from 'pg';
import {
  branchListener,
  type BranchReply,
  connectDtm,
  createWorkflows,
  FailureError,
  type Gid,
  postgresXa,
} from '../../src/client/index.ts';
import { registerTrip, type Trip } from './trip.ts';

const { COORDINATOR_URL = '', DATABASE_URL = '', FLIGHTS_URL = '', HOTELS_URL = '', PORT = '', DIES } = process.env;

const dtm = connectDtm({ url: COORDINATOR_URL });
const workflows = createWorkflows(dtm, { callback: `http://127.0.0.1:${PORT}/workflows` });
const trips = registerTrip(workflows, {
  flights: FLIGHTS_URL,
  hotels: HOTELS_URL,
  accounts: postgresXa(new pg.Pool({ connectionString: DATABASE_URL, max: 5 })),
  onHalfway: () => {
    if (DIES === 'halfway') process.kill(process.pid, 'SIGKILL');
  },
});

/** A customer's request; its gid makes it the same trip however often it is sent. */
async function book(body: unknown): Promise<BranchReply> {
  const { gid, trip } = JSON.parse(String(body)) as { readonly gid: Gid; readonly trip: Trip };
  try {
    return reply(200, await trips.execute(gid, trip));
  } catch (error) {
    return reply(error instanceof FailureError ? 409 : 500, { error: String(error) });
  }
}

function reply(status: number, value: object): BranchReply {
  return { status, headers: { 'content-type': 'application/json' }, body: JSON.stringify(value) };
}

const listeners: Readonly<Record<string, ReturnType<typeof branchListener>>> = {
  '/trips': branchListener((request) => book(request.body)),
  '/workflows': branchListener((request) => workflows.serve(request)),
};
const notFound = branchListener(() => Promise.resolve(reply(404, {})));

createServer((request, response) => {
  const path = request.url?.split('?')[0] ?? '';
  void (listeners[path] ?? notFound)(request, response);
}).listen(Number(PORT), '127.0.0.1');
