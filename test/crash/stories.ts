/** What initiators do, request by request, and what may have come of it in the end. */

export interface Request {
  /** Its last word says what is asked: `submit`, `abort` and others. */
  readonly path: string;
  readonly body: Readonly<Record<string, unknown>>;
}

export interface Story {
  readonly gid: string;
  readonly requests: readonly Request[];
  /** Instead of the last request, for an initiator that never heard its answer and now wants the opposite. */
  readonly opposite?: Request;
  /** It may be turning, or have turned, against the request that is sent again; its initiator is then told so: 409. */
  readonly mayHaveTurned?: true;
  /** The operations that were asked for when it ended like this; an end that is not here is a fault. */
  readonly ends: Readonly<Partial<Record<'succeed' | 'failed', readonly (readonly string[])[]>>>;
}

/** One transaction of each kind, whose gids begin with `name`. */
export function storiesOf(name: string, url: string): readonly Story[] {
  return [
    saga(`${name}-saga`, url),
    refused(`${name}-refused`, url),
    tcc(`${name}-confirmed`, url, 'submit'),
    tcc(`${name}-cancelled`, url, 'abort'),
    message(`${name}-message`, url),
    forgotten(`${name}-forgotten`, url),
    workflow(`${name}-workflow`),
    xa(`${name}-xa-committed`, url, 'submit'),
    xa(`${name}-xa-rolled-back`, url, 'abort'),
    mesh(`${name}-mesh-committed`, url, 'submit'),
    mesh(`${name}-mesh-rolled-back`, url, 'abort'),
  ];
}

type Decision = 'submit' | 'abort';

function otherThan(decision: Decision): Decision {
  return decision === 'submit' ? 'abort' : 'submit';
}

/** A request of DTM's protocol. */
function dtm(api: string, body: Request['body']): Request {
  return { path: `/api/dtmsvr/${api}`, body };
}

function saga(gid: string, url: string): Story {
  const step = { action: `${url}/do`, compensate: `${url}/undo` };
  const body = { gid, trans_type: 'saga', steps: [step, step], payloads: ['1', '2'] };
  return { gid, requests: [dtm('submit', body)], ends: { succeed: [['action 01', 'action 02']] } };
}

/** The second step is refused. Should it succeed when it is asked again, then only because nobody has been compensated yet. */
function refused(gid: string, url: string): Story {
  const step = { action: `${url}/do`, compensate: `${url}/undo` };
  const steps = [step, { ...step, action: `${url}/refuse` }];
  const body = { gid, trans_type: 'saga', steps, payloads: ['1', '2'] };
  const actions = ['action 01', 'action 02'];
  return {
    gid,
    requests: [dtm('submit', body)],
    mayHaveTurned: true,
    ends: { failed: [[...actions, 'compensate 01', 'compensate 02']], succeed: [actions] },
  };
}

function tcc(gid: string, url: string, end: Decision): Story {
  const branches = ['01', '02'].map((branch_id): Request => {
    const data = { confirm: `${url}/confirm`, cancel: `${url}/cancel`, data: '1' };
    return dtm('registerBranch', { gid, trans_type: 'tcc', branch_id, ...data });
  });
  const body = { gid, trans_type: 'tcc' };
  const ends = { succeed: [['confirm 01', 'confirm 02']], failed: [['cancel 01', 'cancel 02']] };
  return {
    gid,
    requests: [dtm('prepare', body), ...branches, dtm(end, body)],
    opposite: dtm(otherThan(end), body),
    ends,
  };
}

function message(gid: string, url: string): Story {
  const body = {
    gid,
    trans_type: 'msg',
    steps: [{ action: `${url}/do` }, { action: `${url}/do` }],
    payloads: ['1', '2'],
    query_prepared: `${url}/asked`,
  };
  const requests: readonly Request[] = [dtm('prepare', body), dtm('submit', body)];
  return { gid, requests, ends: { succeed: [['action 01', 'action 02']] } };
}

/** Its sender never submits it, but says when it is asked that it has committed. */
function forgotten(gid: string, url: string): Story {
  const body = {
    gid,
    trans_type: 'msg',
    steps: [{ action: `${url}/do` }],
    payloads: ['1'],
    query_prepared: `${url}/asked`,
    timeout_to_fail: 0.1,
  };
  const ends = { succeed: [['action 01', 'msg 00']] };
  return { gid, requests: [dtm('prepare', body)], mayHaveTurned: true, ends };
}

function workflow(gid: string): Story {
  const begin = { gid, trans_type: 'workflow', custom_data: '{"name":"trip"}', protocol: 'http' };
  const step = { gid, trans_type: 'workflow', branch_id: '01', op: 'action', status: 'succeed', data: 'x' };
  const requests: readonly Request[] = [
    dtm('prepareWorkflow', begin),
    dtm('registerBranch', step),
    dtm('submit', { gid, trans_type: 'workflow', req_extra: { status: 'succeed', result: 'eA==' } }),
  ];
  return { gid, requests, ends: { succeed: [[]] } };
}

function xa(gid: string, url: string, end: Decision): Story {
  const branches = ['01', '02'].map((branch_id) =>
    dtm('registerBranch', { gid, trans_type: 'xa', branch_id, url: `${url}/xa` }),
  );
  const body = { gid, trans_type: 'xa' };
  return {
    gid,
    requests: [dtm('prepare', body), ...branches, dtm(end, body)],
    opposite: dtm(otherThan(end), body),
    ends: { succeed: [['commit 01', 'commit 02']], failed: [['rollback 01', 'rollback 02']] },
  };
}

/** What sidecars enlist, over the native API: a database, a service with TCC, a message. */
function mesh(gid: string, url: string, end: Decision): Story {
  const own = `/v1/transactions/${gid}`;
  const enlist = (kind: string, operations: readonly string[]): Request => ({
    path: `${own}/branches`,
    body: { kind, resource: kind, operations: Object.fromEntries(operations.map((each) => [each, `${url}/${each}`])) },
  });
  return {
    gid,
    requests: [
      { path: '/v1/transactions', body: { gid } },
      enlist('undo', ['commit', 'rollback']),
      enlist('tcc', ['confirm', 'cancel']),
      enlist('msg', ['action']),
      { path: `${own}/${end}`, body: {} },
    ],
    opposite: { path: `${own}/${otherThan(end)}`, body: {} },
    ends: { succeed: [['action 03', 'commit 01', 'confirm 02']], failed: [['cancel 02', 'rollback 01']] },
  };
}
