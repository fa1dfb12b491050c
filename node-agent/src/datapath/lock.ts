import { createServer, type Server } from 'node:net';
import { ServalError } from '@serval/api';

/** One writer for one set of maps. The kernel gives an abstract socket back when its owner dies, however it dies. */
export async function takeLock(bpffs: string): Promise<Server> {
  const server = createServer();
  server.unref();
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) =>
      reject(
        new ServalError(cause.code === 'EADDRINUSE' ? 'ERR_CONFLICT' : 'ERR_KERNEL', {
          subject: bpffs,
          reason: cause.code === 'EADDRINUSE' ? 'another process writes this data plane' : cause.message,
          remedy: 'One agent runs on a node: stop the other one first',
          cause,
        }),
      ),
    );
    server.listen(`\0serval-datapath:${bpffs}`, resolve);
  });
  return server;
}
