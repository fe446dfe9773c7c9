/** The first phase of a branch, called by its initiator over whatever its URL says. */
import type { BranchIdentity } from '../barrier/types.ts';
import { type BranchAnswer, resultOfStatus, resultOfStatusAndWords, successOf } from './answer.ts';
import { callOverHttp, payloadOf } from './call.ts';
import { callOverGrpc } from './grpc.ts';

export interface BranchCall {
  /** An http or https URL; anything else is called over gRPC, as DTM's server decides. */
  readonly url: string;
  /** Text and bytes as they are, anything else as JSON. Over gRPC: the bytes of the message. */
  readonly body: unknown;
  readonly headers: Readonly<Record<string, string>> | undefined;
  readonly timeoutMs: number | undefined;
}

/** Resolves with the answer when it is a success; rejects with `FailureError`, `OngoingError` or `CodedError` otherwise. */
export async function callBranch(
  { url, body, headers, timeoutMs }: BranchCall,
  branch: BranchIdentity,
  extra: Readonly<Record<string, string>>,
): Promise<BranchAnswer> {
  const common = {
    url,
    ...(headers === undefined ? {} : { headers }),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  };
  if (/^https?:/i.test(url)) {
    return successOf(await callOverHttp({ ...common, body }, branch, extra), url, resultOfStatusAndWords);
  }
  const answer = await callOverGrpc({ ...common, payload: payloadOf(body) }, branch, extra);
  // A message's bytes are no place to look for words in.
  return successOf(answer, url, resultOfStatus);
}
