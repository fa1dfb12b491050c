import { describe, expect, it } from '@jest/globals';
import type { SocketCounts } from '../../native.js';
import type { AgentPod } from '../pods.js';
import { LoadSampler } from './load-sampler.js';
import { podAt, workloadAt } from './pod.fixture.js';
import { replicaFlows } from './replica-flows.js';

const listening = (address: string, port: number, more: object = {}): SocketCounts['listening'][number] => ({
  family: address.includes(':') ? 6 : 4,
  address,
  port,
  backlog: 0,
  ipv6Only: false,
  ...more,
});
const connected = (address: string, port: number, sockets: number): SocketCounts['connected'][number] => ({
  family: address.includes(':') ? 6 : 4,
  address,
  port,
  sockets,
});
const tcp = (address: string, port: number, established: number, backlog = 0): object => ({
  protocol: 'tcp',
  address,
  port,
  established,
  backlog,
});

describe('the load of a replica', () => {
  const both = ['10.1.0.2', 'fd00::2'];
  it.each<[string, AgentPod, Partial<SocketCounts>, object[]]>([
    [
      'of each family that it listens for',
      podAt(both),
      {
        listening: [listening('::', 80, { backlog: 2 })],
        connected: [connected('10.1.0.2', 80, 7), connected('fd00::2', 80, 1)],
      },
      [tcp('10.1.0.2', 80, 7, 2), tcp('fd00::2', 80, 1, 2)],
    ],
    [
      'of IPv6 alone',
      podAt(both),
      { listening: [listening('::', 80, { ipv6Only: true })] },
      [tcp('fd00::2', 80, 0)],
    ],
    ['of IPv4 alone', podAt(both), { listening: [listening('0.0.0.0', 80)] }, [tcp('10.1.0.2', 80, 0)]],
    [
      'that listens by two sockets: the backlogs together',
      podAt('10.1.0.2'),
      { listening: [listening('0.0.0.0', 80, { backlog: 1 }), listening('10.1.0.2', 80, { backlog: 2 })] },
      [tcp('10.1.0.2', 80, 0, 3)],
    ],
    ['not of what nobody else can reach', podAt('10.1.0.2'), { listening: [listening('127.0.0.1', 80)] }, []],
    [
      'whose flows are bound to an address of an earlier place',
      workloadAt('10.2.0.9', { identityAddresses: ['10.1.0.2'] }),
      {
        listening: [listening('0.0.0.0', 80), listening('10.1.0.2', 81)],
        connected: [connected('10.1.0.2', 80, 5), connected('10.2.0.9', 80, 2), connected('10.1.0.2', 81, 1)],
      },
      [tcp('10.2.0.9', 80, 7), tcp('10.2.0.9', 81, 1)],
    ],
    [
      'with several addresses: each its own',
      podAt(['10.1.0.2', '10.1.0.3']),
      {
        listening: [listening('0.0.0.0', 80)],
        connected: [
          connected('10.1.0.2', 80, 1),
          connected('10.1.0.3', 80, 2),
          connected('127.0.0.1', 80, 4),
        ],
      },
      [tcp('10.1.0.2', 80, 5), tcp('10.1.0.3', 80, 2)],
    ],
    [
      "on the host's network: by its own addresses alone",
      podAt('192.0.2.1', { hostNetwork: true }),
      {
        listening: [listening('0.0.0.0', 80), listening('192.0.2.77', 81)],
        connected: [
          connected('192.0.2.1', 80, 3),
          connected('192.0.2.77', 80, 9),
          connected('127.0.0.1', 80, 9),
        ],
      },
      [tcp('192.0.2.1', 80, 3)],
    ],
  ])('is told %s', (_, pod, counts, expected) => {
    expect(replicaFlows(pod, 'tcp', { listening: [], connected: [], cpuUs: 0, ...counts })).toEqual(expected);
  });
});

describe('LoadSampler', () => {
  function sampler(cpuUs: number, pods = [podAt('10.1.0.2')]) {
    const world = {
      now: 0,
      cpuUs,
      counted: [] as string[],
      errors: [] as string[],
      gone: new Set<string>(),
      made: undefined as unknown as LoadSampler,
    };
    world.made = new LoadSampler({
      pods: () => pods,
      count: (netns, protocol) => {
        if (world.gone.has(netns)) return Promise.reject(new Error('gone'));
        world.counted.push(`${netns} ${protocol}`);
        const rows = protocol === 'tcp' ? [listening('0.0.0.0', 80)] : [];
        return Promise.resolve({ listening: rows, connected: [], cpuUs: world.cpuUs });
      },
      onError: (pod) => world.errors.push(pod),
      now: () => world.now,
    });
    return world;
  }

  it('looks when it is asked, once a second at most', async () => {
    const world = sampler(100);
    expect(world.made.replicas).toEqual([]);
    await Promise.all([world.made.look(), world.made.look()]);
    expect(world.made.replicas).toEqual([tcp('10.1.0.2', 80, 0)]);
    world.now = 999;
    await world.made.look();
    expect(world.counted).toHaveLength(2);
    world.now = 1_000;
    await world.made.look();
    expect(world.counted).toHaveLength(4);
  });

  it('takes a twentieth of a processor at most', async () => {
    const world = sampler(100_000);
    await world.made.look();
    // Twice 100 ms, and what the calls cost besides.
    world.now = 4_000;
    await world.made.look();
    expect(world.counted).toHaveLength(2);
    world.now = 4_010;
    await world.made.look();
    expect(world.counted).toHaveLength(4);
  });

  it('does not tell what was long ago', async () => {
    const world = sampler(100);
    await world.made.look();
    world.now = 10_001;
    expect(world.made.replicas).toEqual([]);
  });

  it('looks once into a network that pods share, and tells an address once', async () => {
    const host = { hostNetwork: true, netns: '/proc/1/ns/net' };
    const pods = [podAt('192.0.2.1', { ...host, name: 'a/a' }), podAt('192.0.2.1', { ...host, name: 'a/b' })];
    const world = sampler(100, pods);
    await world.made.look();
    expect(world.counted).toEqual(['/proc/1/ns/net tcp', '/proc/1/ns/net udp']);
    expect(world.made.replicas).toHaveLength(1);
  });

  it('goes on without a pod that can not be looked into, and says so once', async () => {
    const world = sampler(100, [podAt('10.1.0.2'), podAt('10.1.0.3')]);
    world.gone.add('/run/netns/10.1.0.2');
    for (world.now = 0; world.now < 3_000; world.now += 1_000) await world.made.look();
    expect(world.made.replicas).toEqual([tcp('10.1.0.3', 80, 0)]);
    expect(world.errors).toEqual(['shop/10.1.0.2']);
    world.gone.clear();
    await world.made.look();
    world.gone.add('/run/netns/10.1.0.2');
    world.now += 1_000;
    await world.made.look();
    expect(world.errors).toHaveLength(2);
  });
});
