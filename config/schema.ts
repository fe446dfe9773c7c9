/**
 * The JSON Schemas of both option tables, for editors. `node config/schema.ts` writes them beside this file; a test fails
 * when the committed files are not what the tables say.
 */
import { writeFileSync } from 'node:fs';
import { z } from 'zod';
import { sidecarOptions } from '../proxy/options.ts';
import { coordinatorOptions } from '../src/options.ts';
import type { ConfigKind } from './load.ts';

const TABLES: Readonly<Record<ConfigKind, { readonly table: z.ZodType; readonly title: string }>> = {
  sidecar: { table: sidecarOptions, title: 'Atomesh sidecar' },
  coordinator: { table: coordinatorOptions, title: 'Atomesh coordinator' },
};

/** The text of `config/<kind>.schema.json`. */
export function schemaText(kind: ConfigKind): string {
  const { table, title } = TABLES[kind];
  const { $schema, ...rest } = z.toJSONSchema(table, { io: 'input' });
  return `${JSON.stringify({ $schema, title, ...rest }, null, 2)}\n`;
}

if (import.meta.main) {
  for (const kind of ['sidecar', 'coordinator'] as const) {
    writeFileSync(new URL(`${kind}.schema.json`, import.meta.url), schemaText(kind));
  }
}
