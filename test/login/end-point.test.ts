import { createHash, X509Certificate } from 'node:crypto';
import test from 'ava';
import { endPointHash } from '../../proxy/postgres/login/end-point.ts';
import { makeAuthority, makeServerCertificate } from '../sql-passthrough/support/certificate.ts';

/** Signed with Ed25519: made with `openssl req -x509 -newkey ed25519 -nodes`. */
const ED25519 = `-----BEGIN CERTIFICATE-----
MIIBQTCB9KADAgECAhQkc7ZA/ANm/cAvcgjAVkQSjXKsdTAFBgMrZXAwDTELMAkG
A1UEAwwCZWQwIBcNMjYxMTIxMjI0NTM0WhgPMjEyNjEwMjgyMjQ1MzRaMA0xCzAJ
BgNVBAMMAmVkMCowBQYDK2VwAyEAOwYOltEKaEBnrIKjV1thx1TQnAk4XehUUaml
LpXvlPyjZDBiMB0GA1UdDgQWBBTwZ8rtuT1ATQ+OrbRQf09OfRGffTAfBgNVHSME
GDAWgBTwZ8rtuT1ATQ+OrbRQf09OfRGffTAPBgNVHRMBAf8EBTADAQH/MA8GA1Ud
EQQIMAaHBH8AAAEwBQYDK2VwA0EAR8F5LQlvQIwijseYzlyA7i0U7sfKZHjJD6ij
xjiYIsCulvON/LB3NL6S6atYK7em+SMniQqZYjM22aZnJSn9Cw==
-----END CERTIFICATE-----`;
/** Signed with MD5 and RSA: made with `openssl req -x509 -newkey rsa:2048 -md5 -nodes`. */
const MD5 = `-----BEGIN CERTIFICATE-----
MIIDEDCCAfigAwIBAgIUeS85bRX1GiD4iOETs6fRUo0DS1kwDQYJKoZIhvcNAQEE
BQAwDjEMMAoGA1UEAwwDbWQ1MCAXDTI2MTEyMTIyNDUzNVoYDzIxMjYxMDI4MjI0
NTM1WjAOMQwwCgYDVQQDDANtZDUwggEiMA0GCSqGSIb3DQEBAQUAA4IBDwAwggEK
AoIBAQDfIEKr3yFdmq7j6n4iQgOqqsytN+hF1P5PgieWZPOhpGM67U/2Eu6FgC54
MeuaNtTJH3+q7vuzOXK/vXmzk3/YmDL1td1EQwKyjbbTaZ+jjW6yW0YqtmV5y6sk
eHMCNehQ5E3rz6RRzrxsPBe4FXplQHGyVzOB9fpCGoxi9eMBkGuqv0wWj3q8VT+t
7Natgrws4PgUyHFU0jSHjQQN3EEojEKGBa+tGwPKtZ5LwuvpKscq8TE6V0E13HUb
xwG1wJ8mSY2XMOWGSbZaH8gjeq5LE3UAixcnBBF+ogiMgv3E7CmQbyNOAetQRjpP
P9oRfDA6jsvIFJVY74t8/5Rwh6K1AgMBAAGjZDBiMB0GA1UdDgQWBBQLZ1wA95iM
ETqLcQ8pksL+sJyFzDAfBgNVHSMEGDAWgBQLZ1wA95iMETqLcQ8pksL+sJyFzDAP
BgNVHRMBAf8EBTADAQH/MA8GA1UdEQQIMAaHBH8AAAEwDQYJKoZIhvcNAQEEBQAD
ggEBAGGjr09wJx502DnFEhfihaE9XOVl1h0QTdHiZ81IzH8iJgzd9Wfbud2X0tIe
EznlUDAb8jP5JjNreyl1qd7CNwbEo942IPLHdBMar85xNRYxNPqQi7CmCR9vPbVE
hObnmIE8JtzXk4QnZlX1yhCUQDwK4pQXDK672ujtz2RKE6WmbtHECouDabiRqhS4
xfwezpaPTil7Ie52reOMZ2jRZSvoSxYkuC+pdkQZQKrPDCp7ZcjJMa8/kKX2WR/J
6DI6ISzxghhEmjmO20s04XG2RpXubg8VRGc05jWmCeleOcrsCl72fVy7IQjGZBTP
9f98dR3fNF3hw5cSqNumcLhQQXE=
-----END CERTIFICATE-----`;

const authority = makeAuthority('the authority');

for (const [signed, hashed] of [
  ['sha1', 'sha256'],
  ['sha256', 'sha256'],
  ['sha384', 'sha384'],
  ['sha512', 'sha512'],
] as const) {
  test(`a certificate that is signed with ${signed} is known by its ${hashed}`, (t) => {
    const certificate = new X509Certificate(makeServerCertificate('localhost', authority, signed).pem);
    t.deepEqual(endPointHash(certificate), createHash(hashed).update(certificate.raw).digest());
  });
}

test('a certificate that is signed with MD5 is known by its SHA-256, one whose hash has no name by none', (t) => {
  const old = new X509Certificate(MD5);
  t.deepEqual(endPointHash(old), createHash('sha256').update(old.raw).digest());
  t.is(endPointHash(new X509Certificate(ED25519)), undefined);
  t.is(endPointHash(undefined), undefined);
});
