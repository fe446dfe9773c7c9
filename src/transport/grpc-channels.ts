/** The gRPC connections to branches: one channel for each origin, given up as soon as it is of no more use. */
import { Client, connectivityState, credentials, type ChannelCredentials } from '@grpc/grpc-js';
import type { GrpcUrl } from '../contract/grpc-url.ts';
import type { Instant } from '../contract/transaction.ts';
import type { BranchTls } from './branch-tls.ts';
import { GUARDED_SCHEME, registerGuardedResolver } from './grpc-resolver.ts';

/** The one used longest ago makes room. */
const CHANNELS_MAX = 1000;

const OPTIONS = {
  // Branches are many and their number changes: each call goes to the next of those that answer.
  'grpc.service_config': '{"loadBalancingConfig":[{"round_robin":{}}]}',
  'grpc.service_config_disable_resolution': 1,
  // Coordinators reach their branches directly, over HTTP too.
  'grpc.enable_http_proxy': 0,
  // When to call again is for the engine to say.
  'grpc.enable_retries': 0,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 2000,
  'grpc.use_local_subchannel_pool': 1,
  'grpc.client_idle_timeout_ms': 300_000,
  'grpc.enable_channelz': 0,
};

export interface Channel {
  readonly client: Client;
  /** When the branch last gave a sign of life over this channel. */
  heardAt: Instant;
}

export class GrpcChannels {
  readonly #byOrigin = new Map<string, Channel>();
  readonly #secure: ChannelCredentials;
  readonly #plain: ChannelCredentials = credentials.createInsecure();

  /** Throws when the certificates of `tls` are none. */
  constructor({ ca, certificate, key }: BranchTls) {
    registerGuardedResolver();
    this.#secure = credentials.createSsl(bytes(ca), bytes(key?.reveal()), bytes(certificate));
  }

  /** The channel to that origin, a new one if there is none. */
  take({ origin, address, isSecure }: GrpcUrl, now: Instant): Channel {
    const known = this.#byOrigin.get(origin);
    const channel = known ?? {
      client: new Client(`${GUARDED_SCHEME}:///${address}`, isSecure ? this.#secure : this.#plain, OPTIONS),
      heardAt: now,
    };
    // To the end of the line of those that make room.
    this.#byOrigin.delete(origin);
    this.#byOrigin.set(origin, channel);
    const [oldest] = this.#byOrigin.keys();
    if (this.#byOrigin.size > CHANNELS_MAX && oldest !== undefined) this.#drop(oldest);
    return channel;
  }

  /**
   * To be told when a call on `channel` that began at `startedAt` found no branch. A channel without any connection is
   * dropped: the next call, made when the engine wants it, resolves the name anew and connects at once instead of waiting for
   * the channel's own pauses to pass. So is one on which nothing was heard since that call began: its connection may be dead
   * without either side knowing, and TCP takes a quarter of an hour to notice.
   */
  failed({ origin }: GrpcUrl, channel: Channel, startedAt: Instant): void {
    if (this.#byOrigin.get(origin) !== channel) return;
    const state = channel.client.getChannel().getConnectivityState(false);
    if (state !== connectivityState.READY || channel.heardAt <= startedAt) this.#drop(origin);
  }

  close(): void {
    for (const { client } of this.#byOrigin.values()) client.close();
    this.#byOrigin.clear();
  }

  /** Calls in flight on it go on to their end. */
  #drop(origin: string): void {
    this.#byOrigin.get(origin)?.client.close();
    this.#byOrigin.delete(origin);
  }
}

/** The gRPC library takes null for "the default". */
function bytes(text: string | undefined): Buffer | null {
  return text === undefined ? null : Buffer.from(text);
}
