/** What has to hold between options of a sidecar, and what is allowed but worth a warning. */
import type { CoordinatorOptions } from '../src/options.ts';
import type { Address } from '../src/platform/option-types.ts';
import {
  carriesBarriers,
  type AnyDatabaseOptions,
  type DatabaseOptions,
  type MysqlDatabaseOptions,
  type SidecarOptions,
} from '../proxy/options.ts';
import { type Finding, type Path, pathText } from './fault.ts';
import { loginFaults, loginWarnings } from './login-checks.ts';

export interface Findings {
  readonly faults: readonly Finding[];
  readonly warnings: readonly Finding[];
}

/** Names and addresses must be unique, and there must be something to do. */
export function checkSidecar(options: SidecarOptions): Findings {
  const listeners: readonly Listener[] = [
    ...(options.inbound === undefined ? [] : [{ path: ['inbound', 'listen'], address: options.inbound.listen }]),
    ...(options.outbound === undefined ? [] : [{ path: ['outbound', 'listen'], address: options.outbound.listen }]),
    { path: ['control', 'listen'], address: options.control.listen },
    { path: ['admin', 'listen'], address: options.admin.listen },
    ...options.databases.map((database, index) => ({ path: ['databases', index, 'listen'], address: database.listen })),
  ];
  const faults = [
    ...sameNames(options),
    ...sameAddresses(listeners),
    ...barrierFaults(options),
    ...beginFaults(options),
    ...options.databases.flatMap((database, index) => databaseFaults(database, ['databases', index])),
  ];
  if (options.inbound === undefined && options.outbound === undefined && options.databases.length === 0) {
    faults.push({
      path: [],
      message: 'there is nothing to do',
      expected: 'at least one of inbound, outbound, databases',
    });
  }
  const { control } = options;
  const warnings: Finding[] = options.databases.flatMap((database, index) => {
    return loginWarnings(database, ['databases', index]);
  });
  if (isWildcard(control.listen) && control.advertise === undefined) {
    warnings.push({
      path: ['control', 'listen'],
      message: 'the coordinator is told to call this address, which on its host means itself',
      expected: 'control.advertise: the URL of this listener as the coordinator sees it',
    });
  }
  const coordinatorHost = new URL(options.coordinator.url).hostname.replace(/^\[|\]$/g, '');
  if (
    isLoopback(control.listen) &&
    control.advertise === undefined &&
    !isLoopback({ host: coordinatorHost, port: 0 })
  ) {
    warnings.push({
      path: ['coordinator', 'url'],
      message:
        'this coordinator may be on another host, where the address of the control listener means another sidecar or none',
      expected: 'control.listen on an address that the coordinator reaches, and control.advertise',
    });
  }
  if (!isLoopback(control.listen) && control.token === undefined) {
    warnings.push({
      path: ['control', 'listen'],
      message: 'whoever reaches this listener can commit and roll back branches',
      expected: 'control.token, the same text as branchToken of the coordinator',
    });
  }
  return { faults, warnings };
}

/** What has to hold between the options of one database. */
function databaseFaults(database: AnyDatabaseOptions, path: Path): readonly Finding[] {
  const faults = loginFaults(database, path);
  if (database.engine === 'mysql') return [...faults, ...credentialsFaults(database, path)];
  return [...faults, ...captureFaults(database, path)];
}

/** Without an account of its own the second phase can end nothing. */
function credentialsFaults({ mode, credentials }: MysqlDatabaseOptions, path: Path): readonly Finding[] {
  if (mode === 'none' || credentials !== undefined) return [];
  const message = `with mode: ${mode} the second phase needs an account of its own`;
  return [{ path, message, expected: 'credentials, with user and password; or mode: none' }];
}

/** Triggers write row images, which there are in undo mode alone. */
function captureFaults({ capture, captureExcept, mode }: DatabaseOptions, path: Path): readonly Finding[] {
  const faults: Finding[] = [];
  if (capture === 'triggers' && mode !== 'undo') {
    const message = `with mode: ${mode} there are no row images`;
    faults.push({ path: [...path, 'capture'], message, expected: 'mode: undo, or no capture' });
  }
  if (capture !== 'triggers' && captureExcept.length > 0) {
    const message = 'without capture: triggers there are no triggers to leave out';
    faults.push({ path: [...path, 'captureExcept'], message, expected: 'capture: triggers, or no captureExcept' });
  }
  return faults;
}

