/** `atomesh coordinator`: runs a coordinator until it is told to stop. */
import { Command } from 'commander';
import { openLog } from '../src/platform/log.ts';
import { coordinatorConfig } from './options.ts';
import { serve } from './serve.ts';

export const coordinatorCommand: Command = new Command('coordinator')
  .description('run a coordinator: it keeps global transactions and carries their outcome out')
  .option(
    '-c, --config <file>',
    'its options; without a file: ports 36789 and 36790 (gRPC) of 127.0.0.1, kept in ./atomesh.db',
  )
  .action(async ({ config }: { config?: string }) => {
    const { options, warnings } = coordinatorConfig(config);
    const log = openLog('coordinator', options.log.level);
    for (const { message, ...where } of warnings) log.warn(where, message);
    // Loaded here so that the other commands start without it.
    const { startCoordinator } = await import('../src/coordinator.ts');
    process.exitCode = await serve(() => startCoordinator(options, log), {
      log,
      graceMs: options.shutdown.grace,
      listeners: [
        { option: 'listen', address: options.listen },
        ...(options.grpc.listen === 'off' ? [] : [{ option: 'grpc.listen', address: options.grpc.listen }]),
      ],
      readyLine: ({ url, grpcUrl }) =>
        `atomesh coordinator listening on ${url}${grpcUrl === undefined ? '' : ` and ${grpcUrl}`}`,
    });
  });
