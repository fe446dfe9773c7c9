/** The drivers and mappers inside a global transaction: what they hear, and the rows that they leave, compared with those of the server alone. */
import { readFile } from 'node:fs/promises';
import type mysql from 'mysql2/promise';
import { startMesh, type Mesh } from '../../../mysql-servers/inside/mesh.ts';
import { SERVERS } from '../../../mysql-servers/second-phase/world.ts';
import { TALKS, type Login, type Talk } from './talks.ts';

/** What a talk has come to. */
export interface Told {
  readonly name: string;
  /** Answers that are the server's own, in the global transaction that commits and in the one that does not. */
  readonly same: number;
  /** Refusals of ours, by their reason. */
  readonly refused: ReadonlyMap<string, number>;
  /** What is wrong. */
  readonly faults: readonly string[];
}

/** What refers to rows comes before them. */
const TABLES = [
  'line',
  'item_tag',
  'tag',
  'item',
  'counter',
  'big',
  'task_label',
  'task_step',
  'task',
  'memo',
  'hibernate_id',
  'firm',
  'party',
  'remark',
  'remarked',
];
const GID_MS = 600_000;
const FAULT_CHARACTERS_MAX = 1000;
const FAULTS_MAX = 20;

/** The rows that every talk begins with. */
const ROWS = `insert into item (code, price, name) values ('seed', 1, 'Seed'), ('other', null, null);
insert into line (item, n) values (1, 1), (1, 2);
insert into counter values ('ann', 1), ('bob', 2), ('cy', 3), ('dee', 4), ('eve', 5), ('fay', 6);
insert into tag (name) values ('blue'), ('late'), ('red');
insert into hibernate_id values ('task', 0);
insert into big select a.n * 100 + b.n * 10 + c.n, repeat('x', 500) from digit a, digit b, digit c`;
const DIGITS = `create table digit (n int primary key); insert into digit values (0), (1), (2), (3), (4), (5), (6), (7), (8), (9)`;

/** Runs the talks on each server. `scratch` is a folder for what they need. */
export async function* runInside(scratch: string, names: readonly string[]): AsyncGenerator<Told> {
  const chosen = TALKS.filter(({ name }) => names.length === 0 || names.includes(name));
  if (chosen.length === 0) return;
  const tables = await readFile(new URL('schema.sql', import.meta.url), 'utf8');
  for (const talk of chosen) {
    const ready = await talk.prepare(scratch);
    if (!ready.isOk) throw new Error(`${talk.name} could not be made ready: ${ready.output}`);
  }
  for (const [server, start] of SERVERS) {
    await using mesh = await startMesh({ start, schema: `${tables} ${DIGITS}`, database: { escalate: 'xa' } });
    for (const talk of chosen) {
      const told = await compare(mesh, talk, scratch);
      yield { ...told, name: `${talk.name} on ${server}` };
    }
  }
}

async function compare(mesh: Mesh, talk: Talk, scratch: string): Promise<Omit<Told, 'name'>> {
  const { user, port: direct } = mesh.server;
  const faults: string[] = [];
  const say = async (login: Omit<Login, 'user'>): Promise<ReadonlyMap<string, string>> => {
    const { isOk, output } = await talk.run({ ...login, user }, scratch);
    if (!isOk) faults.push(`it broke off: ${output.trimEnd().slice(-FAULT_CHARACTERS_MAX)}`);
    return answersIn(output);
  };
  await fill(mesh, 'plain');
  const wanted = await say({ port: direct, database: 'plain', gid: '' });
  const rows = await dump(mesh, 'plain');
  const refused = new Map<string, number>();
  let same = 0;
  if (wanted.size < talk.least || !wanted.has('the end')) faults.push(`only ${wanted.size} answers without a sidecar`);
  for (const outcome of ['commit', 'rollback'] as const) {
    await fill(mesh, 'shop');
    const before = await images(mesh);
    const gid = await mesh.begin(GID_MS);
    const heard = await say({ port: mesh.port, database: 'shop', gid });
    for (const [name, answer] of wanted) {
      const inside = heard.get(name);
      const reason = /atomesh: (.*)/.exec(inside ?? '')?.[1];
      if (inside === answer) same += 1;
      else if (reason !== undefined) refused.set(reason, (refused.get(reason) ?? 0) + 1);
      else
        faults.push(`${outcome}: ${name}: ${inside}, and without a sidecar ${answer}`.slice(0, FAULT_CHARACTERS_MAX));
    }
    const status = await mesh.end(gid, outcome);
    if (status !== (outcome === 'commit' ? 'succeed' : 'failed')) {
      const view = await mesh.coordinator.read(gid, 0);
      faults.push(`the ${outcome} is ${status}: ${view?.branches.map(({ lastError }) => lastError).join('; ')}`);
    }
    if (outcome === 'commit') faults.push(...differences(rows, await dump(mesh, 'shop'), outcome));
    else faults.push(...differences(before, await images(mesh), outcome));
    const leftovers = await mesh.leftovers();
    if (leftovers !== '0 records, 0 locks') faults.push(`the ${outcome} leaves ${leftovers}`);
  }
  return { same, refused, faults: faults.slice(0, FAULTS_MAX) };
}

