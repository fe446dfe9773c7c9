/** What the gates of all kinds of transactions have in common: each decides once, by the answer or without one. */
import type { Gate, Verdict } from '../http/admission.ts';
import type { BeginRule } from '../transaction/begin.ts';
import { outcomeHeaders, submit, untilOver, type Outcome, type Undecided } from '../transaction/decide.ts';

/** How one kind of transaction is decided. Neither rejects. */
export interface Decisions {
  /** The application has answered with this status. */
  readonly answered: (status: number) => Promise<Verdict>;
  /** Nobody will get an answer. `reason`: for people who look at the transaction. */
  readonly unanswered: (reason: string) => Promise<Outcome>;
}

/** A gate that decides over `transaction` once, and lets no decision be forgotten when the client has gone. */
export function gateOf(transaction: Undecided, { answered, unanswered }: Decisions): Gate {
  let isDeciding = false;
  const follow = <T>(decision: Promise<T>): Promise<T> => {
    isDeciding = true;
    transaction.follow(decision);
    return decision;
  };
  return {
    answered: ({ status }) => follow(answered(status)),
    failed: async (error) =>
      outcomeHeaders(transaction.gid, await follow(unanswered(`the application did not answer: ${error.message}`))),
    clientLeft() {
      if (!isDeciding) void follow(unanswered('the client left before the answer'));
    },
  };
}

/** Commits, and lets the answer pass once that is durable, or carried out where the rule asks for it. */
export async function submitted(transaction: Undecided, rule: BeginRule): Promise<Verdict> {
  const { gid } = transaction;
  const { outcome, error } = await submit(transaction);
  if (error !== undefined) return { kind: 'replace', error, headers: outcomeHeaders(gid, outcome) };
  if (rule.wait === 'finished') await untilOver(transaction, rule.timeout);
  return { kind: 'pass', headers: outcomeHeaders(gid, 'committed') };
}
