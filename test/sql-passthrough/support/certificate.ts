/** Makes X.509 certificates for tests, with keys that never leave the test. Source: RFC 5280, section 4.1; DER of X.690. */
import { generateKeyPairSync, randomBytes, sign, type KeyObject } from 'node:crypto';

export interface Certificate {
  readonly pem: string;
  readonly keyPem: string;
  readonly name: string;
  readonly key: KeyObject;
}

/** An authority that signs itself. */
export function makeAuthority(name: string): Certificate {
  return make({ name, extensions: [extension(BASIC_CONSTRAINTS, der(SEQUENCE, der(BOOLEAN, Buffer.from([0xff]))))] });
}

/** The hash functions that a signature may have. */
type SignatureHash = 'sha1' | 'sha256' | 'sha384' | 'sha512';

/** A server's certificate for `host`: a DNS name, or an IPv4 address. */
export function makeServerCertificate(
  host: string,
  authority: Certificate,
  hash: SignatureHash = 'sha256',
): Certificate {
  const isAddress = /^[\d.]+$/.test(host);
  const alternative = isAddress
    ? der(CONTEXT | 7, Buffer.from(host.split('.').map(Number)))
    : der(CONTEXT | 2, Buffer.from(host));
  return make({
    name: host,
    issuer: authority,
    hash,
    extensions: [extension(SUBJECT_ALTERNATIVE_NAME, der(SEQUENCE, alternative))],
  });
}

const BOOLEAN = 0x01;
const INTEGER = 0x02;
const BIT_STRING = 0x03;
const OCTET_STRING = 0x04;
const OBJECT_IDENTIFIER = 0x06;
const UTF8_STRING = 0x0c;
const GENERALIZED_TIME = 0x18;
const SEQUENCE = 0x30;
const SET = 0x31;
const CONTEXT = 0x80;
const CONSTRUCTED = 0x20;

/** Object identifiers in their encoded form. */
const COMMON_NAME = Buffer.from('550403', 'hex');
const BASIC_CONSTRAINTS = Buffer.from('551d13', 'hex');
const SUBJECT_ALTERNATIVE_NAME = Buffer.from('551d11', 'hex');
const ECDSA_WITH: Readonly<Record<SignatureHash, Buffer>> = {
  sha1: Buffer.from('2a8648ce3d0401', 'hex'),
  sha256: Buffer.from('2a8648ce3d040302', 'hex'),
  sha384: Buffer.from('2a8648ce3d040303', 'hex'),
  sha512: Buffer.from('2a8648ce3d040304', 'hex'),
};

function make(options: {
  readonly name: string;
  readonly issuer?: Certificate;
  readonly hash?: SignatureHash;
  readonly extensions: readonly Buffer[];
}): Certificate {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const hash = options.hash ?? 'sha256';
  const algorithm = der(SEQUENCE, der(OBJECT_IDENTIFIER, ECDSA_WITH[hash]));
  const toBeSigned = der(
    SEQUENCE,
    der(CONTEXT | CONSTRUCTED, der(INTEGER, Buffer.from([2]))),
    der(INTEGER, Buffer.concat([Buffer.from([1]), randomBytes(15)])),
    algorithm,
    nameOf(options.issuer?.name ?? options.name),
    der(
      SEQUENCE,
      der(GENERALIZED_TIME, Buffer.from('20200101000000Z')),
      der(GENERALIZED_TIME, Buffer.from('20991231235959Z')),
    ),
    nameOf(options.name),
    publicKey.export({ type: 'spki', format: 'der' }),
    der(CONTEXT | CONSTRUCTED | 3, der(SEQUENCE, ...options.extensions)),
  );
  const signature = sign(hash, toBeSigned, options.issuer?.key ?? privateKey);
  const certificate = der(SEQUENCE, toBeSigned, algorithm, der(BIT_STRING, Buffer.from([0]), signature));
  return {
    name: options.name,
    pem: `-----BEGIN CERTIFICATE-----\n${certificate.toString('base64').replace(/.{64}/g, '$&\n')}\n-----END CERTIFICATE-----\n`,
    keyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    key: privateKey,
  };
}

function nameOf(commonName: string): Buffer {
  return der(
    SEQUENCE,
    der(SET, der(SEQUENCE, der(OBJECT_IDENTIFIER, COMMON_NAME), der(UTF8_STRING, Buffer.from(commonName)))),
  );
}

function extension(identifier: Buffer, value: Buffer): Buffer {
  return der(SEQUENCE, der(OBJECT_IDENTIFIER, identifier), der(OCTET_STRING, value));
}

/** A value with its tag and length. */
function der(tag: number, ...contents: readonly Buffer[]): Buffer {
  const content = Buffer.concat(contents);
  if (content.length < 0x80) return Buffer.concat([Buffer.from([tag, content.length]), content]);
  if (content.length < 0x100) return Buffer.concat([Buffer.from([tag, 0x81, content.length]), content]);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(content.length);
  return Buffer.concat([Buffer.from([tag, 0x82]), length, content]);
}
