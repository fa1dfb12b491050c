/** Closing exactly the sockets of some flows. Needs root. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
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
} from '../native-netns.fixture.js';
import { closeSockets, listFlows, type SocketFlow } from './sockets.js';

beforeAll(makeNamespaces);
afterEach(endActors);
afterAll(removeNamespaces);

const udpClient = (port: number): string => `
  const socket = require('node:dgram').createSocket('udp4');
  socket.connect(${port}, '10.77.0.2', () => console.log('connected ' + socket.address().port));
  socket.on('error', (error) => console.log('error ' + error.code));
  setInterval(() => socket.send('x', () => undefined), 20);`;

async function toPort(port: number): Promise<SocketFlow[]> {
  return (await listFlows(netns(A))).filter(({ tuple }) => tuple.remote.port === port);
}

describe('listing flows', () => {
  it('leaves out those of other ports, and of another protocol, where some are named', async () => {
    const server = new Actor(B, tcpServer('0.0.0.0', 7079));
    await server.said(/listening/);
    const clients = [new Actor(A, tcpClient('10.77.0.2', 7079)), new Actor(A, tcpClient('10.77.0.2', 7079))];
    const [port = 0, other = 0] = await Promise.all(
      clients.map(async (client) => Number((await client.said(/connected (\d+)/))[1])),
    );
    const localPorts = async (...wanted: number[]): Promise<number[]> =>
      (await listFlows(netns(A), { localPorts: new Set(wanted) })).map(({ tuple }) => tuple.local.port);
    expect(await localPorts(port)).toEqual([port]);
    expect((await localPorts(port, other)).sort()).toEqual([port, other].sort());
    expect(await localPorts()).toEqual([]);
    const of = async (protocol: 'tcp' | 'udp'): Promise<number> =>
      (await listFlows(netns(A), { localPorts: new Set([port]), protocols: new Set([protocol]) })).length;
    expect([await of('tcp'), await of('udp')]).toEqual([1, 0]);
  });
});

describe('closing sockets', () => {
  it.each([
    ['IPv4', '10.77.0.2', '0.0.0.0'],
    ['IPv6', 'fd77::2', '::'],
    ['IPv4 in a socket of IPv6', '::ffff:10.77.0.2', '0.0.0.0'],
  ])('ends exactly the flow that is named, at once: %s', async (_, host, listen) => {
    const server = new Actor(B, tcpServer(listen, 7080));
    await server.said(/listening/);
    const [first, second] = [new Actor(A, tcpClient(host, 7080)), new Actor(A, tcpClient(host, 7080))];
    const [, port] = await first.said(/connected (\d+)/);
    await second.said(/connected/);
    const flow = (await toPort(7080)).find(({ tuple }) => tuple.local.port === Number(port)) as SocketFlow;
    const nobody = { ...flow, tuple: { ...flow.tuple, remote: { ...flow.tuple.remote, port: 7081 } } };
    expect(await closeSockets(netns(A), [nobody])).toBe(0);
    expect(await closeSockets(netns(A), [flow, nobody])).toBe(1);
    await first.said(/error ECONNABORTED/);
    expect((await toPort(7080)).map(({ tuple }) => tuple.local.port)).not.toContain(Number(port));
    expect(await toPort(7080)).toHaveLength(1);
    expect(await closeSockets(netns(A), [flow])).toBe(0);
  });

  it('ends connected UDP', async () => {
    const client = new Actor(A, udpClient(7082));
    await client.said(/connected/);
    const flows = await toPort(7082);
    expect(flows).toHaveLength(1);
    expect(await closeSockets(netns(A), flows)).toBe(1);
    expect(await toPort(7082)).toEqual([]);
  });

  it('asks for nothing where nothing is named', async () => {
    expect(await closeSockets('/run/netns/serval-gone', [])).toBe(0);
  });

  it('says whose namespace is gone', async () => {
    const tuple = { local: { address: '10.77.0.1', port: 1 }, remote: { address: '10.77.0.2', port: 2 } };
    await expect(closeSockets('/run/netns/serval-gone', [{ protocol: 'tcp', tuple }])).rejects.toMatchObject({
      name: 'ServalError',
      code: 'ERR_NETNS_GONE',
    });
  });
});
