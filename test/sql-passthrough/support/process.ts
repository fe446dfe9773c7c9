/** A listener in a process of its own, whose memory is its own too. Arguments: the port of the server. Speaks to its parent by IPC. */
import { startListening } from './listening.ts';

const listening = await startListening({ to: Number(process.argv[2]) });
process.send?.({ port: listening.port });
process.on('message', () => process.send?.({ rss: process.memoryUsage().rss }));
process.on('disconnect', () => process.exit());
