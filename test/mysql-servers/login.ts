/** What a client of ours answers to the methods of authentication that it knows. */
import { strict as assert } from 'node:assert';
import { CACHING_SHA2, PUBLIC_KEY_REQUEST, decodeAuthentication } from '../../proxy/mysql/wire/authentication.ts';
import { ed25519Password } from '../../proxy/mysql/wire/ed25519.ts';
import { scrambleOf } from '../../proxy/mysql/wire/handshake.ts';
import { cachingSha2Password, encryptPassword, nativePassword } from '../../proxy/mysql/wire/scramble.ts';

/** Answers the server's packets of a login, one after the other. */
export interface Credentials {
  /** The answer to the handshake's own challenge. */
  first(plugin: string, challenge: Buffer): Buffer;
  /** The answer to what the server says next. */
  next(payload: Buffer): Buffer;
  /** The methods that were used, in order. */
  readonly methods: readonly string[];
}

/** Credentials for one login with a password, which may be empty. */
export function credentials(password: Buffer): Credentials {
  let challenge: Buffer = Buffer.alloc(0);
  const methods: string[] = [];
  const answer = (plugin: string): Buffer => {
    methods.push(plugin);
    if (plugin === 'mysql_native_password') return nativePassword(password, scrambleOf(challenge));
    if (plugin === 'caching_sha2_password') return cachingSha2Password(password, scrambleOf(challenge));
    if (plugin === 'client_ed25519') return ed25519Password(password, challenge.subarray(0, 32));
    return Buffer.alloc(0);
  };
  return {
    methods,
    first(plugin, offered) {
      challenge = offered;
      return answer(plugin);
    },
    next(payload) {
      const message = decodeAuthentication(payload);
      if (message.kind === 'auth-switch') {
        challenge = message.challenge;
        return answer(message.plugin.toString());
      }
      assert(message.kind === 'auth-more-data', message.kind);
      if (message.data.length === 1 && message.data[0] === CACHING_SHA2.full) {
        methods.push('full');
        return Buffer.from([PUBLIC_KEY_REQUEST]);
      }
      return encryptPassword(password, scrambleOf(challenge), message.data.toString());
    },
  };
}
