/**
 * Sessions whose steps interleave, as PostgreSQL's isolationtester plays them, and what may come of it. Written as data.
 *
 * A step is SQL, or about a global transaction: `submit g`, `abort g`; `end g` submits, or aborts when a statement of the session had failed.
 */
export interface Session {
  /** The global transaction that its statements name. Absent: none, over a connection past the sidecar. */
  readonly gid?: string;
  /** Without a gid it connects through the sidecar all the same. */
  readonly isThrough?: true;
  /** The protocol by which it speaks. Default simple. */
  readonly protocol?: 'simple' | 'extended';
  readonly steps: readonly string[];
}

/**
 * How an outcome reads: for each session its name and a word for each step, then the rows of `look`.
 * `app: ok ok 40000 | end: failed | 1`. A statement that answers rows is told by their values, any other by `ok`, a COMMIT that rolls back by
 * `rollback`, an error by its SQLSTATE; a decision by what became of the global transaction.
 */
export interface Spec {
  readonly rule: string;
  readonly sessions: Readonly<Record<string, Session>>;
  /** Whose next step comes when, by the sessions' names. Absent: every order that there is. */
  readonly orders?: readonly string[];
  /** A query of one value that says which rows are there in the end. */
  readonly look: string;
  /** Everything that may come of it, whatever the order, and why. Each must come of one order at the least, unless its reason begins with `maybe`. */
  readonly permitted: Readonly<Record<string, string>>;
}

/** The names of sessions in the order of their steps. */
export type Order = readonly string[];

/** Every order in which the sessions' steps can come, or those that the spec names. */
export function ordersOf({ sessions, orders }: Spec): readonly Order[] {
  if (orders !== undefined) return orders.map((order) => order.split(' '));
  return interleavings(Object.entries(sessions).map(([name, { steps }]) => ({ name, left: steps.length })));
}

/** Its global transactions, by the names that the spec gives them. */
export function gidsOf({ sessions }: Spec): ReadonlySet<string> {
  return new Set(Object.values(sessions).flatMap(({ gid }) => (gid === undefined ? [] : [gid])));
}

function interleavings(parts: readonly { readonly name: string; readonly left: number }[]): readonly Order[] {
  const ready = parts.filter(({ left }) => left > 0);
  if (ready.length === 0) return [[]];
  return ready.flatMap(({ name }) => {
    const rest = parts.map((part) => (part.name === name ? { name, left: part.left - 1 } : part));
    return interleavings(rest).map((order) => [name, ...order]);
  });
}
