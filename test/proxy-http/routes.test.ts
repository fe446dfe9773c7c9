import test from 'ava';
import fc from 'fast-check';
import { compileRoutes, normalPath, routeOf } from '../../proxy/routes/paths.ts';

test('a path has one normal form, and the query is left as it came', (t) => {
  const table: Readonly<Record<string, string>> = {
    '/orders': '/orders',
    '/': '/',
    '//orders': '/orders',
    '/a//b///c': '/a/b/c',
    '/./orders': '/orders',
    '/x/../orders': '/orders',
    '/x/%2e%2e/orders': '/orders',
    '/x/%2E./orders': '/orders',
    '/../../orders': '/orders',
    '/a/..': '/',
    '/a/.': '/a/',
    '/%6frders': '/orders',
    '/%7Euser': '/~user',
    '/a%2fb': '/a%2Fb',
    '/a%252e': '/a%252e',
    '/%zz%4': '/%zz%4',
    '/orders?next=//x/../%2e': '/orders?next=//x/../%2e',
    '/.well-known/x': '/.well-known/x',
    '/a/...': '/a/...',
  };
  for (const [path, normal] of Object.entries(table)) t.is(normalPath(path), normal, path);
});

test('the normal form is its own normal form', (t) => {
  const seed = Date.now();
  t.log(`seed ${seed}`);
  const parts = fc.constantFrom('/', '.', '..', 'a', '%2e', '%2E', '%2f', '%25', '%', '?', '2e', '%6F', ';', '*');
  fc.assert(
    fc.property(fc.array(parts, { maxLength: 12 }), (list) => {
      const normal = normalPath(`/${list.join('')}`);
      t.is(normalPath(normal), normal);
      const [path = ''] = normal.split('?');
      t.notRegex(path, /\/\/|\/\.\.?(?:\/|$)|%2[eE]/);
      t.true(path.startsWith('/'));
    }),
    { seed, numRuns: 2000 },
  );
});

test('routes match a method and a path, and the first one counts', (t) => {
  const find = compileRoutes([
    { match: 'POST /orders', is: 'exact' },
    { match: 'PUT /orders/*', is: 'segment' },
    { match: '* /orders/**', is: 'rest' },
    { match: 'GET /a.b(c)', is: 'literal' },
    { match: '* /**', is: 'all' },
  ]);
  const table: readonly (readonly [string, string, string])[] = [
    ['POST', '/orders', 'exact'],
    ['POST', '/orders?x=/y', 'exact'],
    ['POST', '/orders/', 'rest'],
    ['POST', '/Orders', 'all'],
    ['PUT', '/orders/1', 'segment'],
    ['PUT', '/orders/1/2', 'rest'],
    ['GET', '/orders', 'rest'],
    ['GET', '/a.b(c)', 'literal'],
    ['GET', '/aXb(c)', 'all'],
    ['GET', '/', 'all'],
  ];
  for (const [method, path, is] of table) t.is(find(method, path)?.is, is, `${method} ${path}`);
  t.is(compileRoutes([{ match: 'POST /a/*' }])('POST', '/a/'), undefined);
});

test('what a route matches goes on in its normal form, what none matches as it came, what could be either not at all', (t) => {
  const table = compileRoutes([{ match: 'POST /orders' }, { match: 'POST /a/orders' }, { match: 'POST /all/**' }]);
  const routed = (target: string): string => {
    const found = routeOf(table, 'POST', target);
    return found.kind === 'route' ? found.path : found.kind;
  };
  const paths: Readonly<Record<string, string>> = {
    '//orders': '/orders',
    '/x/%2e%2e/%6frders?a=//b': '/orders?a=//b',
    '/fetch/https://example.com/x': 'none',
    '/a%7Eb': 'none',
    '/a\\b': 'none',
    '/a#b': 'none',
    '/a//../b': 'none',
    '/orders?x#y': '/orders?x#y',
    '/all/a\\b': '/all/a\\b',
    '/orders#x': 'ambiguous',
    '/\\orders': 'ambiguous',
    '/x\\..\\..\\orders': 'ambiguous',
    '/all\\..\\orders': 'ambiguous',
    '/all/..\\..\\x': 'ambiguous',
    '/a//../orders': '/orders',
    '/a/x//../orders': '/a/orders',
    '/all//../x': 'ambiguous',
    '/all/x/%%32e%%32e/%%32e%%32e/orders': 'ambiguous',
  };
  for (const [path, expected] of Object.entries(paths)) t.is(routed(path), expected, path);
});
