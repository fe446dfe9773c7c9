/** Servers that never outlive this process, however it ends: a signal that kills it leaves no time to clean up. */
import { spawn, type ChildProcess } from 'node:child_process';

/**
 * Waits for a line or for the end of its input, which this process holds open as long as it lives. Without a line the server is ended, given
 * five seconds to let go of its files, and its folder is deleted.
 */
const WATCH = `read -r line && exit
kill -s "$1" "$2"
for turn in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$2" || break; sleep 0.5; done
kill -s KILL "$2"
[ -z "$3" ] || rm -rf "$3"`;

/**
 * Has a small process of its own end `child` by `signal`, and delete `folder`, when this process is gone and the child is not. Nothing has to be
 * undone: it leaves when the child does.
 */
export function endWithUs(child: ChildProcess, signal: 'SIGKILL' | 'SIGQUIT', folder = ''): void {
  if (child.pid === undefined) return;
  // A session of its own, so that a signal for this process and its whole group does not reach it.
  const watch = spawn('/bin/sh', ['-c', WATCH, 'sh', signal.slice('SIG'.length), String(child.pid), folder], {
    stdio: ['pipe', 'ignore', 'ignore'],
    cwd: '/',
    detached: true,
  });
  // Where there is no shell, or it was ended by somebody else, everything goes on without it.
  watch.on('error', () => undefined);
  watch.stdin.on('error', () => undefined);
  watch.unref();
  child.once('exit', () => watch.stdin.end('over\n'));
}
