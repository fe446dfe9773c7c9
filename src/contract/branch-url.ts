/** Which URLs a branch may be called at. Asked when a branch is enlisted, and again for every call. */

const URL_CHARACTERS_MAX = 2000;

/**
 * Why `text` cannot be a branch's URL; undefined when it can. Absolute http and https URLs can, except those that name a
 * link-local address: behind 169.254.169.254 and its kin clouds hand out the machine's own credentials, and a coordinator
 * that calls where it is told must not be the way to them.
 */
export function branchUrlFault(text: string): string | undefined {
  if (text.length > URL_CHARACTERS_MAX) return `expected a URL of at most ${URL_CHARACTERS_MAX} characters`;
  const url = URL.parse(text);
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    return 'expected an absolute http or https URL';
  }
  if (url.username !== '' || url.password !== '') return 'expected a URL without user and password';
  if (url.hash !== '') return 'expected a URL without a fragment';
  const host = url.hostname;
  if (isMetadataAddress(host.startsWith('[') ? host.slice(1, -1) : host)) {
    return 'expected a URL that does not name a link-local (metadata) address';
  }
  return undefined;
}

/**
 * True for 169.254.0.0/16 (RFC 3927), fe80::/10 (RFC 4291), and the first inside IPv4-mapped, IPv4-compatible and NAT64
 * (RFC 6052) IPv6 addresses; and for fd00:ec2::254, where EC2 keeps the same service. `address` is as `URL` and
 * `dns.lookup` print it (so 0xa9fea9fe, 2852039166 and the like have become dotted by then).
 */
export function isMetadataAddress(address: string): boolean {
  if (/^169\.254\.[0-9.]+$/.test(address)) return true;
  if (!address.includes(':')) return false;
  const text = address.toLowerCase().replace(/%.*$/, '');
  if (text === 'fd00:ec2::254' || /^fe[89ab][0-9a-f]:/.test(text)) return true;
  return /^(?:::ffff:|::ffff:0:|::|64:ff9b::)(?:169\.254\.[0-9.]+|a9fe:[0-9a-f]{1,4})$/.test(text);
}
