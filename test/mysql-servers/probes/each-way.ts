/** Tests on each server, where what undo cannot capture is refused and where it is prepared: each with a mesh of its own. */
import test from 'ava';
import { assert } from '../../../src/platform/assert.ts';
import { startMesh, type Mesh, type MeshOptions } from '../inside/mesh.ts';
import { SERVERS } from '../second-phase/world.ts';

/** Rows that are captured, and a table that a trigger makes escalate. */
export const ITEMS = `
create table item (id int primary key, v int);
insert into item values (1, 0), (2, 0), (3, 0);
create table log (id int auto_increment primary key, what int);
create trigger noted after insert on log for each row update item set v = v + 100 where id = 3;`;
export const UNCHANGED: readonly string[] = ['1 0', '2 0', '3 0'];

/** The comment that names a gid. */
export const of = (gid: string): string => `/*atomesh_gid='${gid}'*/`;

export interface Way {
  readonly name: string;
  readonly escalate: 'off' | 'xa';
  /** For the body of a test: before, it has not been started. */
  readonly mesh: () => Mesh;
}

/** `define` registers the tests of one way. */
export function onEachWay(options: Omit<MeshOptions, 'start' | 'database'>, define: (way: Way) => void): void {
  for (const [name, start] of SERVERS) {
    for (const escalate of ['off', 'xa'] as const) {
      let mesh: Mesh | undefined;
      test.before(async () => {
        mesh = await startMesh({ ...options, start, database: { escalate } });
      });
      test.after.always(async () => mesh?.[Symbol.asyncDispose]());
      const started = (): Mesh => {
        assert(mesh !== undefined, 'hooks run ahead of tests');
        return mesh;
      };
      define({ name, escalate, mesh: started });
    }
  }
}
