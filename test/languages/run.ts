/**
 * The services of examples/languages, each behind its sidecar: `node test/languages/run.ts [python] [go] [java] [php]`, all of them
 * without an argument. Needs the languages (Debian: golang-go, python3-venv, maven, default-jdk-headless, php-cli, php-pgsql, php-curl).
 * The last line counts the checks; the exit code is 1 when one does not hold.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monotonicSeconds } from '../../src/platform/clock.ts';
import { BRANCH_SCENES } from './branch-scenes.ts';
import { CHAIN_SCENES } from './chain-scenes.ts';
import type { Check, Scene } from './scene.ts';
import { type Service, SERVICES } from './services.ts';
import { startWorld, type World } from './world.ts';

const names = process.argv.slice(2);
const unknown = names.find((name) => !SERVICES.some(({ language }) => language === name));
if (unknown !== undefined)
  throw new Error(`there is no service in ${unknown}: ${SERVICES.map(({ language }) => language).join(', ')}`);
const services = SERVICES.filter(({ language }) => names.length === 0 || names.includes(language));

await using stack = new AsyncDisposableStack();
const folder = await mkdtemp(join(tmpdir(), 'atomesh-languages-'));
stack.defer(() => rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }));
let passed = 0;
let failed = 0;
for (const service of services) await prepare(service);
if (failed === 0) await playAll(stack.use(await startWorld(services, folder)));
say(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

async function prepare(service: Service): Promise<void> {
  const startedAt = monotonicSeconds();
  const { isOk, output } = await service.prepare(folder);
  if (isOk) return say(`${service.name} in ${service.language} is ready after ${secondsSince(startedAt)} s`);
  failed += 1;
  process.stdout.write(`${output}\n`);
  say(`${service.name} in ${service.language} could not be made ready`);
}

async function playAll(world: World): Promise<void> {
  const languages = new Set(services.map(({ language }) => language));
  for (const scene of [...CHAIN_SCENES, ...BRANCH_SCENES]) {
    if (scene.needs.every((language) => languages.has(language))) await play(world, scene);
  }
  if (failed > 0) process.stdout.write(`${await world.logs()}\n`);
}

async function play(world: World, scene: Scene): Promise<void> {
  const startedAt = monotonicSeconds();
  const before = failed;
  const check: Check = (holds, text, found) => {
    if (holds) passed += 1;
    else failed += 1;
    if (!holds) say(`  does not hold: ${text}${found === undefined ? '' : ` (${found})`}`);
  };
  try {
    await scene.play(world, check);
  } catch (error) {
    check(false, 'the scene can be played to its end', error instanceof Error ? error.message : String(error));
  }
  say(`${failed === before ? 'ok' : 'FAILED'}: ${scene.title} (${secondsSince(startedAt)} s)`);
}

function secondsSince(startedAt: number): string {
  return (monotonicSeconds() - startedAt).toFixed(1);
}

function say(text: string): void {
  process.stdout.write(`languages: ${text}\n`);
}
