/** Which texts can name a record beside the transactions. */

const CHARACTERS_MAX = 128;
// oxlint-disable-next-line no-control-regex -- PostgreSQL takes no NUL in a text, and nobody names a topic with the others
const CONTROL = /[\u0000-\u001f\u007f]/;

/** True when `text` can be the key of a record in every store; there is no record under any other. */
export function isRecordKey(text: string): boolean {
  return text !== '' && text.length <= CHARACTERS_MAX && text.isWellFormed() && !CONTROL.test(text);
}
