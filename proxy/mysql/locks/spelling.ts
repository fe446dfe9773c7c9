/** Row locks have the weights of a text, by its collation, and not its characters: a spelling that people can read, which is equal to it. */
import type { ColumnFacts } from '../catalog.ts';
import type { OwnPool } from '../own-pool.ts';

/** A text of these weights, in hexadecimal; undefined where none in printable ASCII is known. */
export type Spelling = (weights: string) => string | undefined;

/** Capital letters first: where both have one weight the small one counts. */
const CHARACTERS: readonly string[] = Array.from({ length: 95 }, (_, index) => String.fromCharCode(index + 32));

/** Spells keys, and asks once about each collation. */
export class Spellings {
  readonly #known = new Map<string, Spelling>();

  /** How the values of a column are spelled; undefined where its locks have no weights. Rejects where the server cannot be asked. */
  async of(pool: Pick<OwnPool, 'lists'>, { image }: Pick<ColumnFacts, 'image'>): Promise<Spelling | undefined> {
    const isText = image?.form === 'text' || image?.form === 'padded';
    const { charset, collation } = image ?? {};
    if (!isText || charset === undefined || collation === undefined) return undefined;
    const known = this.#known.get(collation);
    if (known !== undefined) return known;
    const columns = CHARACTERS.map((character) => {
      const code = character.charCodeAt(0).toString(16);
      return `HEX(WEIGHT_STRING(CONVERT(_ascii x'${code}' USING ${charset}) COLLATE ${collation}))`;
    });
    const [weights = []] = await pool.lists(`SELECT ${columns.join(', ')}`);
    const spelling = spellingBy(weights);
    this.#known.set(collation, spelling);
    return spelling;
  }
}

/** By the weights of each of the characters. They have to be of one length: then a key is that of no other characters. */
function spellingBy(weights: readonly (string | null)[]): Spelling {
  const characters = new Map(weights.map((weight, index) => [weight ?? '', CHARACTERS[index] ?? '']));
  const lengths = new Set(weights.map((weight) => weight?.length ?? 0));
  const [length = 0] = lengths;
  if (lengths.size !== 1 || length === 0) return () => undefined;
  return (key) => {
    if (key.length % length !== 0) return undefined;
    const found = Array.from({ length: key.length / length }, (_, index) =>
      characters.get(key.slice(index * length, (index + 1) * length)),
    );
    return found.includes(undefined) ? undefined : found.join('');
  };
}