/** The two listeners need two addresses. Warns of those that are open to the network, and of a token that leaks. */
export function checkCoordinator({ listen, grpc, token, branchToken, branches }: CoordinatorOptions): Findings {
  const listeners: readonly Listener[] = [
    { path: ['listen'], address: listen },
    ...(grpc.listen === 'off' ? [] : [{ path: ['grpc', 'listen'], address: grpc.listen }]),
  ];
  const open = token === undefined ? listeners.filter(({ address }) => !isLoopback(address)) : [];
  const warnings = open.map(({ path }): Finding => {
    const message = 'whoever reaches this listener can begin, commit and roll back transactions';
    return { path, message, expected: 'token, the same text as coordinator.token of the sidecars' };
  });
  if (branchToken !== undefined && token === undefined && branches.allow === undefined) {
    warnings.push({
      path: ['branchToken'],
      message: 'whoever reaches this coordinator can have it sent to a server of their own',
      expected: 'token, or branches.allow with the control listeners of the sidecars',
    });
  }
  return { faults: sameAddresses(listeners), warnings };
}

/** The database of `inbound.barrier` must exist. */
function barrierFaults({ inbound, databases }: SidecarOptions): Finding[] {
  const name = inbound?.barrier;
  const carriers = databases.filter(carriesBarriers);
  if (name === undefined || name === 'off' || carriers.some((database) => database.name === name)) return [];
  const names = carriers.map((database) => database.name).join(', ');
  const path = ['inbound', 'barrier'];
  if (databases.some((database) => database.name === name)) {
    const expected = names === '' ? 'mode: undo or xa there, or off' : `one of ${names}, or off`;
    return [{ path, message: `the database ${name} has mode: none, with which there is no barrier`, expected }];
  }
  const expected = names === '' ? 'a database under databases' : `one of ${names}, or off`;
  return [{ path, message: `there is no database ${name}`, expected }];
}

function beginFaults({ inbound, databases }: SidecarOptions): Finding[] {
  const hasBarrier = databases.some(carriesBarriers) && inbound?.barrier !== 'off';
  return (inbound?.transactions ?? []).flatMap(({ begin }, index): Finding[] => {
    const path = ['inbound', 'transactions', index, 'begin'];
    if (begin.message && begin.workflow) {
      return [
        {
          path: [...path, 'workflow'],
          message: 'the transaction is a message already',
          expected: 'message or workflow',
        },
      ];
    }
    if (begin.workflow && inbound?.protocol === 'h2c') {
      const message = 'a workflow is run again over HTTP/1, which the application does not speak';
      return [{ path: [...path, 'workflow'], message, expected: 'inbound.protocol auto or http1' }];
    }
    if (!begin.message || hasBarrier) return [];
    const message = 'a message follows a local transaction, and there is no database that could say how it ended';
    const expected = 'an entry under databases that carries barriers (docs/barrier.md), and inbound.barrier not off';
    return [{ path: [...path, 'message'], message, expected }];
  });
}

interface Listener {
  readonly path: Path;
  readonly address: Address;
}

function sameNames(options: SidecarOptions): Finding[] {
  const first = new Map<string, number>();
  return options.databases.flatMap(({ name }, index): Finding[] => {
    const earlier = first.get(name);
    if (earlier === undefined) {
      first.set(name, index);
      return [];
    }
    return [{ path: ['databases', index, 'name'], message: `databases[${earlier}] has the name ${name} already` }];
  });
}

function sameAddresses(listeners: readonly Listener[]): Finding[] {
  return listeners.flatMap((listener, index): Finding[] => {
    const earlier = listeners.slice(0, index).find((other) => collide(other.address, listener.address));
    if (earlier === undefined) return [];
    return [{ path: listener.path, message: `${pathText(earlier.path)} listens there already` }];
  });
}

/** Port 0 never collides; an address that stands for every address of the host collides with each of them. */
function collide(left: Address, right: Address): boolean {
  if (left.port !== right.port || left.port === 0) return false;
  return left.host === right.host || isWildcard(left) || isWildcard(right);
}

function isWildcard({ host }: Address): boolean {
  return host === '0.0.0.0' || host === '::';
}

function isLoopback({ host }: Address): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.');
}
