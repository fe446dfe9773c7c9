/** Which targets a branch of DTM's protocol may have: URLs over HTTP and JSON-RPC, `host:port/package.Service/Method` over gRPC. */
import { branchUrlFault } from '../contract/branch-url.ts';
import { parseGrpcUrl } from '../contract/grpc-url.ts';
import type { Protocol } from '../contract/transaction.ts';

/** Targets found good that are remembered: a coordinator's transactions name the same few again and again. */
const KNOWN_MAX = 10_000;

/** Why a target cannot be called; undefined when it can, and for an empty one, which means that there is nothing to call. */
export type TargetCheck = (target: string, protocol: Protocol) => string | undefined;

/** A check that remembers what it has found good. The scheme counts more than the protocol (dtmsvr, trans_status.go:131). */
export function createTargetCheck(): TargetCheck {
  const http = new Set<string>();
  const grpc = new Set<string>();
  return (target, protocol) => {
    const isHttp = /^https?:/i.test(target) || (protocol === 'http' && !/^grpcs?:/i.test(target));
    const known = isHttp ? http : grpc;
    if (target === '' || known.has(target)) return undefined;
    const fault = isHttp ? branchUrlFault(target) : grpcFault(target);
    if (fault !== undefined) return `${fault}, found ${JSON.stringify(target.slice(0, 100))}`;
    if (known.size >= KNOWN_MAX) known.clear();
    known.add(target);
    return undefined;
  };
}

function grpcFault(target: string): string | undefined {
  const parsed = parseGrpcUrl(target);
  return 'fault' in parsed ? parsed.fault : undefined;
}
