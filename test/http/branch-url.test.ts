import test from 'ava';
import { branchUrlFault, isMetadataAddress } from '../../src/contract/branch-url.ts';

test('absolute http and https URLs are branch URLs', (t) => {
  for (const url of [
    'http://orders:9702/branches/main/commit',
    'https://orders.example/x?y=z',
    'http://127.0.0.1:9702/',
    'http://[::1]:9702/',
    'http://169.253.255.255/',
    'http://170.254.1.1/',
    'http://[fe00::1]/',
    'http://[fec0::1]/',
    'http://a9fe.example/',
  ]) {
    t.is(branchUrlFault(url), undefined, url);
  }
});

test('link-local and metadata addresses are refused in every spelling', (t) => {
  for (const host of [
    '169.254.169.254',
    '169.254.0.1',
    '169.254.169.254.',
    '0xa9fea9fe',
    '2852039166',
    '0251.0376.0251.0376',
    '169.254.43518',
    '169.0xfea9fe',
    '%31%36%39.254.169.254',
    '１６９.254.169.254',
    '[fe80::1]',
    '[FEBF:ffff::1]',
    '[::ffff:169.254.169.254]',
    '[::ffff:a9fe:a9fe]',
    '[0:0:0:0:0:ffff:a9fe:1]',
    '[::ffff:0:169.254.169.254]',
    '[::169.254.169.254]',
    '[64:ff9b::169.254.169.254]',
    '[fd00:ec2::254]',
    '[fd00:ec2::23]',
    '[fd20:ce::254]',
    '100.100.100.200',
    '0x646464c8',
    '168.63.129.16',
    '192.0.0.192',
    '[::ffff:100.100.100.200]',
    '[64:ff9b:1::169.254.169.254]',
    '[64:ff9b:1:abcd::a9fe:a9fe]',
    '[2002:a9fe:a9fe::1]',
  ]) {
    t.regex(branchUrlFault(`http://${host}/latest/meta-data`) ?? 'accepted', /link-local/, host);
    t.regex(branchUrlFault(`https://${host}:8443`) ?? 'accepted', /link-local/, host);
  }
});

test('addresses as the resolver prints them are judged the same', (t) => {
  for (const address of [
    '169.254.169.254',
    'fe80::1%eth0',
    '::ffff:169.254.1.1',
    '100.100.100.200',
    '::ffff:168.63.129.16',
  ])
    t.true(isMetadataAddress(address), address);
  for (const address of [
    '10.0.0.1',
    '::1',
    '::',
    '::ffff:10.0.0.1',
    '2001:db8::169:254',
    '2001:db8::a9fe:a9fe',
    '100.100.100.20',
    '2002:a00:1::1',
  ])
    t.false(isMetadataAddress(address), address);
});

test('other things are refused with what was expected', (t) => {
  for (const [url, fault] of [
    ['', /absolute/],
    ['/commit', /absolute/],
    ['orders:9702/commit', /absolute/],
    ['ftp://orders/x', /http or https/],
    ['javascript:alert(1)', /http or https/],
    ['http://user:secret@orders/', /without user and password/],
    ['http://orders/#part', /fragment/],
    [`http://orders/${'x'.repeat(2000)}`, /at most 2000/],
  ] as const) {
    t.regex(branchUrlFault(url) ?? 'accepted', fault, url.slice(0, 40));
  }
});
