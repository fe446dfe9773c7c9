/** Statements other than INSERT, REPLACE, UPDATE and DELETE: which of them may run inside a global transaction. */
import type { TransactionVerb } from '../../sql/statement.ts';
import { refuse, refuseHard, type Refused } from '../undo/refusal.ts';
import { callsUnknown } from './functions.ts';
import { lockingPlaces } from './locking.ts';
import { findWord, isOperator, isWord, type Source, type Span } from './span.ts';

export type OtherPlan =
  /** Changes nothing that undo would have to restore: goes through as it came. */
  | { readonly kind: 'pass' }
  /** Locks rows that it reads. */
  | { readonly kind: 'locks' }
  /** Transaction control. `name`: the savepoint, as written. */
  | { readonly kind: 'control'; readonly verb: TransactionVerb; readonly name?: string };

const PASS: OtherPlan = { kind: 'pass' };

/** What is done with the statement, by its first words. */
export function planOther(source: Source, span: Span): OtherPlan | Refused {
  const first = source.tokens[span.from];
  const verb = first?.text ?? '';
  if (first?.kind !== 'word' && verb !== '(') return refuseHard('a statement that begins with no word');
  const control = controlOf(source, span);
  if (control !== undefined) return control;
  if (COMMITTING.has(verb)) return refuseCommitting(source, span, verb);
  if (QUERIES.has(verb)) return planQuery(source, span, verb);
  if (verb === 'set') return planSet(source, span);
  if (EXPLAINING.has(verb)) return planExplain(source, span, verb);
  if (verb === 'do' || PLAIN.has(verb)) return called(source, span) ?? PASS;
  if (verb === 'call')
    return refuse('CALL of a procedure', 'What it does cannot be seen. Send its statements yourself.');
  if (verb === 'load') return planLoad(source, span);
  if (verb === 'execute') return refuse('EXECUTE of what was prepared by SQL', "Prepare it by the driver's own call.");
  return refuseHard(`a statement that begins with ${verb.toUpperCase().slice(0, 40)}`);
}

/** Those that change nothing but their session, or nothing at all. */
const PLAIN: ReadonlySet<string> = words('use show help prepare deallocate get signal resignal checksum handler');
const QUERIES: ReadonlySet<string> = words('select with values table (');
const EXPLAINING: ReadonlySet<string> = words('explain describe desc analyze');
/** Statements that commit the local transaction, or cannot be taken back by a database at all. */
const COMMITTING: ReadonlySet<string> = words(`
  alter backup binlog cache change clone create drop flush grant import install kill lock optimize purge rename repair reset restart
  revoke shutdown start stop truncate uninstall unlock xa`);
/** Those of them that commit nothing: they are about the server. */
const SERVING: ReadonlySet<string> = words('binlog clone kill purge restart shutdown');

function words(text: string): ReadonlySet<string> {
  return new Set(text.trim().split(/\s+/));
}

function control(verb: TransactionVerb, name?: string): OtherPlan {
  return name === undefined ? { kind: 'control', verb } : { kind: 'control', verb, name };
}

function controlOf(source: Source, span: Span): OtherPlan | Refused | undefined {
  const { from, to } = span;
  const has = (...expected: readonly string[]): boolean =>
    expected.every((word, index) => isWord(source, from + index, word));
  const name = (place: number): string | undefined =>
    place === to - 1 ? source.text.slice(source.tokens[place]?.start, source.tokens[place]?.end) : undefined;
  if (has('begin') || has('start', 'transaction')) {
    const isCompound = has('begin') && to - from > 1 && !(to - from === 2 && isWord(source, from + 1, 'work'));
    return isCompound ? refuseHard('a compound statement', 'Send its statements one by one.') : control('begin');
  }
  if (has('commit') || (has('rollback') && findWord(source, span, 'to') === to)) {
    const release = findWord(source, span, 'release');
    if (release < to && !isWord(source, release - 1, 'no')) {
      return refuseHard('COMMIT or ROLLBACK with RELEASE', 'Close the connection afterwards.');
    }
    const chains = findWord(source, span, 'chain') < to && !isWord(source, findWord(source, span, 'chain') - 1, 'no');
    const verb = has('commit') ? 'commit' : 'rollback';
    return control(chains ? `${verb}-and-chain` : verb);
  }
  const behind = findWord(source, span, 'to') + 1;
  const at = has('rollback') && isWord(source, behind, 'savepoint') ? behind + 1 : behind;
  const found = has('savepoint')
    ? (['savepoint', name(from + 1)] as const)
    : has('release', 'savepoint')
      ? (['release', name(from + 2)] as const)
      : has('rollback')
        ? (['rollback-to', name(at)] as const)
        : undefined;
  if (found === undefined) return undefined;
  const [verb, savepoint] = found;
  return savepoint === undefined ? refuseHard('a savepoint without a plain name') : control(verb, savepoint);
}