/** Lines of the form `= name: answer`; a name that comes again is numbered. */
function answersIn(output: string): ReadonlyMap<string, string> {
  const answers = new Map<string, string>();
  for (const [, line = ''] of output.matchAll(/^= (.*)$/gm)) {
    const [name = '', ...rest] = line.split(': ');
    let unique = name;
    for (let turn = 2; answers.has(unique); turn += 1) unique = `${name} ${turn}`;
    // Errors name the database.
    answers.set(unique, rest.join(': ').replaceAll(/\b(?:shop|plain)\b/g, 'db'));
  }
  return answers;
}

/** Puts the rows of the beginning into the tables, which stay the same tables. */
async function fill(mesh: Mesh, database: string): Promise<void> {
  const truncate = TABLES.map((table) => `truncate ${table}`).join(';');
  await mesh.server.run(
    `use ${database}; set foreign_key_checks = 0; ${truncate}; set foreign_key_checks = 1; ${ROWS}`,
  );
}

/** All rows. Numbers that were given and not used are no rows: what refers to a row is told by the row's own name. */
async function dump(mesh: Mesh, database: string): Promise<readonly string[]> {
  const selects = [
    `select 'item', i.code, price, name, at, hex(raw), flag + 0, big, note, edition from ${database}.item i order by i.code`,
    `select 'line', i.code, l.n from ${database}.line l join ${database}.item i on i.id = l.item order by i.code, l.n, l.id`,
    `select 'counter', c.* from ${database}.counter c order by name`,
    `select 'big', count(*), sum(length(body)) from ${database}.big`,
    `select 'task', t.name, done + 0, edition, label, place, step from ${database}.task t
      left join ${database}.task_label l on l.task = t.id left join ${database}.task_step s on s.task = t.id order by t.name, label, place`,
    `select 'remarked', name, remark from ${database}.remarked d left join ${database}.remark r on r.remarked = d.id order by name, remark`,
    `select 'tag', i.code, t.name from ${database}.item_tag a join ${database}.item i on i.id = a.item join ${database}.tag t on t.id = a.tag order by 2, 3`,
    `select 'memo', name from ${database}.memo order by name`,
    `select 'firm', name, size from ${database}.party left join ${database}.firm using (id) order by name`,
  ];
  const owner = await mesh.plain();
  const rows: string[] = [];
  for (const sql of selects) {
    const [each] = await owner.query<mysql.RowDataPacket[]>({ sql, rowsAsArray: true });
    rows.push(...each.map((row) => JSON.stringify(row)));
  }
  await owner.end();
  return rows;
}

/** Every byte of every row of `shop`. Keys that a mapper has been given outside its local transaction are not turned back, as those of the server are not. */
async function images(mesh: Mesh): Promise<readonly string[]> {
  const selects =
    await mesh.lines(`select concat('select "', table_name, '", hex(', group_concat(column_name order by ordinal_position separator '), hex('), ') from ', table_name)
    from information_schema.columns natural join information_schema.tables where table_schema = 'shop' and table_type = 'BASE TABLE' and table_name not in ('hibernate_id', 'memo_seq') group by table_name`);
  const tables = await Promise.all(selects.map((sql) => mesh.lines(sql)));
  return tables.flat().toSorted();
}

function differences(wanted: readonly string[], got: readonly string[], outcome: string): readonly string[] {
  const [lost, extra] = [wanted.filter((row) => !got.includes(row)), got.filter((row) => !wanted.includes(row))];
  if (lost.length + extra.length === 0 && wanted.length === got.length) return [];
  return [
    `the ${outcome} leaves other rows: ${lost.join(' ')} missing, ${extra.join(' ')} too many`.slice(
      0,
      FAULT_CHARACTERS_MAX,
    ),
  ];
}
