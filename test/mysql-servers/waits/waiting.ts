/** What the tests of waits share. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Mesh } from '../inside/mesh.ts';
import { eventually } from '../second-phase/world.ts';

/** Resolves when a local transaction waits in the server for a lock of another one. */
export function someoneWaits(mesh: Mesh): Promise<void> {
  return eventually('somebody waits', async () => {
    // MariaDB looks anew only when nobody has asked for a tenth of a second.
    await sleep(150);
    const [count] = await mesh.lines(
      "select count(*) from information_schema.innodb_trx where trx_state = 'LOCK WAIT'",
    );
    return count !== '0';
  });
}
