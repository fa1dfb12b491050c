/** Ports of loopback that nobody has. */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { ServalError } from '@serval/api';

export const loopback = '127.0.0.1';
/**
 * Below the ports that the kernel gives to clients (from 32768 on), so that no connection gets the API server's while that
 * is stopped.
 */
const range = { from: 20_000, to: 30_000 };
const attempts = 5;

/**
 * Calls `start` with free ports, and again with others where somebody took one in between.
 * @param start rejects with ERR_CONFLICT then
 */
export async function onFreePorts<Started>(
  count: number,
  start: (ports: number[]) => Promise<Started>,
): Promise<Started> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await start(await freePorts(count));
    } catch (error) {
      if (!(error instanceof ServalError && error.code === 'ERR_CONFLICT') || attempt === attempts)
        throw error;
    }
  }
}

/** So many different ones, by chance, so that those who look at the same time find others. */
export async function freePorts(count: number): Promise<number[]> {
  const found = new Set<number>();
  while (found.size < count) {
    const port = range.from + Math.floor(Math.random() * (range.to - range.from));
    if (await isFree(port)) found.add(port);
  }
  return [...found];
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    server.listen(port, loopback);
    await once(server, 'listening');
    server.close();
    await once(server, 'close');
    return true;
  } catch {
    return false;
  }
}
