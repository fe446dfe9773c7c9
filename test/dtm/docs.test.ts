import { readFileSync } from 'node:fs';
import test from 'ava';
import type { DtmAdmin } from '../../src/dtm/admin.ts';
import type { DtmService } from '../../src/dtm/service.ts';
import { dtmRoutes } from '../../src/http/dtm/routes.ts';
import { openCoordinatorMetrics } from '../../src/http/metrics.ts';
import type { Call } from '../../src/http/routes.ts';

const PAGE = readFileSync(new URL('../../docs/api.md', import.meta.url), 'utf8');

test('docs/api.md names every endpoint of DTM’s protocol', (t) => {
  const metrics = { status: 200, text: '' };
  const options = { resetBeyondMs: 0, metrics: () => metrics, onRequest: () => undefined };
  const routes = dtmRoutes({} as DtmService, {} as DtmAdmin, options);
  t.true(routes.length > 20);
  for (const { path } of routes) {
    const name = path.replace('/api/dtmsvr/', '');
    t.true(PAGE.includes(`${name}\``), `${name} is on the page`);
  }
});

test('docs/api.md names every metric', async (t) => {
  const call: Call = { segment: '', query: '', body: '', signal: () => new AbortController().signal };
  const { text } = await openCoordinatorMetrics(false).route.handle(call);
  const names = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name = '']) => name);
  t.true(names.length > 3);
  for (const name of names) t.true(PAGE.includes(`\`${name}\``), name);
});
