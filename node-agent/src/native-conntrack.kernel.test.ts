/** Listing conntrack entries, with an nftables DNAT as kube-proxy makes it. Needs root. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { native, type ConntrackEntry } from './native.js';
import {
  A,
  Actor,
  B,
  endActors,
  makeNamespaces,
  netns,
  removeNamespaces,
  run,
  tcpClient,
  tcpServer,
} from './native-netns.fixture.js';

const [SNAT, DNAT] = [1 << 4, 1 << 5];
const vip = { 4: '10.96.0.1', 6: 'fd96::1' };
const rules = `
  table ip vips {
    chain output {
      type nat hook output priority -100;
      ip daddr ${vip[4]} tcp dport 80 dnat to 10.77.0.2:7060
      ip daddr ${vip[4]} udp dport 1-65535 dnat to 10.77.0.2
    }
    chain postrouting {
      type nat hook postrouting priority 100;
      ip daddr 10.77.0.2 tcp dport 7062 masquerade fully-random
    }
  }
  table ip6 vips {
    chain output {
      type nat hook output priority -100;
      ip6 daddr ${vip[6]} tcp dport 80 dnat to [fd77::2]:7061
    }
  }`;

beforeAll(() => {
  makeNamespaces();
  run(A, 'nft', rules);
  run(A, 'ip', 'route', 'add', vip[4], 'via', '10.77.0.2');
  run(A, 'ip', '-6', 'route', 'add', vip[6], 'via', 'fd77::2');
});
afterEach(endActors);
afterAll(removeNamespaces);

async function connected(host: string, port: number, serverPort = port): Promise<number> {
  const server = new Actor(B, tcpServer(host.includes(':') ? '::' : '0.0.0.0', serverPort));
  await server.said(/listening/);
  const client = new Actor(A, tcpClient(host, port));
  const [, clientPort] = await client.said(/connected (\d+)/);
  return Number(clientPort);
}

const translated = (): Promise<ConntrackEntry[]> => native().listConntrack(netns(A), { natOnly: true });

describe('conntrack entries', () => {
  it.each([
    [vip[4], 7060, '10.77.0.1', '10.77.0.2'],
    [vip[6], 7061, 'fd77::1', 'fd77::2'],
  ])('of %s say what became of the destination', async (address, port, source, destination) => {
    const clientPort = await connected(address, 80, port);
    const entry = (await translated()).find(({ original }) => original.sourcePort === clientPort);
    expect(entry).toMatchObject({
      original: {
        protocol: 'tcp',
        source,
        sourcePort: clientPort,
        destination: address,
        destinationPort: 80,
      },
      reply: {
        protocol: 'tcp',
        source: destination,
        sourcePort: port,
        destination: source,
        destinationPort: clientPort,
      },
    });
    expect((entry?.status ?? 0) & (SNAT | DNAT)).toBe(DNAT);
    expect(entry).toEqual({
      ...(await native().lookupConntrack(netns(A), entry?.original as ConntrackEntry['original'])),
      timeoutSeconds: expect.any(Number) as unknown,
    });
  });

  it('of a masqueraded flow are among them, those of plain flows only where all are asked for', async () => {
    const masqueraded = await connected('10.77.0.2', 7062);
    const plain = await connected('10.77.0.2', 7063);
    const ports = (entries: ConntrackEntry[]): number[] => entries.map(({ original }) => original.sourcePort);
    const some = await translated();
    expect(some.find(({ original }) => original.sourcePort === masqueraded)?.status).toBeDefined();
    expect(ports(some)).not.toContain(plain);
    expect(ports(await native().listConntrack(netns(A)))).toEqual(
      expect.arrayContaining([masqueraded, plain]),
    );
  });

  it('are listed by the hundred thousand, each once', async () => {
    const script = `
import socket
for base in (1000, 2000):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("", base))
    for port in range(1, 50001):
        s.sendto(b"x", ("${vip[4]}", port))`;
    run(A, 'python3', '-c', script);
    const from = performance.now();
    const entries = await translated();
    const took = performance.now() - from;
    const many = entries.filter(({ original }) => original.protocol === 'udp');
    expect(many.length).toBe(100_000);
    expect(
      new Set(many.map(({ original }) => `${original.sourcePort} ${original.destinationPort}`)).size,
    ).toBe(100_000);
    expect(many.every(({ reply }) => reply.source === '10.77.0.2')).toBe(true);
    // Some 0.3 s where nothing else runs.
    expect(took).toBeLessThan(5000);
  }, 60_000);

  it('are not listed where the namespace is gone, or the options are none', async () => {
    await expect(native().listConntrack('/run/netns/serval-gone')).rejects.toMatchObject({ code: 'ENOENT' });
    const wrong = native().listConntrack(netns(A), 7 as never);
    await expect(wrong).rejects.toMatchObject({ name: 'TypeError' });
  });
});
