/** Two gates, one behind the other. */
import type { Gate, Replacement } from '../http/admission.ts';
import { replacementOf } from '../http/errors.ts';
import { withHeaders } from '../http/headers.ts';

/** What `first` lets through is seen by `second`, with the headers that the first has added. What it replaces counts there as no answer. */
export function openGates(first: Gate | undefined, second: Gate): Gate {
  if (first === undefined) return second;
  return {
    keeps: Math.max(first.keeps ?? 0, second.keeps ?? 0),
    async answered(answer) {
      const verdict = await first.answered(answer);
      switch (verdict.kind) {
        case 'pass': {
          const headers = withHeaders(answer.headers, verdict.headers);
          const behind = await second.answered({ ...answer, headers });
          return behind.kind === 'pass' ? { kind: 'pass', headers: [...verdict.headers, ...behind.headers] } : behind;
        }
        case 'answer': {
          const behind = await second.answered(verdict.answer);
          return behind.kind === 'pass' ? verdict : behind;
        }
        case 'replace':
          return await failedToo(verdict, second);
      }
    },
    async failed(error) {
      return await failedToo(replacementOf(error, await first.failed(error)), second);
    },
    clientLeft() {
      first.clientLeft();
      second.clientLeft();
    },
  };
}

/** What the client gets when `gate` hears that it gets `instead`. */
async function failedToo({ error, headers }: Replacement, gate: Gate): Promise<Replacement> {
  const behind = replacementOf(error, await gate.failed(error));
  return { ...behind, headers: [...headers, ...behind.headers] };
}
