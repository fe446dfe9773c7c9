/**
 * What mysql2, Sequelize and TypeORM hear of a server, one line for each thing that was said: `talk.js <port> <user> <database> <gid>`.
 * With a gid, every connection belongs to that global transaction.
 */
import mysql from 'mysql2/promise';
import { DataTypes, Op, Sequelize } from 'sequelize';
import { DataSource, EntitySchema, Like } from 'typeorm';

const [port, user, database, gid] = process.argv.slice(2);
const connectAttributes = gid === '' ? {} : { atomesh_gid: gid };
const login = { host: '127.0.0.1', port: Number(port), user, database };

function say(name, ...said) {
  console.log(`= ${name}: ${said.map((each) => JSON.stringify(each)).join(' ')}`);
}

async function heard(work) {
  try {
    return await work();
  } catch (error) {
    return `${error.errno ?? ''} ${error.message}`;
  }
}

async function driver() {
  const db = await mysql.createConnection({ ...login, connectAttributes, multipleStatements: true });
  const told = (method, ...what) =>
    heard(async () => {
      const [answer] = await db[method](...what);
      const plain = ({ affectedRows, changedRows, info, warningStatus, insertId }) => [
        affectedRows,
        changedRows,
        info,
        warningStatus,
        insertId > 0,
      ];
      if (!Array.isArray(answer)) return plain(answer);
      return answer.map((each) => (each.constructor.name === 'ResultSetHeader' ? plain(each) : each));
    });
  for (const [mark, method] of [
    ['text', 'query'],
    ['prepared', 'execute'],
  ]) {
    for (const end of ['commit', 'rollback']) {
      const own = `${mark}-${end}`;
      await db.beginTransaction();
      say(
        own,
        await told(method, 'insert into item (code, price, at, raw) values (?, ?, ?, ?)', [
          own,
          '1.5',
          '2024-02-29 01:02:03',
          Buffer.from([0, 65]),
        ]),
      );
      say(own, await told(method, "update item set note = ? where code in ('seed', ?)", ["it's", own]));
      say(own, await told(method, 'insert into counter values (?, ?) on duplicate key update n = n + 1', ['ann', 5]));
      say(own, await told(method, 'insert into item (code) values (?)', [own]));
      say(own, await told(method, 'delete from counter where name = ?', ['bob']));
      say(own, await told(method, 'select n from counter where name = ? for update', ['ann']));
      say(own, await told(method, 'select code, price, raw, note from item where code = ?', [own]));
      say(own, await heard(() => db[end]()));
    }
  }
  say(
    'several',
    await told(
      'query',
      "update counter set n = 9 where name = 'cy'; select n from counter where name = 'cy'; select row_count()",
    ),
  );
  say(
    'bulk',
    await told('query', 'insert into item (code, name) values ?', [
      Array.from({ length: 50 }, (_, n) => [`bulk${n}`, null]),
    ]),
  );
  await db.end();
}

