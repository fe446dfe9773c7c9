// Builds the npm package and what the image runs: the sources as JavaScript with their types, in dist.
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const main = join(root, 'dist', 'cli', 'main.js');

// What is no longer in the sources must not stay in the package.
rmSync(join(root, 'dist'), { recursive: true, force: true });
const { status, error } = spawnSync(
  process.execPath,
  [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', join(root, 'tsconfig.build.json')],
  { cwd: root, stdio: 'inherit' },
);
if (error !== undefined) throw error;
if (status !== 0) process.exit(status ?? 1);
// Read at run time, by the gRPC server and the gRPC client.
cpSync(join(root, 'src', 'grpc', 'proto'), join(root, 'dist', 'src', 'grpc', 'proto'), { recursive: true });
// Read by Python, in applications that `atomesh run --trace-agent python` starts.
cpSync(join(root, 'cli', 'run', 'python'), join(root, 'dist', 'cli', 'run', 'python'), { recursive: true });
// The demo needs a real PostgreSQL, which only a checkout has; `atomesh demo` says so. What it is made of stays out.
rmSync(join(root, 'dist', 'examples'), { recursive: true, force: true });
if (!readFileSync(main, 'utf8').startsWith('#!/usr/bin/env node\n')) throw new Error(`${main} has lost its first line`);
chmodSync(main, 0o755);
