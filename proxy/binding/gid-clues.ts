/**
 * Which bytes may name a gid: all texts go through this search, so it neither copies nor decodes them. Text without a clue names none;
 * text with one is read by those who know what a clue means.
 */

/**
 * The words, in lower case: names of settings know no case. Each with a part of `PART_BYTES` whose pairs of letters are rare in
 * SQL. `set_config` is one, because it may get the name of the setting as a parameter.
 */
const CLUES: readonly { readonly word: string; readonly part: string }[] = [
  { word: 'atomesh', part: 'atomesh' },
  { word: 'traceparent', part: 'acepare' },
  { word: 'set_config', part: 't_confi' },
];
/** As long as the shortest clue. */
const PART_BYTES = 7;
/** A part has this many pairs of neighbours, so that one of them is met however the clue lies: others need not be looked at. */
const STRIDE = PART_BYTES - 1;
/** A clue may lie across two pieces of a text with at most this many bytes in the first. */
const OVERLAP_BYTES = Math.max(...CLUES.map(({ word }) => word.length)) - 1;
const EMPTY: Buffer = Buffer.alloc(0);

/** A clue of which a pair is seen, and how far behind its beginning the second of the pair is. */
interface Candidate {
  readonly word: Buffer;
  readonly at: number;
}

/** By pair, both letters by their lower five bits, which are the same for upper and lower case. */
const CANDIDATES: readonly (readonly Candidate[])[] = candidatesByPair();
const IS_CANDIDATE = Uint8Array.from(CANDIDATES, (candidates) => (candidates.length > 0 ? 1 : 0));

/** True when a text, which `bytes` has from `start` to `end`, holds a word that a gid can come with, in whatever case. */
export function hasClue(bytes: Buffer, start = 0, end = bytes.length): boolean {
  for (let at = start + STRIDE; at < end; at += STRIDE) {
    const pair = (((bytes[at - 1] as number) & 31) << 5) | ((bytes[at] as number) & 31);
    if (IS_CANDIDATE[pair] !== 0 && isClueAt(bytes, at, pair)) return true;
  }
  return false;
}

/** The same search over a text that comes in pieces. */
export class ClueSearch {
  hasClue = false;
  /** The end of what came so far. */
  #end: Buffer = EMPTY;

  push(piece: Buffer): void {
    if (this.hasClue) return;
    const seam = Buffer.concat([this.#end, piece.subarray(0, OVERLAP_BYTES)]);
    this.hasClue = hasClue(seam) || hasClue(piece);
    const end = piece.length < OVERLAP_BYTES ? seam : piece;
    // A copy: a view would keep the whole piece.
    this.#end = Buffer.from(end.subarray(Math.max(0, end.length - OVERLAP_BYTES)));
  }
}

function isClueAt(bytes: Buffer, at: number, pair: number): boolean {
  for (const candidate of CANDIDATES[pair] ?? []) {
    if (begins(bytes, at - candidate.at, candidate.word)) return true;
  }
  return false;
}

function begins(bytes: Buffer, start: number, word: Buffer): boolean {
  if (start < 0 || start + word.length > bytes.length) return false;
  for (let index = 0; index < word.length; index += 1) {
    const byte = bytes[start + index] as number;
    const isUpperCase = byte >= 0x41 && byte <= 0x5a;
    if ((isUpperCase ? byte | 0x20 : byte) !== word[index]) return false;
  }
  return true;
}

function candidatesByPair(): Candidate[][] {
  const byPair: Candidate[][] = Array.from({ length: 1024 }, () => []);
  for (const { word, part } of CLUES) {
    const first = word.indexOf(part);
    for (let at = first + 1; at < first + PART_BYTES; at += 1) {
      const pair = ((word.charCodeAt(at - 1) & 31) << 5) | (word.charCodeAt(at) & 31);
      byPair[pair]?.push({ word: Buffer.from(word), at });
    }
  }
  return byPair;
}
