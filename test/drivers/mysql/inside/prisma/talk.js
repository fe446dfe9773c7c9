/**
 * What Prisma hears of a server, one line for each thing that was said: `talk.js <port> <user> <database> <gid>`. With a gid, what is said
 * belongs to that global transaction: every connection names it, or every statement in a comment.
 */
import { PrismaMariaDb } from '@prisma/adapter-mariadb';
import { PrismaClient } from '@prisma/client';

const [port, user, database, gid] = process.argv.slice(2);
const login = { host: '127.0.0.1', port: Number(port), user, database, allowPublicKeyRetrieval: true };

function say(name, ...said) {
  const text = JSON.stringify(said, (_, value) => (typeof value === 'bigint' ? Number(value) : value));
  console.log(`= ${name}: ${text}`);
}

async function heard(work) {
  try {
    return await work();
  } catch (error) {
    // The text has the place in this file.
    return [error.code, error.meta?.driverAdapterError?.cause ?? error.message.split('\n').at(-1)];
  }
}

/** A usual unit of work, in a local transaction or by requests of their own, each of which is one. */
async function changes(db, mark) {
  const made = await db.item.create({
    data: {
      code: mark,
      price: '12.34',
      name: "quo'te\\ä😀",
      at: new Date('2024-02-29T23:59:59.999Z'),
      raw: new Uint8Array([0, 1, 255]),
      lines: { create: [{ n: 1 }, { n: 2 }, { n: 3 }] },
      tags: { create: { tag: { connect: { name: 'red' } } } },
    },
    include: { lines: true },
  });
  say(`${mark} made`, made.lines.length, made.id > 0);
  const many = Array.from({ length: 25 }, (_, n) => ({ code: `${mark} ${n}`, price: n }));
  say(`${mark} many`, await db.item.createMany({ data: many }));
  say(
    `${mark} ignored`,
    await db.item.createMany({ data: [{ code: mark }, { code: `${mark} new` }], skipDuplicates: true }),
  );
  const changed = await db.item.update({
    where: { code: mark },
    data: {
      note: 'a;b',
      price: { increment: 1 },
      edition: { increment: 1 },
      lines: {
        create: { n: 4 },
        deleteMany: { n: 1 },
        updateMany: { where: { n: { gt: 2 } }, data: { n: { multiply: 10 } } },
      },
    },
    include: { lines: { orderBy: { id: 'asc' } } },
  });
  say(
    `${mark} changed`,
    changed.price,
    changed.edition,
    changed.lines.map(({ n }) => n),
  );
  const stale = { where: { code: mark, edition: 7 }, data: { edition: 8 } };
  say(`${mark} stale`, await db.item.updateMany(stale), await heard(() => db.item.update(stale)));
  say(
    `${mark} updated`,
    await db.item.updateMany({ where: { code: { startsWith: `${mark} 1` } }, data: { name: 'all' } }),
  );
  say(`${mark} joined`, await db.line.updateMany({ where: { item: { code: mark } }, data: { n: { increment: 100 } } }));
  for (const name of ['ann', mark.slice(-20)])
    say(
      `${mark} upsert`,
      await db.counter.upsert({ where: { name }, create: { name, n: 1 }, update: { n: { increment: 1 } } }),
    );
  const code = `${mark} once`;
  say(`${mark} upsert`, (await db.item.upsert({ where: { code }, create: { code }, update: { note: 'x' } })).note);
  say(
    `${mark} gone`,
    await db.item.deleteMany({ where: { OR: [{ code: `${mark} 3` }, { code: { startsWith: `${mark} 2` } }] } }),
  );
  say(`${mark} one gone`, (await db.item.delete({ where: { code: `${mark} 4` } })).code);
  say(`${mark} raw`, await db.$executeRaw`update counter set n = n + ${5} where name in (${'cy'}, ${'dee'})`);
  say(`${mark} locked`, await db.$queryRaw`select n from counter where name = ${'eve'} for update`);
  const rows = await db.item.findMany({
    where: { code: { startsWith: mark } },
    orderBy: { code: 'asc' },
    include: { lines: { orderBy: { id: 'asc' } }, tags: { include: { tag: true } } },
  });
  const told = ({ code, price, name, at, note, lines, tags }) => [
    code,
    price,
    name,
    at,
    note,
    lines.map(({ n }) => n),
    tags.length,
  ];
  say(`${mark} rows`, rows.map(told));
}

async function talk(way, db) {
  await changes(db, `${way} alone`);
  say(`${way} twice`, await heard(() => db.item.create({ data: { code: 'seed' } })));
  say(`${way} refers to nothing`, await heard(() => db.line.create({ data: { itemId: 999_999 } })));
  const several = ['a', 'b'].map((name) => db.item.create({ data: { code: `${way} ${name}` } }));
  say(`${way} several`, (await db.$transaction(several)).length);
  const twice = ['c', 'c'].map((name) => db.item.create({ data: { code: `${way} ${name}` } }));
  say(`${way} several twice`, await heard(() => db.$transaction(twice)));
  for (const [mark, isolationLevel] of [
    ['kept', undefined],
    ['gone', 'ReadCommitted'],
  ]) {
    const ended = await heard(() =>
      db.$transaction(
        async (transaction) => {
          await changes(transaction, `${way} ${mark}`);
          if (mark === 'gone') throw new Error('changed its mind');
        },
        { isolationLevel, timeout: 60_000 },
      ),
    );
    say(`${way} ${mark} end`, ended ?? 'committed');
  }
  await db.$disconnect();
}

const connectAttributes = gid === '' ? undefined : { atomesh_gid: gid };
await talk('connection', new PrismaClient({ adapter: new PrismaMariaDb({ ...login, connectAttributes }) }));
const comments = gid === '' ? [] : [() => ({ atomesh_gid: gid })];
await talk('text', new PrismaClient({ adapter: new PrismaMariaDb(login, { useTextProtocol: true }), comments }));
await talk('comment', new PrismaClient({ adapter: new PrismaMariaDb(login), comments }));
console.log('= the end');
