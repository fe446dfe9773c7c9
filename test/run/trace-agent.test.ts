import test from 'ava';
import { chmodSync, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { agentVariables, readAgentChoice } from '../../cli/run/trace-agent.ts';
import { folder } from '../cli/support.ts';

const NONE = { OTEL_TRACES_EXPORTER: 'none', OTEL_METRICS_EXPORTER: 'none', OTEL_LOGS_EXPORTER: 'none' };

test('for Node.js a module is loaded before the application, with the packages of its own folder', (t) => {
  const { path, file } = folder(t);
  mkdirSync(join(path, 'node_modules', '@opentelemetry', 'auto-instrumentations-node'), { recursive: true });
  const agent = file('node_modules/@opentelemetry/auto-instrumentations-node/index.js', '');
  const variables = { NODE_OPTIONS: '--enable-source-maps' };
  const changes = agentVariables({ language: 'auto' }, { command: ['node', 'app.js'], folder: path, variables });
  t.regex(changes['NODE_OPTIONS'] ?? '', /^--enable-source-maps --import=file:\/\/\S+\/cli\/run\/node-preload\.ts$/);
  t.like(changes, { ATOMESH_TRACE_AGENT: agent, OTEL_PROPAGATORS: 'tracecontext,baggage', ...NONE });

  const command = ['node', '--enable-source-maps', file('server.js', '')] as const;
  const elsewhere = agentVariables({ language: 'auto' }, { command, folder: folder(t).path, variables });
  t.is(elsewhere['ATOMESH_TRACE_AGENT'], agent);
});

test('for Python a module is found before all others, and the folder of the application behind it', (t) => {
  const { path, file } = folder(t);
  chmodSync(file('opentelemetry-instrument', '#!/bin/sh\n'), 0o755);
  const variables = { PATH: `/nowhere:${path}`, PYTHONPATH: '/lib' };
  const { PYTHONPATH = '' } = agentVariables(
    { language: 'auto' },
    { command: ['python3.13', '-m', 'shop'], folder: '/app', variables },
  );
  const [preload = '', ...others] = PYTHONPATH.split(':');
  t.true(existsSync(join(preload, 'sitecustomize.py')));
  t.deepEqual(others, ['/app', '/lib']);
});

test('for Java the jar is named, and SQL comments are switched on under both names', (t) => {
  const { path, file } = folder(t);
  const jar = file('agent of otel.jar', '');
  const variables = { JAVA_TOOL_OPTIONS: '-Xmx1g' };
  const changes = agentVariables(
    { language: 'java', path: 'agent of otel.jar' },
    { command: ['java', '-jar', 'x'], folder: path, variables },
  );
  t.like(changes, {
    JAVA_TOOL_OPTIONS: `-Xmx1g "-javaagent:${jar}"`,
    OTEL_INSTRUMENTATION_COMMON_DB_EXPERIMENTAL_SQLCOMMENTER_ENABLED: 'true',
    OTEL_INSTRUMENTATION_COMMON_EXPERIMENTAL_DB_SQLCOMMENTER_ENABLED: 'true',
  });
});

test('what travels stays switched on, and nothing is exported that nobody asked for', (t) => {
  const { path, file } = folder(t);
  file('a.jar', '');
  const changesWith = (variables: Readonly<Record<string, string>>) =>
    agentVariables({ language: 'java', path: 'a.jar' }, { command: ['java'], folder: path, variables });
  t.is(changesWith({ OTEL_PROPAGATORS: 'b3, tracecontext' })['OTEL_PROPAGATORS'], 'tracecontext,baggage,b3');
  t.is(changesWith({ OTEL_PROPAGATORS: 'none' })['OTEL_PROPAGATORS'], 'tracecontext,baggage');
  t.like(changesWith({ OTEL_TRACES_EXPORTER: 'otlp' }), { ...NONE, OTEL_TRACES_EXPORTER: 'otlp' });
  t.false('OTEL_TRACES_EXPORTER' in changesWith({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318' }));
});

const ABSENT: readonly (readonly [choice: string, command: string, message: RegExp])[] = [
  ['auto', 'node', /@opentelemetry\/auto-instrumentations-node is not installed in .*\nnpm install /],
  ['auto', '/opt/bin/python3', /opentelemetry-instrument is not on PATH\npip install /],
  ['auto', 'java', /has to be named\n--trace-agent java=/],
  ['java=gone.jar', 'java', /there is no file .*gone\.jar\n/],
  ['auto', './my-service', /cannot tell the language of my-service\nName it: --trace-agent node/],
];

for (const [choice, program, message] of ABSENT) {
  test(`an agent that is not there is said to be missing, and what to do: ${choice} ${program}`, (t) => {
    const surroundings = { command: [program], folder: folder(t).path, variables: { PATH: '/nowhere' } } as const;
    t.throws(() => agentVariables(readAgentChoice(choice), surroundings), { message });
  });
}

test('an application that starts OpenTelemetry already is not given a second one', (t) => {
  const variables = { NODE_OPTIONS: '--require @opentelemetry/auto-instrumentations-node/register' };
  t.throws(() => agentVariables({ language: 'node' }, { command: ['node'], folder: folder(t).path, variables }), {
    message: /starts OpenTelemetry already/,
  });
});
