/** How a statement of ours runs for a client that has sent a text: by the extended protocol, under names of its own. */
import { holdsLocks } from '../../../sql/session.ts';
import type { Capture } from '../../../sql/statement.ts';
import type { UndoBranch } from '../../../sql/work.ts';
import { quoteText } from '../../identifier.ts';
import { ownTypes, ownValues, withoutPosition, type CaptureRun } from '../capture-run.ts';
import type { Conversation } from '../conversation.ts';
import type { Request } from '../exchange.ts';
import { encodeBind } from '../../wire/bind.ts';
import { encodeClose, encodeDescribe } from '../../wire/describe.ts';
import { encodeExecute } from '../../wire/execute.ts';
import { BACKEND } from '../../wire/frames.ts';
import { encodeParse } from '../../wire/parse.ts';

const UNNAMED = Buffer.alloc(0);
/** What a capturing statement is called that runs for a simple query. */
const OURS = Buffer.from('atomesh_simple');
/** What runs it for a client that runs by EXECUTE what it has prepared. */
const EXECUTING = Buffer.from('atomesh_execute');
/** A simple query leaves no unnamed statement behind, neither an earlier one of the client's nor one of ours. */
const CLOSE_ALL: readonly Buffer[] = [UNNAMED, OURS, EXECUTING].map((name) =>
  encodeClose({ kind: 'close', target: 'statement', name }),
);

/**
 * A run, and the description of its rows, which goes out with them: the server sends none ahead of an error. `watch`: is shown each request
 * ahead of the Execute whose error would be the client's.
 */
export function captureRun(
  c: Conversation,
  admission: CaptureRun['admission'],
  branch: UndoBranch,
  watch = (request: Request): void => tellError(c, request),
): CaptureRun & { readonly fields: () => readonly Buffer[] } {
  const { capture } = admission;
  let description: Request | undefined;
  return {
    branch,
    admission,
    isAlone: c.state.block === 'idle',
    keepsLocks: c.state.lockedRows,
    holdsLocks: holdsLocks(c.state),
    isBound: false,
    bindAgain(committed) {
      const text = Buffer.from(admission.enter ? capture.sql : capture.sqlWhenEntered);
      const values = ownValues(capture.ownParameters, {
        branch,
        timeZone: c.settings.get('TimeZone') ?? 'UTC',
        committed,
      });
      for (const close of CLOSE_ALL) watch(c.exchange.add({ kind: 'close', to: 'nobody' }, close));
      const { execute } = capture;
      const parse = (statement: Buffer, sql: Buffer, parameterTypes: readonly number[]): void =>
        watch(
          c.exchange.add(
            { kind: 'parse', to: 'nobody' },
            encodeParse({ kind: 'parse', statement, text: sql, parameterTypes }),
          ),
        );
      parse(OURS, text, [...(execute?.types ?? []), ...ownTypes(capture.ownParameters)]);
      if (execute !== undefined) parse(EXECUTING, executeSql(execute, values), []);
      watch(
        c.exchange.add(
          { kind: 'bind', to: 'nobody' },
          encodeBind({
            kind: 'bind',
            portal: UNNAMED,
            statement: execute === undefined ? OURS : EXECUTING,
            formats: [],
            values: execute === undefined ? values : [],
            resultFormats: [],
          }),
        ),
      );
      if (capture.returnsRows) {
        description = c.exchange.add(
          { kind: 'describe-portal', to: 'held' },
          encodeDescribe({ kind: 'describe', target: 'portal', name: UNNAMED }),
        );
      }
    },
    execute: () =>
      c.exchange.add({ kind: 'execute', to: 'held' }, encodeExecute({ kind: 'execute', portal: UNNAMED, maxRows: 0 })),
    // NoData is no answer to a simple query.
    fields: () => (description?.frames ?? []).filter((each) => each[0] === BACKEND.rowDescription),
  };
}

function tellError(c: Conversation, request: Request): void {
  request.onEnd = () => {
    if (request.error !== undefined) c.toClient(withoutPosition(request.error));
  };
}

/** The server computes the client's arguments and gives them their types, as it would for the statement that the client prepared. */
function executeSql({ arguments: given }: NonNullable<Capture['execute']>, values: readonly Buffer[]): Buffer {
  const own = values.map((value) => quoteText(value.toString('utf8')));
  const all = given === undefined ? own : [`${given}\n`, ...own];
  return Buffer.from(`EXECUTE ${OURS.toString()} (${all.join(', ')})`);
}
