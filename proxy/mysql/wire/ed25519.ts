/**
 * MariaDB's client_ed25519: an Ed25519 signature of the challenge, whose secret is SHA-512 of the whole password. Keys elsewhere come of
 * 32 random bytes, which is why no library can be handed a password. Each number below is as RFC 8032, section 5.1, names it.
 * Source: MariaDB source, plugin/auth_ed25519/ref10/sign.c. The arithmetic takes a time that depends on the secret: it is for a login of
 * our own to a server, where no stranger can have it repeated.
 */
import { createHash } from 'node:crypto';

/** x, y, z, t: the point (x/z, y/z), with t = xy/z. */
type Point = readonly [x: bigint, y: bigint, z: bigint, t: bigint];

const P = 2n ** 255n - 19n;
const L = 2n ** 252n + 27742317777372353535851937790883648493n;
const D = mod(-121665n * inverse(121666n));
const BASE_X = 15112221349535400772501151409588531511454012693041857206046113283949847762202n;
const BASE_Y = 46316835694926478169428394003475163141307993866256225615783033603165251855960n;
const BASE: Point = [BASE_X, BASE_Y, 1n, mod(BASE_X * BASE_Y)];
const NEUTRAL: Point = [0n, 1n, 1n, 0n];

/** The answer to a challenge: 64 bytes. */
export function ed25519Password(password: Buffer, challenge: Buffer): Buffer {
  const { scalar, prefix } = secretOf(password);
  const publicKey = encodePoint(multiply(BASE, scalar));
  const r = integerOf(sha512(prefix, challenge)) % L;
  const commitment = encodePoint(multiply(BASE, r));
  const k = integerOf(sha512(commitment, publicKey, challenge)) % L;
  return Buffer.concat([commitment, bytesOf((r + k * scalar) % L)]);
}

/** What the server keeps of a password, without the `=` that its Base64 form would end with. */
export function ed25519PublicKey(password: Buffer): Buffer {
  return encodePoint(multiply(BASE, secretOf(password).scalar));
}

function secretOf(password: Buffer): { readonly scalar: bigint; readonly prefix: Buffer } {
  const digest = sha512(password);
  const lower = Buffer.from(digest.subarray(0, 32));
  lower[0] = (lower[0] as number) & 0xf8;
  lower[31] = ((lower[31] as number) & 0x7f) | 0x40;
  return { scalar: integerOf(lower), prefix: digest.subarray(32) };
}

function multiply(point: Point, scalar: bigint): Point {
  let sum = NEUTRAL;
  let doubled = point;
  for (let left = scalar; left > 0n; left >>= 1n) {
    if ((left & 1n) === 1n) sum = add(sum, doubled);
    doubled = add(doubled, doubled);
  }
  return sum;
}

/** RFC 8032, section 5.1.4: holds for any two points, equal ones too. */
function add(left: Point, right: Point): Point {
  const a = mod((left[1] - left[0]) * (right[1] - right[0]));
  const b = mod((left[1] + left[0]) * (right[1] + right[0]));
  const c = mod(2n * left[3] * right[3] * D);
  const d = mod(2n * left[2] * right[2]);
  const [e, f, g, h] = [b - a, d - c, d + c, b + a];
  return [mod(e * f), mod(g * h), mod(f * g), mod(e * h)];
}

function encodePoint([x, y, z]: Point): Buffer {
  const inverted = inverse(z);
  const bytes = bytesOf(mod(y * inverted));
  if ((mod(x * inverted) & 1n) === 1n) bytes[31] = (bytes[31] as number) | 0x80;
  return bytes;
}

function inverse(value: bigint): bigint {
  let result = 1n;
  let power = mod(value);
  for (let left = P - 2n; left > 0n; left >>= 1n) {
    if ((left & 1n) === 1n) result = mod(result * power);
    power = mod(power * power);
  }
  return result;
}

function mod(value: bigint): bigint {
  const rest = value % P;
  return rest < 0n ? rest + P : rest;
}

/** Little-endian, as RFC 8032 has all integers. */
function integerOf(bytes: Buffer): bigint {
  return BigInt(`0x${Buffer.from(bytes.toReversed()).toString('hex')}`);
}

function bytesOf(value: bigint): Buffer {
  return Buffer.from(Buffer.from(value.toString(16).padStart(64, '0'), 'hex').toReversed());
}

function sha512(...parts: readonly Buffer[]): Buffer {
  const sum = createHash('sha512');
  for (const part of parts) sum.update(part);
  return sum.digest();
}
