/** Reads a connection that is logging in. */
import type { Socket } from 'node:net';

/** As many bytes as asked for, or undefined when the stream ends before. The socket must not be flowing. */
export function exactly(socket: Socket, count: number): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const look = (): void => {
      const bytes = socket.read(count) as Buffer | null;
      // At its end a stream gives what it has, however little.
      if (bytes !== null) finish(bytes.length === count ? bytes : undefined);
      else if (socket.readableEnded || socket.destroyed) finish(undefined);
    };
    const over = (): void => finish(undefined);
    const finish = (bytes: Buffer | undefined): void => {
      socket.off('readable', look).off('end', over).off('close', over);
      resolve(bytes);
    };
    socket.on('readable', look).once('end', over).once('close', over);
    look();
  });
}
