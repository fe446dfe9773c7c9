/** What one session knows of the names in its statements, and the questions by which it comes to know it. */
import type { Planned } from '../../sql/planner.ts';
import {
  factKey,
  factsParameters,
  readFacts,
  readNames,
  type FunctionFacts,
  type PreparedName,
  type RelationFacts,
} from '../catalog.ts';
import { FACTS_SQL, NAMES_SQL } from '../catalog-sql.ts';
import type { Known, SharedFacts } from './shared-facts.ts';
import type { KeptPlan, KeptText, Needs } from './shared-plans.ts';

/**
 * After this long a fact is asked for again. A capturing statement itself checks that its table has kept its shape; what a function
 * or a view may write, and a change of the table that a REPEATABLE READ snapshot does not show yet, is known with this delay.
 */
const FACT_AGE_MS_MAX = 60_000;
const FACTS_MAX = 5_000;
/** Asked with whatever else is, so that a statement that has only these beside known tables waits for no question of its own. */
const COMMON_OPERATORS: readonly string[] = ['=', '<>', '<', '<=', '>', '>=', '+', '-', '*', '/', '||', '~~'].map(
  (name) => factKey({ schema: undefined, name }),
);
const NONE: readonly string[] = [];

type Question = Extract<Planned, { readonly kind: 'facts-needed' }>;

export class SessionFacts {
  readonly #shared: SharedFacts;
  readonly #relations = new Map<string, Known<RelationFacts | 'missing'>>();
  readonly #functions = new Map<string, Known<FunctionFacts>>();
  /** What the names of EXECUTE stand for, from the answer of the server to the statement that is planned next, and no longer. */
  readonly #prepared = new Map<string, PreparedName>();
  /** The question that was put last, while a statement waits for answers, and the generation of what is shared at that moment. */
  #asked: { readonly about: Question['about']; readonly generation: number } | undefined;
  /** Names whose meaning was asked: where nobody else knows their facts, the next question is for those. */
  readonly #named = new Set<string>();
  #generation: number;

  constructor(shared: SharedFacts) {
    this.#shared = shared;
    this.#generation = shared.generation;
  }

  get isEmpty(): boolean {
    return this.#relations.size + this.#functions.size === 0;
  }

  relation(key: string): RelationFacts | 'missing' | undefined {
    return this.#relations.get(key)?.fact;
  }

  called(key: string): FunctionFacts | undefined {
    return this.#functions.get(key)?.fact;
  }

  prepared(name: string): PreparedName | undefined {
    return this.#prepared.get(name);
  }

