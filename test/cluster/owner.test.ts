import { networkInterfaces } from 'node:os';
import test from 'ava';
import { ownerAt, urlOfListener, urlOfOwner } from '../../src/peers/owner.ts';

test('an owner tells where it is reached, and no two have the same name', (t) => {
  const url = 'https://one.example:36789/a#b';
  t.is(urlOfOwner(ownerAt(url)), url);
  t.not(ownerAt(url), ownerAt(url));
});

test('an owner that is not reached tells nothing, and neither does one of another kind', (t) => {
  t.is(urlOfOwner(ownerAt(undefined)), undefined);
  t.is(urlOfOwner('coordinator'), undefined);
  t.is(urlOfOwner(''), undefined);
});

test('a coordinator is reached where it listens', (t) => {
  t.is(urlOfListener({ host: '10.0.0.7', port: 36_789 }), 'http://10.0.0.7:36789');
  t.is(urlOfListener({ host: 'one.example', port: 80 }), 'http://one.example:80');
  t.is(urlOfListener({ host: 'fd00::7', port: 36_789 }), 'http://[fd00::7]:36789');
  t.is(urlOfListener({ host: '10.0.0.7', port: 0 }), undefined, 'nobody knows the port yet');
});

test('one that listens everywhere is reached at an address of its machine that others see, if there is one', (t) => {
  const outward = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ internal }) => !internal)
    .map(({ address }) => address);
  for (const host of ['0.0.0.0', '::']) {
    const url = urlOfListener({ host, port: 1234 });
    const named = url === undefined ? undefined : new URL(url).hostname.replace(/^\[|\]$/g, '');
    t.true(named === undefined || outward.includes(named), url);
  }
});
