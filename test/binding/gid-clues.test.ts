import test from 'ava';
import fc from 'fast-check';
import { hasClue, ClueSearch } from '../../proxy/binding/gid-clues.ts';

/** What a clue is, said plainly. */
const CLUE = /atomesh|traceparent|set_config/i;
const hasCluePlainly = (bytes: Buffer): boolean => CLUE.test(bytes.toString('latin1'));

const WORDS = ['atomesh', 'traceparent', 'set_config'];

/** A clue in any case, or with a letter replaced by any byte, above all by one of the same lower bits. */
const almost = fc
  .record({
    word: fc.constantFrom(...WORDS),
    cases: fc.nat(0xffff),
    at: fc.nat(11),
    change: fc.oneof(fc.constant(undefined), fc.constantFrom(0x20, 0x40, 0x60, 0x80, 0xa0, 0xc0), fc.nat(255)),
  })
  .map(({ word, cases, at, change }) => {
    const bytes = Buffer.from(
      word.replace(/./g, (letter, place) => ((cases >> place) & 1 ? letter.toUpperCase() : letter)),
    );
    const index = at % bytes.length;
    if (change !== undefined) bytes[index] = (bytes[index] as number) ^ change;
    return bytes;
  });
/** Bytes that begin like a clue, or end like one. */
const part = fc
  .tuple(fc.constantFrom(...WORDS), fc.nat(11), fc.nat(11))
  .map(([word, start, end]) => Buffer.from(word.slice(Math.min(start, end), Math.max(start, end))));
const anything = fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes));
const sql = fc.stringMatching(/^[a-zA-Z_ $'"=().,*;/-]{0,40}$/).map((text) => Buffer.from(text));

const texts = fc.array(fc.oneof(anything, sql, part, almost), { maxLength: 6 }).map((parts) => Buffer.concat(parts));

test('a text has a clue when it holds one of the words in any case, and not otherwise', (t) => {
  fc.assert(
    fc.property(texts, (text) => hasClue(text) === hasCluePlainly(text)),
    { numRuns: 20_000 },
  );
  t.pass();
});

test('a word is found wherever it begins and wherever the text ends', (t) => {
  for (const word of WORDS) {
    for (let before = 0; before < 20; before += 1) {
      for (let behind = 0; behind < 10; behind += 1) {
        const text = Buffer.from(`${'x'.repeat(before)}${word}${'y'.repeat(behind)}`);
        if (!hasClue(text)) t.fail(text.toString());
        // Not beyond the end of a view.
        if (hasClue(text.subarray(0, before + word.length - 1))) t.fail(`cut: ${text.toString()}`);
      }
    }
  }
  t.pass();
});

test('a text that comes in pieces has a clue as the whole has', (t) => {
  fc.assert(
    fc.property(texts, fc.array(fc.integer({ min: 1, max: 15 }), { minLength: 1 }), (text, sizes) => {
      const search = new ClueSearch();
      for (let at = 0, index = 0; at < text.length; index += 1) {
        const size = sizes[index % sizes.length] as number;
        const piece = Buffer.from(text.subarray(at, at + size));
        search.push(piece);
        piece.fill(0xaa);
        at += size;
      }
      return search.hasClue === hasCluePlainly(text);
    }),
    { numRuns: 5_000 },
  );
  t.pass();
});
