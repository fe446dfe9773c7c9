/** Header and trailer lines of HTTP/1, as both sides of the lane read them. */

/** Lines of RFC 9110 §5.5 and RFC 9112 §5: a token, a colon with no space before it, visible bytes, spaces and tabs, CRLF. */
export const HEADER_LINES: RegExp = /^(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)*$/;

/** Calls `each` with name and value of every one of `lines`, which `HEADER_LINES` matches, in their order. */
export function splitLines(lines: string, each: (name: string, value: string) => void): void {
  for (let start = 0; start < lines.length;) {
    const colon = lines.indexOf(':', start);
    const end = lines.indexOf('\r', colon);
    each(lines.slice(start, colon), trimmed(lines, colon + 1, end));
    start = end + 2;
  }
}

/** The text from `start` to `end` without spaces and tabs around it. */
function trimmed(text: string, start: number, end: number): string {
  let from = start;
  let to = end;
  while (from < to && isBlank(text.charCodeAt(from))) from += 1;
  while (to > from && isBlank(text.charCodeAt(to - 1))) to -= 1;
  return text.slice(from, to);
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}
