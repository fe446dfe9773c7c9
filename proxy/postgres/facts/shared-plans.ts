/**
 * The plans of texts, for all sessions of one sidecar database. A plan follows from the text, the server's major version and the facts of the names in
 * it alone: a session that has the very same facts has the same plan. Along another search path a text has another one.
 */
import type { FunctionFacts, RelationFacts } from '../catalog.ts';
import type { Planned } from '../../sql/planner.ts';
import type { StatementPlan } from '../../sql/statement.ts';
import { SegmentedCache } from '../segmented-cache.ts';

/** What must be known to plan a text: keys of relations, and of what is called. */
export interface Needs {
  readonly relations: readonly string[];
  readonly functions: readonly string[];
}

/** The plans of a text for those facts, in the order of what it needs. */
export interface KeptPlan {
  readonly planned: Planned;
  readonly serverMajor: number;
  /** It begins or ends a local transaction, or a part of one. */
  readonly isControl: boolean;
  readonly relations: readonly RelationFacts[];
  readonly functions: readonly FunctionFacts[];
}

export interface KeptText {
  readonly needs: Needs;
  /** By the facts of the first relation: the schemas of tenants have a table of that name each. */
  readonly plans: Map<RelationFacts | undefined, KeptPlan>;
  bytes: number;
}

/** What thousands of sessions would need once each, they need once. */
const TEXTS = { entries: 5_000, bytes: 64 * 1024 * 1024 };
/** Of one text; what is more is forgotten, the oldest first. */
const PLANS_MAX = 1_000;
const OVERHEAD_BYTES = 500;

export class SharedPlans {
  readonly #texts = new SegmentedCache<string, KeptText>(TEXTS);

  /** What is known of a text; it grows no older. */
  find(text: string): KeptText | undefined {
    return this.#texts.get(text, 0);
  }

  keep(text: string, needs: Needs, plan: KeptPlan): void {
    const kept = this.#texts.get(text, 0) ?? { needs, plans: new Map(), bytes: 3 * text.length };
    const [first] = plan.relations;
    kept.bytes += bytesOf(plan.planned) - bytesOf(kept.plans.get(first)?.planned);
    kept.plans.set(first, plan);
    for (const [oldest, { planned }] of kept.plans) {
      if (kept.plans.size <= PLANS_MAX) break;
      kept.plans.delete(oldest);
      kept.bytes -= bytesOf(planned);
    }
    this.#texts.set(text, { value: kept, bytes: kept.bytes, untilMs: Infinity });
  }
}

function bytesOf(planned: Planned | undefined): number {
  if (planned?.kind !== 'plans') return 0;
  return planned.plans.reduce((sum, { plan }) => sum + textBytesOf(plan), OVERHEAD_BYTES);
}

function textBytesOf(plan: StatementPlan): number {
  const capture = plan.kind === 'change' ? plan.waits : plan.kind === 'capture' ? plan.capture : undefined;
  return capture === undefined ? 0 : 2 * (capture.sql.length + capture.sqlWhenEntered.length);
}
