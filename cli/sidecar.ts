/** `atomesh sidecar`: runs the sidecar of one service until it is told to stop. */
import { Command } from 'commander';
import type { SidecarOptions } from '../proxy/options.ts';
import type { Sidecar } from '../proxy/proxy.ts';
import type { Address } from '../src/platform/option-types.ts';
import { openLog } from '../src/platform/log.ts';
import { sidecarConfig } from './options.ts';
import { openLauncher } from './run/channel.ts';
import { authorityOf, factsOf, type SidecarPorts } from './run/facts.ts';
import { type Listener, serve } from './serve.ts';

export const sidecarCommand: Command = new Command('sidecar')
  .description('run the sidecar of one service')
  .requiredOption('-c, --config <file>', 'its options')
  .action(async ({ config }: { config: string }) => {
    const launcher = openLauncher();
    const { options, warnings } = sidecarConfig(config);
    const log = openLog('sidecar', options.log.level);
    for (const { message, ...where } of warnings) log.warn(where, message);
    // Loaded here so that the other commands start without it.
    const { startSidecar } = await import('../proxy/proxy.ts');
    const start = async (): Promise<Sidecar> => {
      const sidecar = await startSidecar(options, log);
      launcher.ready(factsOf(options, sidecar.ports));
      void launcher.applicationEnds.then(() => sidecar.applicationEnds());
      return sidecar;
    };
    process.exitCode = await serve(start, {
      log,
      graceMs: options.shutdown.grace,
      listeners: listenersOf(options),
      readyLine: ({ ports }) => readyLine(options, ports),
    });
  });

function listenersOf({ inbound, outbound, control, admin, databases }: SidecarOptions): readonly Listener[] {
  return [
    ...(inbound === undefined ? [] : [{ option: 'inbound.listen', address: inbound.listen }]),
    ...(outbound === undefined ? [] : [{ option: 'outbound.listen', address: outbound.listen }]),
    { option: 'control.listen', address: control.listen },
    { option: 'admin.listen', address: admin.listen },
    ...databases.map(({ listen }, index) => ({ option: `databases[${index}].listen`, address: listen })),
  ];
}

/** `atomesh sidecar ready: inbound 0.0.0.0:9700, orders 127.0.0.1:15432 → postgres://db:5432/orders`. */
function readyLine(options: SidecarOptions, ports: SidecarPorts): string {
  const parts = [
    ...(options.inbound === undefined ? [] : [`inbound ${at(options.inbound.listen, ports.inbound)}`]),
    ...(options.outbound === undefined ? [] : [`outbound ${at(options.outbound.listen, ports.outbound)}`]),
    ...options.databases.map(
      ({ name, listen, upstream }) => `${name} ${at(listen, ports.databases[name])} → ${upstream}`,
    ),
  ];
  return `atomesh sidecar ready: ${parts.join(', ')}`;
}

function at({ host, port }: Address, bound: number | undefined): string {
  return authorityOf({ host, port: bound ?? port });
}