function refuseCommitting(source: Source, { from }: Span, verb: string): Refused {
  const isTemporary = (verb === 'create' || verb === 'drop') && isWord(source, from + 1, 'temporary');
  if (isTemporary) {
    return refuseHard(`${verb.toUpperCase()} TEMPORARY TABLE`, 'Do it before the global transaction begins.');
  }
  if (verb === 'xa') return refuseHard('XA, which is for the sidecar to say,');
  const why = SERVING.has(verb) ? 'which no rollback takes back' : 'which commits what came before it';
  return refuseHard(`${verb.toUpperCase()}, ${why},`);
}

/** A file of the client's is asked for in the middle of the answer, and an answer that is looked at has to come to its end by itself. */
function planLoad(source: Source, span: Span): Refused {
  const isLocal = findWord(source, span, 'local') < findWord(source, span, 'infile');
  return (isLocal ? refuseHard : refuse)(isLocal ? 'LOAD DATA LOCAL' : 'LOAD DATA', 'Insert the rows by INSERT.');
}

function called(source: Source, span: Span): Refused | undefined {
  const name = callsUnknown(source, span);
  return name === undefined ? undefined : refuse(`a call of ${name}(), which may change rows,`);
}

/** A query may write by a function that it calls, or by INTO; WITH may lead to a change. */
function planQuery(source: Source, span: Span, verb: string): OtherPlan | Refused {
  const locks = lockingPlaces(source, span);
  const [unlocked = span.to] = locks;
  if (
    verb === 'with' &&
    findWord(source, { from: span.from, to: unlocked }, 'update', 'delete', 'insert', 'replace') < unlocked
  ) {
    return refuse('WITH in front of a change', 'Write the common table expression as a derived table.');
  }
  const into = everywhere(span, (place) => isWord(source, place, 'into'));
  if (into.some((place) => isWord(source, place + 1, 'outfile', 'dumpfile')))
    return refuseHard('SELECT … INTO OUTFILE');
  const refused = called(source, span);
  if (refused !== undefined) return refused;
  return locks.length > 0 ? { kind: 'locks' } : PASS;
}

function everywhere({ from, to }: Span, matches: (place: number) => boolean): readonly number[] {
  const places: number[] = [];
  for (let place = from; place < to; place += 1) if (matches(place)) places.push(place);
  return places;
}

/** Settings of the session pass; those of the server, of users, and of autocommit do not. */
function planSet(source: Source, span: Span): OtherPlan | Refused {
  for (let place = span.from; place < span.to; place += 1) {
    if (isWord(source, place, 'global', 'persist', 'persist_only', 'password')) {
      return refuseHard(`SET ${source.tokens[place]?.text.toUpperCase()}`);
    }
    // `@@autocommit` and `@@session.autocommit` too; a variable of the user's has one sign in front.
    const isVariable = isOperator(source, place - 1, '@');
    if (source.tokens[place]?.text.toLowerCase() === 'autocommit' && !isVariable) {
      return refuseHard('SET autocommit, which may commit what came before it,', 'Use START TRANSACTION and COMMIT.');
    }
  }
  // MariaDB's SET STATEMENT … FOR runs another statement.
  if (isWord(source, span.from + 1, 'statement'))
    return refuse('SET STATEMENT', 'Set the variable by a statement of its own.');
  if (isWord(source, span.from + 1, 'role', 'default')) return refuseHard('SET ROLE');
  return called(source, span) ?? PASS;
}

/** EXPLAIN plans; ANALYZE runs, and so does MariaDB's statement of that name. */
function planExplain(source: Source, span: Span, verb: string): OtherPlan | Refused {
  const runs = verb === 'analyze' || isWord(source, span.from + 1, 'analyze');
  const isTable =
    verb === 'analyze' &&
    findWord(source, span, 'table', 'tables') < span.to &&
    findWord(source, span, 'select') === span.to;
  if (isTable) return refuseHard('ANALYZE TABLE, which commits what came before it,');
  if (runs && findWord(source, span, 'update', 'delete', 'insert', 'replace') < span.to)
    return refuse('ANALYZE of a change');
  return called(source, span) ?? PASS;
}
