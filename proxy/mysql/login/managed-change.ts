/**
 * COM_CHANGE_USER where the sidecar manages logins. The server is told first, so that the two logins fit into one answer: the account of the
 * new user, without a proof, which it asks for; then the client is asked, and only when it has proved itself does the server get its answer.
 * Until then nothing else of the client goes on, and the server has let nobody in.
 */
import type { ChangeUserParts, UserChange } from '../session/change-user.ts';
import { protocolBroken, serverBroken, type Refusal } from '../session/refusals.ts';
import { CAPABILITY, has, type Capabilities } from '../wire/capabilities.ts';
import { encodeCommand, type ChangeUser } from '../wire/commands.ts';
import { encodePackets } from '../wire/frames.ts';
import { OUTCOME } from '../wire/outcome.ts';
import type { Account } from './accounts.ts';
import { ClientLogin } from './client-login.ts';
import { NEEDED, newChallenge, type ManagedSession } from './managed.ts';
import { ServerLogin, type ServerStep } from './server-login.ts';

export interface ManagedChangeParts extends ChangeUserParts {
  readonly session: ManagedSession;
  /** What the client has sent. */
  readonly command: ChangeUser;
  /** What the client speaks. */
  readonly capabilities: Capabilities;
  /** The character set of the handshake, for clients that name none here. */
  readonly charset: number;
  /** The connection to the server has TLS. */
  readonly isEncrypted: boolean;
}

/** The name of no method there is: the server asks by the one that the account has, with a challenge. */
const NONE_OF_THE_ACCOUNT = Buffer.from('atomesh_asks');
const NOTHING: Buffer = Buffer.alloc(0);

export class ManagedChange implements UserChange {
  readonly #parts: ManagedChangeParts;
  readonly #account: Account;
  readonly #asking: ServerLogin;
  readonly #answering: ClientLogin;
  /** What the server asks, while the client has not proved itself. */
  #asked: Buffer | undefined;
  #welcome: Buffer | undefined;
  #isProved = false;
  /** Numbers of the next packets: the command was 0. */
  readonly #next = { client: 1, server: 1 };

  constructor(parts: ManagedChangeParts) {
    this.#parts = parts;
    const { manager, challenge, usual } = parts.session;
    this.#account = manager.accountOf(parts.command.user);
    const { password, role } = this.#account;
    this.#asking = new ServerLogin({ password, usual, challenge, nextChallenge: newChallenge() });
    this.#answering = new ClientLogin({ password: role.password, isEncrypted: parts.isEncrypted });
  }

  /** What the server is told in place of the client's command. */
  get toldServer(): Buffer {
    const { command, session, capabilities, charset } = this.#parts;
    const { database } = command;
    const told: ChangeUser = {
      ...command,
      user: Buffer.from(this.#account.role.user),
      authResponse: NOTHING,
      database: database.length > 0 ? database : session.manager.database,
      charset: command.charset ?? charset,
      plugin: NONE_OF_THE_ACCOUNT,
    };
    return encodePackets(encodeCommand(told, capabilities | NEEDED), 0);
  }

  get isOpen(): boolean {
    return !this.#isProved;
  }

  get sequence(): number {
    return this.#next.client & 0xff;
  }

  heard(side: 'client' | 'server', payload: Buffer): 'client' | 'server' {
    this.#next[side] += 1;
    if (side === 'client') {
      // Nothing was asked yet: a client that does not wait could have its next commands taken for the answer by the server.
      if (this.#asked === undefined) return this.#end(protocolBroken('a command follows COM_CHANGE_USER at once'));
      return this.#step(this.#asking.answered(payload));
    }
    if (this.#isProved) return this.#answer(payload);
    if (this.#asked !== undefined) return this.#end(serverBroken('it asks before it is answered'));
    this.#asked = Buffer.from(payload);
    const { command, capabilities } = this.#parts;
    // One that cannot be asked anew has answered the challenge of the greeting.
    if (!has(capabilities, CAPABILITY.pluginAuth)) return this.#step(this.#asking.answered(command.authResponse));
    return this.#step(this.#asking.ask(command.plugin?.toString('latin1') ?? ''));
  }

  over(payload: Buffer): void {
    const { manager } = this.#parts.session;
    if (payload[0] === OUTCOME.error) {
      const refusal = manager.rejected(payload);
      if (refusal === undefined) this.#say('client', payload);
      else this.#parts.refused(refusal);
      return;
    }
    if (!this.#isProved) return void this.#end(manager.failed('the server has asked for no proof at COM_CHANGE_USER'));
    if (this.#welcome !== undefined) this.#say('client', this.#welcome);
    this.#say('client', payload);
  }

  #step(step: ServerStep): 'client' | 'server' {
    switch (step.kind) {
      case 'ask':
        this.#say('client', step.payload);
        return 'client';
      case 'proved': {
        this.#isProved = true;
        this.#welcome = step.welcome;
        return this.#answer(this.#asked ?? NOTHING);
      }
      case 'refused': {
        const { session, command } = this.#parts;
        const asker = { user: command.user, address: session.address };
        return this.#end(session.manager.refused(asker, this.#account, step.hasAnswered));
      }
    }
  }

  #answer(payload: Buffer): 'server' {
    const step = this.#answering.receive(payload);
    if (step.kind === 'failed') return this.#end(this.#parts.session.manager.failed(step.reason));
    if (step.kind === 'send') this.#say('server', step.payload);
    return 'server';
  }

  /** The session is over: the server closes the connection too when somebody fails here. */
  #end(refusal: Refusal): 'server' {
    this.#parts.refused(refusal);
    return 'server';
  }

  #say(to: 'client' | 'server', payload: Buffer): void {
    const bytes = encodePackets(payload, this.#next[to] & 0xff);
    this.#next[to] += 1;
    if (to === 'client') this.#parts.toClient(bytes);
    else this.#parts.toServer(bytes);
  }
}
