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

/** Where clouds hand out credentials at other addresses: EC2 and EKS, Google, Alibaba, Azure's WireServer, Oracle's older instances. */
const METADATA_ADDRESSES: ReadonlySet<string> = new Set([
  'fd00:ec2::254',
  'fd00:ec2::23',
  'fd20:ce::254',
  '100.100.100.200',
  '168.63.129.16',
  '192.0.0.192',
]);
/** Prefixes whose last 32 bits are an IPv4 address: mapped, compatible and translated (RFC 4291, RFC 2765), NAT64 (RFC 6052, RFC 8215). */
const EMBEDDED =
  /^(?:::(?:ffff:(?:0:)?)?|64:ff9b:(?::|1:[0-9a-f:]*:))(?:([0-9.]*\.[0-9.]*)|([0-9a-f]{1,4}):([0-9a-f]{1,4}))$/;
/** 6to4 (RFC 3056): the address follows the prefix. */
const SIX_TO_FOUR = /^2002:([0-9a-f]{1,4}):([0-9a-f]{1,4}):/;

/**
 * True for 169.254.0.0/16 (RFC 3927), fe80::/10 (RFC 4291), the other addresses of clouds' metadata services, and the IPv4 ones among
 * them inside IPv6 addresses. `address` is as `URL` and `dns.lookup` print it (so 0xa9fea9fe, 2852039166 and the like have become
 * dotted by then).
 */
export function isMetadataAddress(address: string): boolean {
  if (!address.includes(':')) return address.startsWith('169.254.') ? isIpv4(address) : METADATA_ADDRESSES.has(address);
  const text = address.toLowerCase().replace(/%.*$/, '');
  if (METADATA_ADDRESSES.has(text) || /^fe[89ab][0-9a-f]:/.test(text)) return true;
  const inner = embeddedIpv4(text);
  return inner !== undefined && isMetadataAddress(inner);
}

function isIpv4(text: string): boolean {
  return /^[0-9.]+$/.test(text);
}

function embeddedIpv4(text: string): string | undefined {
  const [, dotted, high, low] = EMBEDDED.exec(text) ?? [];
  if (dotted !== undefined) return dotted;
  if (high !== undefined && low !== undefined) return dottedOf(high, low);
  const [, first, second] = SIX_TO_FOUR.exec(text) ?? [];
  return first === undefined || second === undefined ? undefined : dottedOf(first, second);
}

function dottedOf(high: string, low: string): string {
  return [high, low].flatMap((group) => [parseInt(group, 16) >> 8, parseInt(group, 16) & 255]).join('.');
}
