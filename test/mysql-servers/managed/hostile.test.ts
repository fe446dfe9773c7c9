/** Clients that do not log in as they should: whatever they send, they hear why not, and the server hears nothing of what they have sent. */
import { setTimeout as pause } from 'node:timers/promises';
import test from 'ava';
import { startMariadb, type MariadbServer } from '../../../examples/support/mariadb-server.ts';
import { decodeAuthentication, encodeAuthentication } from '../../../proxy/mysql/wire/authentication.ts';
import { CAPABILITY } from '../../../proxy/mysql/wire/capabilities.ts';
import { encodePackets } from '../../../proxy/mysql/wire/frames.ts';
import { startRecording, type Recording } from '../recording.ts';
import { CUSTOMER, open, SECRET, startManaged, told, type Managed } from './stage.ts';
import { CACHING_SHA2, NATIVE, proof, Talk } from './talk.ts';

const DENIED = "1045 28000 Access denied for user 'orders'@'127.0.0.1' (using password: YES)";
const OTHER = 'client_ed25519';
let server: MariadbServer;
let recording: Recording;
let sidecar: Managed;

test.before(async () => {
  server = await startMariadb();
  await server.run(`create database k; create user native@'127.0.0.1' identified by '${SECRET}';
    grant all on k.* to native@'127.0.0.1'`);
  recording = await startRecording(server.port);
  sidecar = await startManaged(recording.port, { user: 'native', password: SECRET }, { auth: AUTH });
});
test.after.always(async () => {
  await sidecar?.[Symbol.asyncDispose]();
  recording?.close();
  await server?.[Symbol.asyncDispose]();
});

const AUTH = {
  mode: 'managed',
  role: { user: 'native', password: SECRET },
  clients: [{ user: 'orders', password: CUSTOMER }],
  timeout: '2s',
};

/** What the server was told, in each connection that was made since. */
function saidSince(count: number): readonly string[] {
  return recording.connections
    .slice(count)
    .map((heard) => Buffer.concat(heard.filter(({ side }) => side === 'client').map(({ chunk }) => chunk)))
    .map((said) => said.subarray(4).toString('latin1'));
}

/** How the sidecar leaves the server when it has no client for it. */
const FAREWELL = /^.{32}atomesh_refused\0\0mysql_native_password\0$/s;

/** What one client hears, that the server was told nothing of it, and that the next client is served. */
async function refused(talk: (client: Talk) => Promise<void>): Promise<readonly string[]> {
  const before = recording.connections.length;
  using client = new Talk(sidecar.port);
  await talk(client);
  const heard = await client.rest();
  await client.closed();
  const [said = ''] = saidSince(before);
  if (!FAREWELL.test(said)) throw new Error(`the server was told ${JSON.stringify(said)}`);
  const next = await open(sidecar.port);
  await told(next);
  await next.end();
  return heard;
}

test.serial(
  'the greeting has a challenge of the sidecar’s own, another one each time, and the server’s number and version',
  async (t) => {
    const seen = new Set<string>();
    for (let count = 0; count < 50; count += 1) {
      using client = new Talk(sidecar.port);
      const { challenge, plugin, connectionId, version } = await client.greeting();
      const [of] = recording.connections.at(-1)?.filter(({ side }) => side === 'server') ?? [];
      t.false(of?.chunk.includes(challenge.subarray(0, 8)));
      t.is(challenge.length, 21);
      t.is(challenge.indexOf(0), 20);
      t.true(challenge.subarray(0, 20).every((byte) => byte > 0 && byte < 0x80));
      t.is(plugin?.toString(), NATIVE);
      t.true(connectionId > 0);
      t.regex(version.toString(), /MariaDB/);
      seen.add(challenge.toString('hex'));
    }
    t.is(seen.size, 50);
  },
);

