/** What clients say, by chance from a seed: all messages of the protocol, in orders that no driver would think of. */
import type { FrontendMessage } from '../../proxy/postgres/wire/messages.ts';
import type { Random } from '../simulation/random.ts';
import {
  bind,
  call,
  close,
  copyData,
  copyDone,
  copyFail,
  describe,
  execute,
  flush,
  parse,
  query,
  sync,
} from '../sql-passthrough/support/messages.ts';
import type { Talk } from './play.ts';

/** The words that a talk is made of. */
export interface Vocabulary {
  /** What is said at the beginning of each session. */
  readonly opening: readonly FrontendMessage[];
  /** Texts without parameters. */
  readonly texts: readonly string[];
  /** Texts without parameters that have a place of their own: with order it is a block, without it a query. */
  readonly placedTexts: readonly string[];
  /** Texts with parameters, and a value for each. */
  readonly parameterTexts: readonly (readonly [text: string, ...values: readonly string[]])[];
  /**
   * Only what drivers do, though in any order: names that were prepared, as many values as there are parameters, row limits for reads,
   * and a Sync before each query. (Behind messages without one, servers from 17 on run a query in a transaction that they do not know how
   * to end.) Otherwise anything that the protocol has words for.
   */
  readonly isOrderly: boolean;
}

const NAMES = ['', 's', 't'] as const;
const PORTALS = ['', 'p', 'q'] as const;
const INT4_PLUS = 177;

/** One session. */
export function anyTalk(random: Random, words: Vocabulary): Talk {
  const turns = Array.from({ length: random.between(1, 6) }, () => anyTurn(random, words));
  return {
    parameters: random.chance(0.2) ? { application_name: 'a talker', options: '-c extra_float_digits=0' } : {},
    turns: [words.opening, ...turns],
    isPolite: random.chance(0.5),
  };
}

/** A talk as one reads it in a failure. */
export function readable(talk: Talk): string {
  return talk.turns
    .map((turn) => turn.map((message) => JSON.stringify(message, asText)).join('\n  '))
    .join('\n  ---\n  ');
}

function anyTurn(random: Random, words: Vocabulary): readonly FrontendMessage[] {
  const say = words.isOrderly ? orderlyWords : anyWords;
  return Array.from({ length: random.between(1, 8) }, () => say(random, words)).flat();
}

function orderlyWords(random: Random, words: Vocabulary): readonly FrontendMessage[] {
  const dice = random.next();
  if (dice < 0.35) return [sync, query(random.pick(words.texts))];
  if (dice < 0.65) return [...run(random.pick(words.texts)), ...(random.chance(0.5) ? [sync] : [])];
  if (dice < 0.75) return runTwice(random, words);
  if (dice < 0.9) return block(random, words);
  return [random.chance(0.5) ? flush : sync];
}

function run(text: string): readonly FrontendMessage[] {
  return [parse('', text), bind('', ''), describe('portal', ''), execute('')];
}

/** A statement that is prepared once, as drivers do. */
function runTwice(random: Random, words: Vocabulary): readonly FrontendMessage[] {
  const [text, ...values] = random.pick(words.parameterTexts);
  const once = [bind('', 's', values), execute('')];
  return [sync, close('statement', 's'), parse('s', text), describe('statement', 's'), sync, ...once, ...once, sync];
}

/** A block in one pipeline, with a read in portions around a part of it. */
function block(random: Random, words: Vocabulary): readonly FrontendMessage[] {
  const anyRun = (): readonly FrontendMessage[] => run(random.pick(words.placedTexts));
  const portions = Array.from({ length: random.between(0, 3) }, () => execute('rows', random.between(1, 6)));
  return [
    sync,
    query('rollback'),
    ...run('begin'),
    ...Array.from({ length: random.between(0, 3) }, anyRun).flat(),
    parse('', 'select id, name from item order by id'),
    bind('rows', ''),
    ...anyRun(),
    ...portions,
    ...run(random.pick(['commit', 'rollback'])),
    sync,
  ];
}

