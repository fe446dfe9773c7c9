import { mutate, NASTY_INT16, NASTY_INT32 } from '../postgres/wire/arbitraries.ts';
import type { Random } from '../simulation/random.ts';

/** What a client has said, with one to three places of it damaged: bits, lengths and ends. */
export function damaged(random: Random, whole: Buffer): Buffer {
  let bytes = whole;
  for (let left = random.between(1, 3); left > 0; left -= 1) {
    const place = random.between(0, bytes.length);
    switch (random.between(0, 4)) {
      case 0:
        bytes = mutate(bytes, { kind: 'flip', place, bit: random.between(0, 7) });
        break;
      case 1:
        bytes = mutate(bytes, { kind: 'leave-out', place, length: random.between(1, 40) });
        break;
      case 2:
        bytes = mutate(bytes, { kind: 'int16', place, value: random.pick(NASTY_INT16) });
        break;
      case 3:
        bytes = mutate(bytes, { kind: 'int32', place, value: random.pick(NASTY_INT32) });
        break;
      default:
        bytes = mutate(bytes, { kind: 'cut-off', place });
    }
  }
  return bytes;
}
