import fc from 'fast-check';
import test from 'ava';
import { markText, parseMark, parseTask } from '../../src/contract/transaction.ts';

const gidText = fc.stringMatching(/^[A-Za-z0-9._:{}-]{1,128}$/);
const branchText = fc.stringMatching(/^(?:0[1-9]|[1-9][0-9])(?:[0-9]{2}){0,3}$/);

test('a mark says the same after it was written and read', (t) => {
  const operation = fc.constantFrom('try', 'action', 'confirm', 'cancel', 'compensate');
  fc.assert(
    fc.property(gidText, fc.option(fc.tuple(branchText, operation), { nil: undefined }), (gid, part) => {
      const text = part === undefined ? gid : `${gid}/${part[0]}/${part[1]}`;
      const mark = parseMark(text);
      return mark !== undefined && markText(mark) === text && mark.gid === gid;
    }),
  );
  t.pass();
});

for (const text of ['g/00/msg', 'g/00/run1', 'g/00/run999999', 'g/01/try', 'g/0102/compensate', 'g']) {
  test(`${text} is a mark`, (t) => {
    const mark = parseMark(text);
    t.is(mark === undefined ? undefined : markText(mark), text);
  });
}

for (const [text, why] of [
  ['', 'nothing'],
  ['g/', 'a gid and an empty branch'],
  ['g/01', 'a branch without its task'],
  ['g/01/', 'an empty task'],
  ['g/01/try/', 'more than three parts'],
  ['g/01/try/x', 'more than three parts'],
  ['/01/try', 'no gid'],
  ['g/x/try', 'no branch id'],
  ['g/01/commit', 'an operation that no request of an application is'],
  ['g/01/msg', "the initiator's work under a participant's number"],
  ['g/01/run1', "the initiator's work under a participant's number"],
  ['g/00/try', "a participant's operation under the initiator's number"],
  ['g/00/run0', 'a run before the first'],
  ['g/00/run01', 'a number with a leading zero'],
  ['g/00/run1234567', 'a number beyond any run'],
  ["g'; drop table t --/01/try", 'no gid'],
] as const) {
  test(`"${text}" is no mark: ${why}`, (t) => t.is(parseMark(text), undefined));
}

test('words of other objects are no tasks', (t) => {
  for (const word of ['constructor', 'toString', '__proto__', 'Try', 'try ']) t.is(parseTask(word), undefined);
});