async function sequelize() {
  const db = new Sequelize(database, user, '', {
    ...login,
    dialect: 'mysql',
    logging: false,
    dialectOptions: { connectAttributes },
    define: { timestamps: false, freezeTableName: true },
  });
  const item = db.define('item', {
    id: { type: DataTypes.INTEGER.UNSIGNED, primaryKey: true, autoIncrement: true },
    code: DataTypes.STRING,
    price: DataTypes.DECIMAL(12, 4),
    name: DataTypes.STRING,
  });
  const line = db.define('line', { item: DataTypes.INTEGER.UNSIGNED, n: DataTypes.INTEGER });
  item.hasMany(line, { foreignKey: 'item', as: 'lines' });
  const counter = db.define('counter', { name: { type: DataTypes.STRING, primaryKey: true }, n: DataTypes.INTEGER });
  for (const mark of ['sequelize kept', 'sequelize gone']) {
    const ended = await heard(() =>
      db.transaction(async (transaction) => {
        const own = { transaction };
        const made = await item.create(
          { code: mark, price: '2.5', lines: [{ n: 1 }, { n: 2 }] },
          { ...own, include: 'lines' },
        );
        say(mark, 'created', made.lines.length, made.id > 0);
        await item.bulkCreate([{ code: `${mark} 1` }, { code: `${mark} 2` }], own);
        say(
          mark,
          'bulk upsert',
          (
            await counter.bulkCreate(
              [
                { name: 'ann', n: 5 },
                { name: 'hal', n: 6 },
              ],
              { ...own, updateOnDuplicate: ['n'] },
            )
          ).length,
        );
        say(mark, 'upsert', await heard(async () => (await counter.upsert({ name: 'cy', n: 8 }, own))[0].n));
        say(
          mark,
          'updated',
          await item.update({ name: 'all' }, { ...own, where: { code: { [Op.startsWith]: mark } } }),
        );
        await counter.increment({ n: 3 }, { ...own, where: { name: 'fay' } });
        say(mark, 'destroyed', await item.destroy({ ...own, where: { code: `${mark} 2` } }));
        const nested = await heard(() =>
          db.transaction(own, async (inner) => item.create({ code: mark }, { transaction: inner })),
        );
        say(mark, 'nested', typeof nested === 'string' ? nested : 'done');
        const locked = await counter.findOne({ ...own, where: { name: 'fay' }, lock: transaction.LOCK.UPDATE });
        say(mark, 'locked', locked.n);
        const found = await item.findAll({
          ...own,
          where: { code: { [Op.startsWith]: mark } },
          include: 'lines',
          order: ['code', ['lines', 'id', 'ASC']],
        });
        say(
          mark,
          'found',
          found.map((each) => [each.code, each.name, each.price, each.lines.map(({ n }) => n)]),
        );
        if (mark.endsWith('gone')) throw new Error('changed its mind');
      }),
    );
    say(mark, 'end', ended ?? 'committed');
  }
  say('find or create', (await item.findOrCreate({ where: { code: 'sequelize once' } }))[1]);
  await db.close();
}

async function typeorm() {
  const Line = new EntitySchema({
    name: 'line',
    columns: { id: { type: 'bigint', primary: true, generated: true }, n: { type: 'int' } },
    relations: { item: { type: 'many-to-one', target: 'item', joinColumn: { name: 'item' } } },
  });
  const Item = new EntitySchema({
    name: 'item',
    columns: {
      id: { type: 'int', unsigned: true, primary: true, generated: true },
      code: { type: 'varchar' },
      price: { type: 'decimal', nullable: true },
      name: { type: 'varchar', nullable: true },
    },
    relations: { lines: { type: 'one-to-many', target: 'line', inverseSide: 'item', cascade: true } },
  });
  const Counter = new EntitySchema({
    name: 'counter',
    columns: { name: { type: 'varchar', primary: true }, n: { type: 'int' } },
  });
  const db = await new DataSource({
    ...login,
    username: user,
    type: 'mysql',
    extra: { connectAttributes },
    entities: [Item, Line, Counter],
  }).initialize();
  for (const mark of ['typeorm kept', 'typeorm gone']) {
    const ended = await heard(() =>
      db.transaction(async (manager) => {
        const made = await manager.save(Item, { code: mark, price: '2.5', lines: [{ n: 1 }, { n: 2 }] });
        say(mark, 'saved', made.lines.length, made.id > 0);
        await manager.save(Item, [{ code: `${mark} 1` }, { code: `${mark} 2` }]);
        made.name = 'changed';
        await manager.save(Item, made);
        say(mark, 'updated', (await manager.update(Item, { code: Like(`${mark} %`) }, { price: '7' })).affected);
        await manager.increment(Counter, { name: 'dee' }, 'n', 4);
        await manager.upsert(
          Counter,
          [
            { name: 'eve', n: 1 },
            { name: 'ivy', n: 2 },
          ],
          ['name'],
        );
        say(mark, 'deleted', (await manager.delete(Item, { code: `${mark} 2` })).affected);
        say(
          mark,
          'nested',
          (await heard(() => manager.transaction((inner) => inner.insert(Item, { code: mark })))) ?? 'done',
        );
        const locked = await manager.findOne(Counter, { where: { name: 'dee' }, lock: { mode: 'pessimistic_write' } });
        say(mark, 'locked', locked.n);
        const found = await manager.find(Item, {
          where: { code: Like(`${mark}%`) },
          relations: { lines: true },
          order: { code: 'ASC', lines: { id: 'ASC' } },
        });
        say(
          mark,
          'found',
          found.map((each) => [each.code, each.name, each.price, each.lines.map(({ n }) => n)]),
        );
        if (mark.endsWith('gone')) throw new Error('changed its mind');
      }),
    );
    say(mark, 'end', ended ?? 'committed');
  }
  await db.destroy();
}

await driver();
await sequelize();
await typeorm();
say('the end');
