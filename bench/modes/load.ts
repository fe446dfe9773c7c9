/**
 * One transaction of each mode with two branches, as its initiator has it carried out through DTM's protocol over HTTP. The calls that
 * an initiator makes to its branches by itself (the tries of TCC) are left out: they cost the coordinator nothing.
 */
import { randomBytes } from 'node:crypto';
import { type LoadConnection, postText } from '../measure.ts';

/** Carries out one transaction whose branches are at `branchPort`; resolves when it has ended well, rejects when it has not. */
export type Transact = (connection: LoadConnection, branchPort: number) => Promise<void>;

/** The modes that are measured: a saga is one request, a message two, a TCC four; all end with `wait_result`. */
export const TRANSACT: Readonly<Record<'saga' | 'tcc' | 'msg', Transact>> = { saga, tcc, msg };

const PAYLOAD = JSON.stringify({ amount: 30 });

async function saga(connection: LoadConnection, branchPort: number): Promise<void> {
  const url = `http://127.0.0.1:${branchPort}`;
  await post(connection, 'submit', {
    gid: newGid(),
    trans_type: 'saga',
    steps: [
      { action: `${url}/out`, compensate: `${url}/out-back` },
      { action: `${url}/in`, compensate: `${url}/in-back` },
    ],
    payloads: [PAYLOAD, PAYLOAD],
    wait_result: true,
  });
}

async function tcc(connection: LoadConnection, branchPort: number): Promise<void> {
  const url = `http://127.0.0.1:${branchPort}`;
  const transaction = { gid: newGid(), trans_type: 'tcc' };
  await post(connection, 'prepare', transaction);
  for (const id of ['01', '02']) {
    const operations = { confirm: `${url}/confirm`, cancel: `${url}/cancel` };
    await post(connection, 'registerBranch', { ...transaction, branch_id: id, data: PAYLOAD, ...operations });
  }
  await post(connection, 'submit', { ...transaction, wait_result: true });
}

async function msg(connection: LoadConnection, branchPort: number): Promise<void> {
  const url = `http://127.0.0.1:${branchPort}`;
  const transaction = {
    gid: newGid(),
    trans_type: 'msg',
    steps: [{ action: `${url}/out` }, { action: `${url}/in` }],
    payloads: [PAYLOAD, PAYLOAD],
    query_prepared: `${url}/ask`,
  };
  await post(connection, 'prepare', transaction);
  await post(connection, 'submit', { ...transaction, wait_result: true });
}

function newGid(): string {
  return randomBytes(16).toString('hex');
}

async function post(connection: LoadConnection, api: string, body: unknown): Promise<void> {
  const answer = await connection.send(postText(`/api/dtmsvr/${api}`, JSON.stringify(body)));
  if (answer.status !== 200) throw new Error(`${api} was answered with ${answer.status}: ${answer.body}`);
}
