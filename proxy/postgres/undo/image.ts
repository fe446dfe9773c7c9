/** SQL for the text form of a whole row: exact under whatever settings the session has. */
import type { RelationFacts, TextForm } from '../catalog.ts';

/** What must hold for the session's own text form to be the exact one; `pinned` types always take the detour. */
const EXACT_WHEN: Readonly<Record<Exclude<TextForm, 'fixed' | 'byte' | 'pinned'>, string>> = {
  'date-style': `pg_catalog.current_setting('DateStyle') OPERATOR(pg_catalog.~~) 'ISO,%'`,
  'interval-style': `pg_catalog.current_setting('IntervalStyle') OPERATOR(pg_catalog.=) 'postgres'`,
  // From 1 on, output is the shortest text that reads back as the same value (PostgreSQL 12 and later).
  'float-digits': `pg_catalog.current_setting('extra_float_digits') OPERATOR(pg_catalog.~) '^[123]$'`,
  'bytea-output': `pg_catalog.current_setting('bytea_output') OPERATOR(pg_catalog.=) 'hex'`,
};

/**
 * The image of `row` (the SQL name of a row of the table). The settings are looked at by the server as the statement runs,
 * not when it is planned: a SET between the two changes nothing. atomesh.image() writes under pinned settings and costs more.
 */
export function imageSql(facts: RelationFacts, row: string): string {
  const forms = new Set(facts.columns.map((column) => column.form));
  const image = exactSql(forms, row);
  // Before PostgreSQL 16 a "char" above 0x7f is that byte in its text too.
  return forms.has('byte') ? readable(image) : image;
}

function exactSql(forms: ReadonlySet<TextForm>, row: string): string {
  const plain = `${row}.*::pg_catalog.text`;
  const pinned = `atomesh.image(${row}.*)`;
  if (forms.has('pinned')) return pinned;
  const conditions = [...forms].flatMap((form) =>
    form === 'fixed' || form === 'byte' || form === 'pinned' ? [] : [EXACT_WHEN[form]],
  );
  return conditions.length === 0 ? plain : `CASE WHEN ${conditions.join(' AND ')} THEN ${plain} ELSE ${pinned} END`;
}

/** An error (22021) where the text is none: nobody could read the image. The way to the bytes does not look at them. */
function readable(sql: string): string {
  return `pg_catalog.convert_from(pg_catalog.convert_to(${sql}, 'UTF8'), 'UTF8')`;
}
