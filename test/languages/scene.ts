/** What is played with the services. */
import type { Language } from './services.ts';
import type { World } from './world.ts';

export interface Scene {
  readonly title: string;
  /** Stand-ins take the place of all other services. */
  readonly needs: readonly Language[];
  /** Rejects when it cannot be played to its end. */
  play(world: World, check: Check): Promise<void>;
}

/** Notes whether something holds; `found` says what was there instead. */
export type Check = (holds: boolean, text: string, found?: string) => void;
