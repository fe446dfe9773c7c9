/** Texts that are made of a name: once for each of the last few. */

/** Names whose texts are kept. */
const KEPT_MAX = 8;

/** The same texts as of `make`. */
export function keptText(make: (name: string) => string): (name: string) => string {
  const kept = new Map<string, string>();
  return (name) => {
    const known = kept.get(name);
    if (known !== undefined) return known;
    if (kept.size >= KEPT_MAX) kept.clear();
    const text = make(name);
    kept.set(name, text);
    return text;
  };
}