function anyWords(random: Random, words: Vocabulary): readonly FrontendMessage[] {
  const dice = random.next();
  if (dice < 0.26) return [query(random.pick([...words.texts, ...words.placedTexts]))];
  if (dice < 0.46) return [...whole(random, words), ...(random.chance(0.4) ? [sync] : [])];
  if (dice < 0.56) return [anyParse(random, words, random.pick(NAMES))];
  if (dice < 0.66) return [bind(random.pick(PORTALS), random.pick(NAMES), anyValues(random))];
  if (dice < 0.76) return atPortal(random, (portal) => execute(portal, anyLimit(random)));
  if (dice < 0.82) return atPortal(random, (portal) => describe('portal', portal));
  if (dice < 0.85) return [describe('statement', random.pick(NAMES))];
  if (dice < 0.87) return [close('portal', random.pick(PORTALS))];
  if (dice < 0.89) return [close('statement', random.pick(NAMES))];
  if (dice < 0.92) return [flush];
  return dice < 0.96 ? [sync] : anyExtra(random);
}

/**
 * A word about any portal. The unnamed one is bound first: where a Query has failed in a transaction that had failed before, it is that
 * Query's, freed but not forgotten, and the servers (seen on 16 and 18) end by a segmentation fault, all sessions with them.
 */
function atPortal(random: Random, word: (portal: string) => FrontendMessage): readonly FrontendMessage[] {
  const portal = random.pick(PORTALS);
  return [...(portal === '' ? [bind('', random.pick(NAMES), anyValues(random))] : []), word(portal)];
}

/** Parse, Bind, Describe and Execute, under any names. */
function whole(random: Random, words: Vocabulary): readonly FrontendMessage[] {
  const name = random.pick(NAMES);
  const portal = random.pick(PORTALS);
  return [
    ...(name === '' ? [] : [close('statement', name)]),
    anyParse(random, words, name),
    ...(random.chance(0.3) ? [describe('statement', name)] : []),
    ...(portal === '' ? [] : [close('portal', portal)]),
    bind(portal, name, random.chance(0.7) ? [] : anyValues(random)),
    ...(random.chance(0.7) ? [describe('portal', portal)] : []),
    execute(portal, anyLimit(random)),
  ];
}

function anyParse(random: Random, words: Vocabulary, name: string): FrontendMessage {
  const text = random.chance(0.3) ? random.pick(words.parameterTexts)[0] : random.pick(words.texts);
  return parse(name, text);
}

function anyLimit(random: Random): number {
  return random.pick([0, 0, 0, 1, 2, 5]);
}

function anyValues(random: Random): readonly (string | null)[] {
  return Array.from({ length: random.between(0, 2) }, () => random.pick(['1', '2', '30', 'word', null]));
}

/** A server takes nothing else while it takes COPY data: what begins a COPY ends it, too. */
function anyExtra(random: Random): readonly FrontendMessage[] {
  const end = random.chance(0.7) ? copyDone : copyFail;
  const data = Array.from({ length: random.between(0, 3) }, () =>
    copyData(random.pick(['one\n', 'tw', 'o\n', '1\t2\n'])),
  );
  const copy = random.pick(['copy log (line) from stdin', 'copy item from stdin', 'copy nowhere from stdin']);
  switch (random.between(0, 5)) {
    case 0:
      return [query(copy), ...data, end];
    case 1:
      return [
        parse('copy', copy),
        bind('copy', 'copy'),
        execute('copy'),
        ...data,
        end,
        close('statement', 'copy'),
        sync,
      ];
    case 2:
      return [parse('', copy), bind('', ''), execute(''), sync, ...data, end, sync];
    case 3:
      return [call(random.pick([INT4_PLUS, 1]), '2', random.pick(['3', 'x', null]))];
    case 4:
      return [query('listen here'), query("notify here, 'payload'")];
    default:
      return [...data, end];
  }
}

function asText(_key: string, value: unknown): unknown {
  const isBytes = typeof value === 'object' && value !== null && 'type' in value && value.type === 'Buffer';
  return isBytes && 'data' in value && Array.isArray(value.data)
    ? Buffer.from(value.data as number[]).toString()
    : value;
}
