/** countSockets on the real kernel: what it counts, and what that costs. Needs root. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { native, type SocketCounts } from './native.js';
import {
  A,
  Actor,
  B,
  endActors,
  makeNamespaces,
  netns,
  removeNamespaces,
  tcpClient,
  tcpServer,
} from './native-netns.fixture.js';

beforeAll(makeNamespaces);
afterEach(endActors);
afterAll(removeNamespaces);

/** Who connects is accepted by nobody, since the process is busy: the connections wait. */
const lazyServer = (host: string, port: number): string => `
  const { execFileSync } = require('node:child_process');
  require('node:net').createServer().listen(${port}, '${host}', () => {
    console.log('listening');
    setTimeout(() => execFileSync('sleep', ['600']), 50);
  });`;

/** Opens so many connections to one port, 50 at a time. */
const crowd = (host: string, port: number, count: number): string => `
  let open = 0;
  const one = () => {
    const socket = require('node:net').connect(${port}, '${host}', () => {
      if (++open === ${count}) console.log('all ' + open);
      else if (open + 50 <= ${count}) one();
    });
    socket.on('error', (error) => console.log('error ' + error.code));
  };
  for (let i = 0; i < Math.min(50, ${count}); i++) one();`;

async function until(
  holds: (counts: SocketCounts) => boolean,
  of: 'tcp' | 'udp' = 'tcp',
): Promise<SocketCounts> {
  for (const end = Date.now() + 4_000; ;) {
    const counts = await native().countSockets(netns(B), of);
    if (holds(counts)) return counts;
    if (Date.now() > end) throw new Error(`not in 4 s: ${JSON.stringify(counts)}`);
    await new Promise((resume) => setTimeout(resume, 20));
  }
}

describe('countSockets', () => {
  it('counts the connections of each port by their local address, those of clients not', async () => {
    await new Actor(B, tcpServer('::', 7100)).said(/listening/);
    await new Actor(B, tcpServer('10.77.0.2', 7101)).said(/listening/);
    await new Actor(A, tcpServer('0.0.0.0', 7102)).said(/listening/);
    await new Actor(A, crowd('10.77.0.2', 7100, 3)).said(/all/);
    await new Actor(A, crowd('fd77::2', 7100, 2)).said(/all/);
    await new Actor(B, crowd('10.77.0.1', 7102, 4)).said(/all/);
    const counts = await until(({ connected }) => connected.length === 2);
    expect(counts.listening.sort((a, b) => a.port - b.port)).toEqual([
      { family: 6, address: '::', port: 7100, backlog: 0, ipv6Only: false },
      { family: 4, address: '10.77.0.2', port: 7101, backlog: 0, ipv6Only: false },
    ]);
    expect(counts.connected.sort((a, b) => a.family - b.family)).toEqual([
      { family: 4, address: '10.77.0.2', port: 7100, sockets: 3 },
      { family: 6, address: 'fd77::2', port: 7100, sockets: 2 },
    ]);
  });

  it('tells how many connections wait to be accepted, and who listens for IPv6 alone', async () => {
    await new Actor(B, lazyServer('0.0.0.0', 7110)).said(/listening/);
    await new Promise((resume) => setTimeout(resume, 300));
    const only = tcpServer('::', 7111).replace(`7111, '::'`, `{ port: 7111, host: '::', ipv6Only: true }`);
    await new Actor(B, only).said(/listening/);
    for (let i = 0; i < 2; i++) await new Actor(A, tcpClient('10.77.0.2', 7110)).said(/connected/);
    const counts = await until(({ listening }) => listening.some(({ backlog }) => backlog === 2));
    expect(counts.listening.find(({ port }) => port === 7110)).toMatchObject({ backlog: 2 });
    expect(counts.listening.find(({ port }) => port === 7111)).toMatchObject({ ipv6Only: true });
  });

  it('counts connected UDP sockets beside one that is not', async () => {
    const server = `
      const { createSocket } = require('node:dgram');
      const open = (then) => { const socket = createSocket({ type: 'udp4', reuseAddr: true }); socket.bind(7120, '10.77.0.2', () => then(socket)); };
      open((first) => open((second) => second.connect(9, '10.77.0.1', () => console.log('connected'))));
      createSocket('udp4').connect(9, '10.77.0.1');
      createSocket('udp4').bind(7121);`;
    await new Actor(B, server).said(/connected/);
    const counts = await until(({ connected }) => connected.length > 0, 'udp');
    expect(counts.listening.map(({ port }) => port)).toEqual([7120]);
    expect(counts.connected).toEqual([{ family: 4, address: '10.77.0.2', port: 7120, sockets: 1 }]);
  });

  /** Measured on a busy machine of two cores: 4,000 connections 6 ms, 50,000 55 ms. */
  it('costs little, and says how much', async () => {
    await new Actor(B, tcpServer('0.0.0.0', 7130)).said(/listening/);
    const size = 4_000;
    await new Actor(A, crowd('10.77.0.2', 7130, size)).said(/all/);
    const counts = await until(({ connected }) => connected[0]?.sockets === size);
    expect(counts.cpuUs).toBeGreaterThan(0);
    expect(counts.cpuUs).toBeLessThan(100_000);
    process.stdout.write(`countSockets: ${size} connections took ${counts.cpuUs} us\n`);
  });
});