for (const method of [CACHING_SHA2, NATIVE]) {
  test.serial(
    `${method}: a proof is taken once it is right to the last bit, for this challenge and this method`,
    async (t) => {
      const wrong: readonly ((challenge: Buffer) => Buffer)[] = [
        (challenge) => proof(method, challenge, 'wrong'),
        (challenge) => proof(method === NATIVE ? CACHING_SHA2 : NATIVE, challenge),
        (challenge) => proof(method, Buffer.concat([challenge.subarray(1), Buffer.from('a')])),
        (challenge) => proof(method, challenge).subarray(1),
        (challenge) => Buffer.concat([proof(method, challenge), Buffer.from([0])]),
        (challenge) => Buffer.from(proof(method, challenge).map((byte, index) => (index === 19 ? byte ^ 1 : byte))),
        () => Buffer.from(`${CUSTOMER}\0`),
        () => Buffer.alloc(20),
        () => Buffer.alloc(255, 1),
      ];
      for (const make of wrong) {
        const heard = await refused(async (client) => {
          const greeting = await client.greeting();
          client.answer(greeting, { method, answer: make(greeting.challenge) });
        });
        t.deepEqual(heard, [DENIED]);
      }
    },
  );
}

test.serial(
  'who answers nothing, or by another method, is asked anew with another challenge, and once only',
  async (t) => {
    for (const [named, asked] of [
      [CACHING_SHA2, CACHING_SHA2],
      [NATIVE, NATIVE],
      [OTHER, NATIVE],
      ['', NATIVE],
      ['mysql_clear_password', NATIVE],
    ] as const) {
      for (const [answers, hears] of [
        [(challenge: Buffer) => proof(asked, challenge), undefined],
        [() => Buffer.alloc(0), DENIED.replace('YES', 'NO')],
        [() => Buffer.from([0]), DENIED.replace('YES', 'NO')],
        [() => Buffer.from(`${CUSTOMER}\0`), DENIED],
        // The proof for the challenge of the greeting.
        [(_: Buffer, first: Buffer) => proof(asked, first), DENIED],
      ] as const) {
        const talk = async (client: Talk): Promise<void> => {
          const { challenge, ...greeting } = await client.greeting();
          const answer = named === OTHER ? Buffer.alloc(64) : Buffer.alloc(0);
          client.answer({ ...greeting, challenge }, { method: named, answer });
          const request = decodeAuthentication((await client.next()) ?? Buffer.alloc(0));
          if (request.kind !== 'auth-switch') return t.fail(request.kind);
          t.is(request.plugin.toString(), asked);
          t.notDeepEqual(request.challenge, challenge);
          client.say(answers(request.challenge, challenge));
          return undefined;
        };
        if (hears !== undefined) {
          t.deepEqual(await refused(talk), [hears]);
          continue;
        }
        using client = new Talk(sidecar.port);
        await talk(client);
        for (const first of asked === NATIVE ? [0] : [1, 0]) t.is((await client.next())?.[0], first);
      }
    }
  },
);

