import { describe, expect, it } from '@jest/globals';
import type { ServalNodeStatus } from '@serval/api';
import { routeDevices } from './host-devices.js';
import { nodeSpec, nodeStatus, servalNode, type NodeFacts, type NodeObject } from './registration-rules.js';

const node: NodeObject = {
  metadata: {
    name: 'n1',
    labels: { 'topology.kubernetes.io/zone': 'a', 'topology.kubernetes.io/region': 'r' },
  },
  spec: { podCIDR: '10.1.0.0/24', podCIDRs: ['10.1.0.0/24', 'fd00:1::/64'] },
  status: {
    addresses: [
      { type: 'Hostname', address: 'n1' },
      { type: 'InternalIP', address: '192.0.2.1' },
      { type: 'InternalIP', address: '2001:db8::1' },
      { type: 'ExternalIP', address: '198.51.100.1' },
    ],
  },
};

describe('what a node is, by its Node', () => {
  it('has its addresses, its ranges, its zone', () => {
    expect(nodeSpec(node, 7946)).toEqual({
      address: '192.0.2.1:7946',
      hostAddresses: ['192.0.2.1', '2001:db8::1', '198.51.100.1'],
      podCIDRs: ['10.1.0.0/24', 'fd00:1::/64'],
      zone: 'a',
      region: 'r',
    });
  });

  it('puts IPv6 in brackets, and takes the one range of older API servers', () => {
    const six: NodeObject = {
      metadata: { name: 'n1' },
      spec: { podCIDR: 'fd00:1::/64' },
      status: { addresses: [{ type: 'InternalIP', address: '2001:db8::1' }] },
    };
    expect(nodeSpec(six, 1)).toEqual({
      address: '[2001:db8::1]:1',
      hostAddresses: ['2001:db8::1'],
      podCIDRs: ['fd00:1::/64'],
    });
  });

  it('is nothing before it has an address', () => {
    expect(nodeSpec({ metadata: { name: 'n1' }, status: { addresses: [] } }, 1)).toBeUndefined();
  });
});

describe('what an agent says of itself', () => {
  const facts: NodeFacts = {
    agentVersion: '1',
    kernelVersion: '6.18',
    capabilities: [{ name: 'datapath', available: true }],
  };
  const spec = { address: 'a:1', hostAddresses: [], podCIDRs: ['10.1.0.0/24'] };
  const told = (status: ServalNodeStatus | undefined, more: Partial<NodeFacts> = {}, now = 'now') =>
    nodeStatus(
      { ...servalNode('n1', spec), ...(status === undefined ? {} : { status }) },
      { ...facts, ...more },
      now,
    );

  it('is written once, and again only when something has changed', () => {
    const first = told(undefined);
    expect(first).toMatchObject({
      ...facts,
      lastSeen: 'now',
      conditions: [{ status: 'True', lastTransitionTime: 'now' }],
    });
    expect(told(first, {}, 'later')).toBeUndefined();
    expect(told(first, { agentVersion: '2' }, 'later')).toMatchObject({
      agentVersion: '2',
      lastSeen: 'later',
      conditions: [{ status: 'True', lastTransitionTime: 'now' }],
    });
  });

  it('takes back what the operator has set while it was silent', () => {
    const [condition] = told(undefined)?.conditions ?? [];
    const silent = {
      ...told(undefined),
      conditions: [{ ...condition, status: 'Unknown' as const, reason: 'Silent' }],
    };
    expect(told(silent as ServalNodeStatus, {}, 'later')?.conditions).toMatchObject([
      { status: 'True', lastTransitionTime: 'later' },
    ]);
  });

  it('says in words why it is not ready', () => {
    const broken = [{ name: 'datapath', available: false, message: 'no BPF' }];
    expect(told(undefined, { capabilities: broken })?.conditions).toMatchObject([
      { status: 'False', message: 'no BPF' },
    ]);
    const status = nodeStatus(servalNode('n1', { ...spec, podCIDRs: [] }), facts, 'now');
    expect(status?.conditions).toMatchObject([{ status: 'False', reason: 'NoPodCIDRs' }]);
  });
});

describe('the devices that lead out of a node', () => {
  it('are those of its routes, but for routes to one address', () => {
    const four = [
      'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT',
      'eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0',
      'cni0\t0001010A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0',
      'cali1\t0201010A\t00000000\t0005\t0\t0\t0\tFFFFFFFF\t0\t0\t0',
      'down0\t0301010A\t00000000\t0000\t0\t0\t0\t00FFFFFF\t0\t0\t0',
    ].join('\n');
    const any = '0'.repeat(32);
    const six = [
      `fd000001${'0'.repeat(24)} 40 ${any} 00 ${any} 00000100 00000001 00000000 00000001 vxlan0`,
      `fe80${'0'.repeat(28)} 40 ${any} 00 ${any} 00000100 00000001 00000000 00000001 only-local`,
      `ff00${'0'.repeat(28)} 08 ${any} 00 ${any} 00000100 00000001 00000000 00000001 multicast`,
      `fd000001${'0'.repeat(23)}1 80 ${any} 00 ${any} 00000100 00000001 00000000 00000001 cali2`,
      `${any} 00 ${any} 00 ${any} ffffffff 00000001 00000000 00200200 lo`,
    ].join('\n');
    expect(routeDevices(four, six)).toEqual(['cni0', 'eth0', 'vxlan0']);
  });

  it('are none where there is nothing to read', () => {
    expect(routeDevices('', '')).toEqual([]);
  });
});
