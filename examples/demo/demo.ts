/** The demo: a shop of three services on three databases, a club on MariaDB where there is one, and scenes that show what holds them together. */
import { monotonicSeconds } from '../../src/platform/clock.ts';
import { SERVICES } from '../shop/databases.ts';
import { openShop, type Shop } from '../shop/stage.ts';
import { clubSidecarKilled, orderWithPoints } from './club-scenes.ts';
import { coordinatorKilled } from './coordinator-killed.ts';
import { lateService } from './late-service.ts';
import { orderThatCommits, orderThatFailsLast } from './plain-scenes.ts';
import { type Evening, lookIntoBooks, playScene, type Scene } from './scene.ts';
import { openScreen, type Screen } from './screen.ts';
import { sidecarKilled } from './sidecar-killed.ts';

export interface DemoOptions {
  /** Leave everything running after the last scene, until the signal. */
  readonly keep: boolean;
  readonly output: NodeJS.WriteStream;
  /** Ends the demo early; everything is stopped and removed all the same. */
  readonly signal: AbortSignal;
}

const SCENES: readonly Scene[] = [orderThatCommits, orderThatFailsLast, coordinatorKilled, sidecarKilled, lateService];
/** For a shop with the club. */
const CLUB_SCENES: readonly Scene[] = [orderWithPoints, clubSidecarKilled];

/** Runs the demo; answers whether every check held. Rejects with the signal's reason when it was ended early. */
export async function runDemo({ keep, output, signal }: DemoOptions): Promise<boolean> {
  const screen = openScreen(output);
  const startedAt = monotonicSeconds();
  screen.headline('Atomesh: three services, three databases, one outcome');
  screen.lines(['', '  Starting, each as a process of its own, on 127.0.0.1 only:']);
  await using shop = await openShop({ sidecars: true, club: true, progress: screen.step, signal });
  screen.step(`PostgreSQL listens on 127.0.0.1:${shop.databases.server.port}`);

  const scenes = [...SCENES, ...(shop.club === undefined ? [] : CLUB_SCENES)];
  const failed = await playAll({ shop, screen, signal, opening: await lookIntoBooks(shop) }, scenes);
  const seconds = (monotonicSeconds() - startedAt).toFixed(0);
  screen.headline(
    failed === 0
      ? `Every check held. ${scenes.length} scenes in ${seconds} s.`
      : `${failed} ${failed === 1 ? 'check' : 'checks'} did not hold.`,
  );
  if (keep) {
    screen.lines(whatIsRunning(shop));
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
    screen.lines(['', 'Stopping and removing everything.']);
  }
  return failed === 0;
}

async function playAll(evening: Evening, scenes: readonly Scene[]): Promise<number> {
  const { shop, screen, signal } = evening;
  let failed = 0;
  for (const [index, scene] of scenes.entries()) {
    try {
      failed += await playScene(evening, index + 1, scene);
    } catch (error) {
      signal.throwIfAborted();
      screen.check(false, 'the scene was played to its end', error instanceof Error ? error.message : String(error));
      await printLogs(shop, screen);
      return failed + 1;
    }
  }
  return failed;
}

/** The last words of every process, for whoever has to find out what went wrong. */
async function printLogs(shop: Shop, screen: Screen): Promise<void> {
  const { club } = shop;
  const parts = [
    shop.coordinator,
    ...SERVICES.flatMap((name) => [shop.sidecars[name], shop.services[name]]),
    ...(club === undefined ? [] : [club.sidecar, club.service]),
  ];
  for (const part of parts) {
    const lines = await part.lastLines(8);
    if (lines !== '') screen.lines(['', `  The end of the log of ${part.name}:`, lines]);
  }
}

function whatIsRunning(shop: Shop): readonly string[] {
  const { club } = shop;
  const body = JSON.stringify({ customer: 'ada', item: 'cup', quantity: 1 });
  return [
    '',
    'Everything is still running. Order something:',
    `  curl -i -H 'content-type: application/json' -d '${body}' ${shop.doorUrl}/orders`,
    'Ask the coordinator:',
    `  curl -s ${shop.coordinatorUrl}/v1/transactions`,
    'Look into the databases, past the sidecars:',
    ...SERVICES.map((name) => `  psql ${shop.databases.url(name, 'shop')}`),
    ...(club === undefined ? [] : [mariadbCommand(club.database.url(club.database.server.port))]),
    'or through them, as the services do:',
    ...SERVICES.map((name) => `  psql ${shop.serviceDatabaseUrl(name)}`),
    ...(club === undefined ? [] : [mariadbCommand(club.serviceDatabaseUrl)]),
    'Read what the processes say:',
    `  tail -f ${shop.folder}/*.log`,
    '',
    'Ctrl-C stops and removes everything.',
  ];
}

function mariadbCommand(text: string): string {
  const { hostname, port, username, password, pathname } = new URL(text);
  return `  mariadb -h ${hostname} -P ${port} -u ${username} -p${password} ${pathname.slice(1)}`;
}