test.serial(
  'packets out of order, too large ones, malformed ones and TLS where there is none are refused at each step',
  async (t) => {
    const asked = async (client: Talk): Promise<void> => {
      client.answer(await client.greeting(), { method: OTHER, answer: Buffer.alloc(64) });
      await client.next();
    };
    const large = Buffer.from('ffffff', 'hex');
    const steps: readonly (readonly [name: string, talk: (client: Talk) => Promise<void>, hears: RegExp])[] = [
      [
        'a number that is taken',
        async (client) => (await client.greeting(), client.say(Buffer.alloc(40), 0)),
        /^1156 /,
      ],
      ['a number too far', async (client) => (await client.greeting(), client.say(Buffer.alloc(40), 2)), /^1156 /],
      [
        'a number of another answer',
        async (client) => (await asked(client), client.say(Buffer.alloc(32), 1)),
        /^1156 /,
      ],
      [
        'a large answer',
        async (client) => (await client.greeting(), void client.socket.write(Buffer.concat([large, Buffer.from([1])]))),
        /^1156  atomesh: a packet is larger/,
      ],
      [
        'a large second answer',
        async (client) => (await asked(client), void client.socket.write(Buffer.concat([large, Buffer.from([3])]))),
        /^1156 08S01 atomesh: a packet is larger/,
      ],
      ['nothing', async (client) => (await client.greeting(), client.say(Buffer.alloc(0))), /^1043 |^1835 /],
      ['a bare head', async (client) => (await client.greeting(), client.say(Buffer.alloc(4, 0xff))), /^1043 |^1835 /],
      ['only zeros', async (client) => (await client.greeting(), client.say(Buffer.alloc(200))), /^1043 |^1835 /],
      ['only ones', async (client) => (await client.greeting(), client.say(Buffer.alloc(200, 0xff))), /^\d+ /],
      [
        'a command in place of an answer',
        async (client) => (await client.greeting(), client.say(Buffer.from('\x03drop database k'), 0)),
        /^1156 /,
      ],
      [
        'a command in place of a second answer',
        async (client) => (await asked(client), client.say(Buffer.from('\x03drop database k'))),
        new RegExp(DENIED.replaceAll(/[()]/g, '.')),
      ],
      [
        'what a server says',
        async (client) => (await asked(client), client.say(encodeAuthentication({ kind: 'old-auth-switch' }))),
        new RegExp(DENIED.replaceAll(/[()]/g, '.')),
      ],
      [
        'TLS where there is none',
        async (client) => {
          await client.greeting();
          const capabilities = CAPABILITY.ssl | CAPABILITY.protocol41 | CAPABILITY.longPassword;
          const head = Buffer.alloc(32);
          head.writeUInt32LE(Number(capabilities));
          client.say(head);
        },
        /^1043 08S01 atomesh: this listener does not take TLS/,
      ],
      [
        'a name as long as a packet',
        async (client) => client.answer(await client.greeting(), { user: 'x'.repeat(100_000) }),
        /^1045 28000 Access denied for user 'x{80}'@/,
      ],
    ];
    for (const [name, talk, hears] of steps) {
      const heard = await refused(talk);
      t.is(heard.length, 1, name);
      t.regex(heard[0] ?? '', hears, name);
    }
  },
);

test.serial(
  'a connection that is cut, or that says nothing more, at any byte of the login leaves nothing behind',
  async (t) => {
    const before = recording.connections.length;
    for (let kept = 0; kept < 100; kept += 9) {
      using client = new Talk(sidecar.port);
      const greeting = await client.greeting();
      const answer = proof(CACHING_SHA2, greeting.challenge);
      const whole = encodePackets(Buffer.concat([Buffer.alloc(32, 0xff), answer, Buffer.alloc(60)]), 1);
      client.socket.write(whole.subarray(0, kept));
      if (kept % 2 === 0) client.socket.end();
      else client.socket.destroy();
      await client.closed();
    }
    for (const said of saidSince(before)) t.regex(said, /^$|^.{32}atomesh_refused/s);
    using silent = new Talk(sidecar.port);
    await silent.greeting();
    using slow = new Talk(sidecar.port);
    slow.answer(await slow.greeting(), { method: OTHER, answer: Buffer.alloc(1) });
    await slow.next();
    const begun = performance.now();
    t.deepEqual([await silent.rest(), await slow.rest()], [[], []]);
    t.true(performance.now() - begun < 15_000);
    for (const said of saidSince(before)) t.regex(said, /^$|^.{32}atomesh_refused/s);
    while (sidecar.listener.sessions > 0) await pause(10);
    const connection = await open(sidecar.port);
    t.like(await told(connection), { me: 'native' });
    await connection.end();
  },
);

test.serial('random bytes in place of any packet of the login do no harm', async (t) => {
  let seed = 42;
  const byte = (): number => (seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0) >>> 24;
  for (let round = 0; round < 150; round += 1) {
    const heard = await refused(async (client) => {
      const greeting = await client.greeting();
      if (round % 2 === 1) {
        client.answer(greeting, { method: OTHER, answer: Buffer.alloc(3) });
        await client.next();
      }
      client.say(Buffer.from(Array.from({ length: byte() + 1 }, byte)));
    });
    t.is(heard.length, 1);
    t.regex(heard[0] ?? '', /^\d{4} /);
  }
});
