/** Writes names and constants into SQL that we build. */

/** The name in double quotes, so that neither case nor keywords nor quotes in it matter. */
export function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** The text as a string constant, safe under both settings of standard_conforming_strings. */
export function quoteText(value: string): string {
  const quoted = `'${value.replaceAll("'", "''")}'`;
  return value.includes('\\') ? `E${quoted.replaceAll('\\', '\\\\')}` : quoted;
}