  /**
   * Drops every fact when another session has learned that the catalogue has moved; not from under a statement that waits for answers,
   * which might otherwise wait for ever.
   */
  follow(): void {
    if (this.#generation === this.#shared.generation || this.#asked !== undefined) return;
    this.forget();
    this.#generation = this.#shared.generation;
  }

  forget(): void {
    this.#relations.clear();
    this.#functions.clear();
    this.forgetPrepared();
    this.#named.clear();
  }

  /** The statement is planned for which it was asked what names of EXECUTE stand for. */
  forgetPrepared(): void {
    this.#prepared.clear();
  }

  /** What is temporary or missing now may be something else by the next statement: such facts serve once. */
  forgetFleeting(): void {
    for (const [key, { fact }] of this.#relations) if (isFleeting(fact)) this.#relations.delete(key);
  }

  /** The facts in the order of the needs; undefined unless all will be the same for a while. */
  lasting(needs: Needs): Pick<KeptPlan, 'relations' | 'functions'> | undefined {
    const relations: RelationFacts[] = [];
    const functions: FunctionFacts[] = [];
    for (const key of needs.relations) {
      const fact = this.relation(key);
      if (fact === undefined || fact === 'missing' || isFleeting(fact)) return undefined;
      relations.push(fact);
    }
    for (const key of needs.functions) {
      const fact = this.called(key);
      if (fact === undefined) return undefined;
      functions.push(fact);
    }
    return { relations, functions };
  }

  /** The plan of a text that was made of the facts that this session has. */
  planIn({ needs, plans }: KeptText): KeptPlan | undefined {
    const [first] = needs.relations;
    const fact = first === undefined ? undefined : this.relation(first);
    const plan = fact === 'missing' ? undefined : plans.get(fact);
    if (plan === undefined) return undefined;
    const isSame =
      needs.relations.every((key, index) => this.relation(key) === plan.relations[index]) &&
      needs.functions.every((key, index) => this.called(key) === plan.functions[index]);
    return isSame ? plan : undefined;
  }

  /** What the server must be asked before a text with these needs can be planned; undefined when everything is known. */
  question(needs: Needs, prepared: readonly string[], nowMs: number): Question | undefined {
    const relations = unknownOf(needs.relations, this.#relations, nowMs);
    const functions = unknownOf(needs.functions, this.#functions, nowMs);
    const unprepared = prepared.filter((name) => !this.#prepared.has(name));
    if (relations.length + functions.length + unprepared.length === 0) {
      if (this.#named.size > 0) this.#named.clear();
      this.#asked = undefined;
      return undefined;
    }
    const about = this.#isEnoughToName(relations, functions, nowMs) ? 'names' : 'facts';
    if (about === 'names') for (const key of [...relations.map(named), ...functions]) this.#named.add(key);
    this.#asked = { about, generation: this.#shared.generation };
    const called =
      relations.length + functions.length === 0
        ? NONE
        : [...new Set([...functions, ...unknownOf(COMMON_OPERATORS, this.#functions, nowMs)])];
    return {
      kind: 'facts-needed',
      about,
      sql: about === 'names' ? NAMES_SQL : FACTS_SQL,
      parameters: factsParameters(relations, called, unprepared),
    };
  }

  /** Takes the answer to the question that was put last. */
  learn(rows: readonly (readonly (string | null)[])[], nowMs: number): void {
    if (this.#relations.size + this.#functions.size > FACTS_MAX) {
      this.#relations.clear();
      this.#functions.clear();
    }
    if (this.#asked?.about === 'names') this.#learnNames(rows, nowMs);
    else this.#learnFacts(rows, nowMs);
  }

  #isEnoughToName(relations: readonly string[], functions: readonly string[], nowMs: number): boolean {
    const isNamed =
      relations.some((key) => this.#named.has(named(key))) || functions.some((key) => this.#named.has(key));
    return !isNamed && this.#shared.mayKnow(relations, functions, nowMs);
  }

  #learnNames(rows: readonly (readonly (string | null)[])[], nowMs: number): void {
    const names = readNames(rows);
    for (const [name, fact] of names.prepared) this.#prepared.set(name, fact);
    // What this local transaction sees of the catalogue, it may see alone: it asks for everything itself.
    if (!names.reading.isCommon) return;
    for (const [key, meant] of names.relations) {
      const known =
        meant === 'missing'
          ? { fact: meant, until: nowMs + FACT_AGE_MS_MAX }
          : this.#shared.relation(names.reading, meant, nowMs);
      if (known !== undefined) this.#relations.set(key, known);
    }
    for (const key of names.functions.keys()) {
      const known = this.#shared.called(names, key, nowMs);
      if (known !== undefined) this.#functions.set(key, known);
    }
  }

  #learnFacts(rows: readonly (readonly (string | null)[])[], nowMs: number): void {
    const until = nowMs + FACT_AGE_MS_MAX;
    const facts = this.#shared.interned(readFacts(rows));
    for (const [key, found] of facts.relations)
      this.#relations.set(key, { fact: found === 'missing' ? found : found.fact, until });
    for (const [key, { fact }] of facts.functions) this.#functions.set(key, { fact, until });
    for (const [name, fact] of facts.prepared) this.#prepared.set(name, fact);
    if (this.#asked !== undefined) this.#shared.publish(facts, this.#asked.generation, until);
  }
}

function unknownOf(
  keys: readonly string[],
  facts: ReadonlyMap<string, Known<unknown>>,
  nowMs: number,
): readonly string[] {
  // Mostly everything is known.
  if (keys.every((key) => (facts.get(key)?.until ?? -Infinity) > nowMs)) return NONE;
  return [...new Set(keys)].filter((key) => (facts.get(key)?.until ?? -Infinity) <= nowMs);
}

/** A relation among names of both kinds. */
function named(key: string): string {
  return `relation ${key}`;
}

function isFleeting(fact: RelationFacts | 'missing'): boolean {
  return fact === 'missing' || fact.persistence === 'temporary';
}
