/** Chains of processes in front of the same backend, that requests go through: ours, and those of `http-proxy-3`. */
import { NO_COORDINATOR, startChild, startSidecarChild, type Child } from '../measure.ts';

/** A chain, first the process that the load is sent to. */
export interface Chain {
  readonly hops: readonly [Child, ...Child[]];
  /** The path of the request at the first hop. */
  readonly path: string;
}

const PATH = '/orders/4711?expand=items';

/** All the chains, each hop a process of its own. */
export interface Hops extends AsyncDisposable {
  readonly direct: Chain;
  readonly inbound: Chain;
  /** The way of a call between two services: outbound beside the one, inbound beside the other. */
  readonly pair: Chain;
  readonly httpProxy: Chain;
  readonly httpProxyTwice: Chain;
}

/** Starts them. They end when they are disposed of. */
export async function startHops(): Promise<Hops> {
  await using started = new AsyncDisposableStack();
  const backend = started.use(await startChild('./http/http-process.ts', 'backend'));
  const inbound = started.use(
    await startSidecarChild({
      coordinator: NO_COORDINATOR,
      inbound: {
        listen: '127.0.0.1:0',
        target: `http://127.0.0.1:${backend.port}`,
        transactions: [{ match: 'POST /orders', begin: {} }],
      },
    }),
  );
  const outbound = started.use(
    await startSidecarChild({
      coordinator: NO_COORDINATOR,
      outbound: { listen: '127.0.0.1:0', upstreams: { shop: { url: `http://127.0.0.1:${inbound.port}` } } },
    }),
  );
  const near = started.use(await startChild('./http/http-process.ts', 'http-proxy', String(backend.port)));
  const far = started.use(await startChild('./http/http-process.ts', 'http-proxy', String(near.port)));
  const hops = started.move();
  return {
    direct: { hops: [backend], path: PATH },
    inbound: { hops: [inbound], path: PATH },
    pair: { hops: [outbound, inbound], path: `/shop${PATH}` },
    httpProxy: { hops: [near], path: PATH },
    httpProxyTwice: { hops: [far, near], path: PATH },
    [Symbol.asyncDispose]: () => hops.disposeAsync(),
  };
}
