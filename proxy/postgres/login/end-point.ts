/** Which certificate a TLS connection has shown, as SCRAM with channel binding proves it (`tls-server-end-point`, RFC 5929 §4.1). */
import { createHash, type X509Certificate } from 'node:crypto';

/**
 * The hash of a server's certificate, by the hash function of its signature; MD5 and SHA-1 count as SHA-256. undefined without a
 * certificate, and for signatures that do not say their function by name (RSA-PSS, Ed25519): then there is no channel binding.
 */
export function endPointHash(certificate: X509Certificate | undefined): Buffer | undefined {
  const signature = certificate?.signatureAlgorithm ?? '';
  const [, sha] = /sha-?(1|224|256|384|512)(?!\d)/i.exec(signature) ?? [];
  const bits = sha === '1' || /md5/i.test(signature) ? '256' : sha;
  if (certificate === undefined || bits === undefined) return undefined;
  return createHash(`sha${bits}`).update(certificate.raw).digest();
}
