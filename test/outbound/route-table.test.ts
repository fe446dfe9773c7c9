import test from 'ava';
import { openRoutes, parametersOf } from '../../proxy/routes/route-table.ts';

const message = { delay: 0 };
const ROUTES = openRoutes(
  [
    'POST http://hotel/rooms/{room}/try',
    '* http://hotel/rooms/{room}/{bed}/**',
    'GET http://hotel:8080/a/*/c',
    'grpc://points:9700/shop.Points/Grant',
    'grpc://points/shop.Points/*',
    'POST https://hotel/rooms/{room}/try',
    'POST http://[::1]:80/x',
  ].map((match) => ({ match, message })),
);

interface Call {
  readonly method?: string;
  readonly origin?: string;
  readonly target: string;
  readonly isGrpc?: boolean;
}

function found({ method = 'POST', origin = 'http://hotel', target, isGrpc = false }: Call): string {
  const routed = ROUTES.find({ method, origin, target, isGrpc });
  if (routed.kind !== 'route') return routed.kind;
  const params = [...parametersOf(routed.route, routed.path)].map((pair) => pair.join('=')).join(' ');
  return `${routed.route.match} | ${routed.path} | ${params}`;
}

const TABLE: readonly (readonly [call: Call, expected: string])[] = [
  [{ target: '/rooms/7/try' }, 'POST http://hotel/rooms/{room}/try | /rooms/7/try | room=7'],
  [{ target: '/rooms/7/try?x=/y' }, 'POST http://hotel/rooms/{room}/try | /rooms/7/try?x=/y | room=7'],
  [{ target: '//rooms/./7//try' }, 'POST http://hotel/rooms/{room}/try | /rooms/7/try | room=7'],
  [{ target: '/rooms/a%20b%2fc/try' }, 'POST http://hotel/rooms/{room}/try | /rooms/a%20b%2Fc/try | room=a b/c'],
  [{ target: '/rooms/%ff/try' }, 'POST http://hotel/rooms/{room}/try | /rooms/%FF/try | room=%FF'],
  [{ target: '/rooms/%2e%2e/try' }, 'none'],
  [{ target: '/rooms//try' }, 'none'],
  [{ target: '/rooms/7/try/' }, '* http://hotel/rooms/{room}/{bed}/** | /rooms/7/try/ | room=7 bed=try'],
  [{ method: 'PUT', target: '/rooms/7/b' }, '* http://hotel/rooms/{room}/{bed}/** | /rooms/7/b | room=7 bed=b'],
  [{ method: 'PUT', target: '/rooms/7/b/c/d' }, '* http://hotel/rooms/{room}/{bed}/** | /rooms/7/b/c/d | room=7 bed=b'],
  [{ target: '/Rooms/7/try' }, 'none'],
  [{ target: '/rooms/7\\try' }, 'ambiguous'],
  [{ target: '/rooms/7/try#x' }, 'ambiguous'],
  [{ origin: 'http://hotel:8080', target: '/rooms/7/try' }, 'none'],
  [{ origin: 'http://hotel:8080', method: 'GET', target: '/a/b/c' }, 'GET http://hotel:8080/a/*/c | /a/b/c | '],
  [{ origin: 'https://hotel', target: '/rooms/7/try' }, 'POST https://hotel/rooms/{room}/try | /rooms/7/try | room=7'],
  [{ origin: 'http://[::1]', target: '/x' }, 'POST http://[::1]:80/x | /x | '],
  [
    { origin: 'http://points:9700', target: '/shop.Points/Grant', isGrpc: true },
    'grpc://points:9700/shop.Points/Grant | /shop.Points/Grant | ',
  ],
  [{ origin: 'http://points:9700', target: '/shop.Points/Grant' }, 'none'],
  [
    { origin: 'http://points', target: '/shop.Points/Any', isGrpc: true },
    'grpc://points/shop.Points/* | /shop.Points/Any | ',
  ],
  [{ origin: 'http://points', method: 'GET', target: '/shop.Points/Any', isGrpc: true }, 'none'],
  [{ target: '/rooms/7/try', isGrpc: true }, 'none'],
];

for (const [call, expected] of TABLE) {
  test(`${JSON.stringify(call)} takes ${expected}`, (t) => t.is(found(call), expected));
}
