/**
 * What the sessions of one sidecar database have read of its catalogue, for each other. Facts of a relation are kept by its oid, and
 * those of what is called by the path along which its name was looked up: what a name means, each session asks the server itself, in
 * its own role, with its own temporary tables and its own path. Nothing comes in that only one local transaction could see.
 */
import type { Facts, FunctionFacts, Names, Reading, RelationFacts } from '../catalog.ts';
import { SegmentedCache } from '../segmented-cache.ts';
import { SharedPlans } from './shared-plans.ts';

/** A fact, and from when on it is asked for again: milliseconds of the clock that the planners are told. */
export interface Known<T> {
  readonly fact: T;
  readonly until: number;
}

interface KnownFunction extends Known<FunctionFacts> {
  readonly version: string;
}

const RELATIONS = { entries: 5_000, bytes: 32 * 1024 * 1024 };
const FUNCTIONS = { entries: 20_000, bytes: 8 * 1024 * 1024 };
const UNSAFE = { entries: 1_000, bytes: 1024 * 1024 };
/** What an entry takes beside its key and content, roughly. */
const OVERHEAD_BYTES = 200;
/** Mostly they are. One object for all, so that facts are compared by identity. */
const SAFE: FunctionFacts = { kind: 'function', unsafe: [] };
/** Types are looked up in the session's own temporary schema as well, whose name another session has after it. */
const TEMPORARY = /^pg_temp_/;

export class SharedFacts {
  readonly plans = new SharedPlans();

  /** Changes whenever the catalogue is known to have moved. */
  #generation = 0;
  readonly #relations = new SegmentedCache<string, Known<RelationFacts>>(RELATIONS);
  readonly #functions = new SegmentedCache<string, KnownFunction>(FUNCTIONS);
  /** Names of which something is known, under whatever path. */
  readonly #names = new SegmentedCache<string, true>(FUNCTIONS);
  /** One object for all facts of the same content, whoever has read them. */
  readonly #contents = new SegmentedCache<string, RelationFacts>(RELATIONS);
  readonly #unsafe = new SegmentedCache<string, FunctionFacts>(UNSAFE);

  get generation(): number {
    return this.#generation;
  }

  /** The catalogue has changed, or a statement met another relation than it was planned for: nothing is given out any more. */
  moved(): void {
    this.#generation += 1;
    this.#relations.clear();
    this.#functions.clear();
    this.#names.clear();
  }

  /** True where asking what these names mean may be enough. */
  mayKnow(relations: readonly string[], functions: readonly string[], nowMs: number): boolean {
    return (
      relations.every((key) => this.#names.get(relationName(key), nowMs) === true) &&
      functions.every((key) => this.#names.get(key, nowMs) === true)
    );
  }

  /** The facts of a relation, unless it has another shape by now. */
  relation(
    { database }: Reading,
    { oid, shape }: { readonly oid: number; readonly shape: string },
    nowMs: number,
  ): Known<RelationFacts> | undefined {
    const known = this.#relations.get(relationKey(database, oid), nowMs);
    return known?.fact.shape === shape ? known : undefined;
  }

  /** What a name may call along the path of this reading, unless there are other functions of that name by now. */
  called(names: Names, key: string, nowMs: number): Known<FunctionFacts> | undefined {
    const known = this.#functions.get(functionKey(names.reading, key), nowMs);
    return known?.version === names.functions.get(key) ? known : undefined;
  }

  /** The same facts with one object for each content. */
  interned(facts: Facts): Facts {
    return {
      ...facts,
      relations: new Map(
        [...facts.relations].map(([key, found]) => [
          key,
          found === 'missing' ? found : { ...found, fact: this.#relationOf(found) },
        ]),
      ),
      functions: new Map(
        [...facts.functions].map(([key, { fact, version }]) => [key, { fact: this.#functionOf(fact), version }]),
      ),
    };
  }

  /** Takes in what was read, for all sessions, if it is true for all. `generation`: that of the moment at which it was asked. */
  publish({ reading, relations, functions }: Facts, generation: number, untilMs: number): void {
    if (!reading.isCommon || generation !== this.#generation) return;
    for (const [name, found] of relations) {
      if (found === 'missing' || found.fact.persistence === 'temporary') continue;
      const { fact, content } = found;
      const bytes = OVERHEAD_BYTES + content.length;
      const key = relationKey(reading.database, fact.oid);
      this.#relations.set(key, { value: { fact, until: untilMs }, bytes, untilMs });
      this.#name(relationName(name), untilMs);
    }
    if (reading.path.some((schema) => TEMPORARY.test(schema))) return;
    for (const [name, { fact, version }] of functions) {
      const key = functionKey(reading, name);
      const bytes = OVERHEAD_BYTES + 2 * key.length;
      this.#functions.set(key, { value: { fact, version, until: untilMs }, bytes, untilMs });
      this.#name(name, untilMs);
    }
  }

  #name(name: string, untilMs: number): void {
    this.#names.set(name, { value: true, bytes: OVERHEAD_BYTES + 2 * name.length, untilMs });
  }

  #relationOf({ fact, content }: { readonly fact: RelationFacts; readonly content: string }): RelationFacts {
    const known = this.#contents.get(content, 0);
    if (known !== undefined) return known;
    this.#contents.set(content, { value: fact, bytes: OVERHEAD_BYTES + 4 * content.length, untilMs: Infinity });
    return fact;
  }

  #functionOf(fact: FunctionFacts): FunctionFacts {
    if (fact.unsafe.length === 0) return SAFE;
    const content = JSON.stringify(fact.unsafe);
    const known = this.#unsafe.get(content, 0);
    if (known !== undefined) return known;
    this.#unsafe.set(content, { value: fact, bytes: OVERHEAD_BYTES + 4 * content.length, untilMs: Infinity });
    return fact;
  }
}

function relationKey(database: string, oid: number): string {
  return `${oid} ${database}`;
}

function relationName(key: string): string {
  return `relation ${key}`;
}

function functionKey({ database, path }: Reading, key: string): string {
  return JSON.stringify([key, database, path]);
}
