import { afterEach, describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { ServalError } from '@serval/api';
import { freePorts, loopback, onFreePorts } from './ports.js';

const clash = (): ServalError =>
  new ServalError('ERR_CONFLICT', { subject: 'a port', reason: 'somebody has it', remedy: 'Take another' });

describe('free ports', () => {
  const servers: Server[] = [];
  afterEach(() => servers.splice(0).forEach((server) => server.close()));

  it('are different ones that can be listened at, below those of clients', async () => {
    const ports = await freePorts(20);
    expect(new Set(ports).size).toBe(20);
    for (const port of ports) {
      expect(port).toBeLessThan(32_768);
      const server = createServer().listen(port, loopback);
      servers.push(server);
      await once(server, 'listening');
    }
  });

  it('are taken anew when somebody else got one first, but not for ever', async () => {
    const seen: number[][] = [];
    const started = await onFreePorts(2, (ports) => {
      seen.push(ports);
      return seen.length < 3 ? Promise.reject(clash()) : Promise.resolve(ports);
    });
    expect(seen).toHaveLength(3);
    expect(started).toEqual(seen[2]);
    expect(new Set(seen.flat()).size).toBeGreaterThan(2);
    await expect(onFreePorts(1, () => Promise.reject(clash()))).rejects.toThrow(/somebody has it/);
  });

  it('are not taken anew for any other failure', async () => {
    let calls = 0;
    const start = (): Promise<never> => {
      calls++;
      return Promise.reject(new Error('something else'));
    };
    await expect(onFreePorts(1, start)).rejects.toThrow('something else');
    expect(calls).toBe(1);
  });
});
