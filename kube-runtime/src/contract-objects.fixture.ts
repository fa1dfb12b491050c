/** Objects that every store takes, and objects that none does, with what its reason has to speak of. */
import type { ServalMigration, ServalNode, ServalService } from '@serval/api';
import { migration, node, service } from './testing.fixture.js';

type AnyServal = ServalMigration | ServalNode | ServalService;

const label63 = 'a'.repeat(63);
const name190 = `${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(62)}`;

function nodeWith(spec: object): ServalNode {
  return { ...node('a'), spec: { ...node('a').spec, ...spec } };
}

function migrationWith(spec: object): ServalMigration {
  return { ...migration('m'), spec: { ...migration('m').spec, ...spec } };
}

const web = (spec: object): ServalService => service('web', spec);
const ports = (count: number): object[] =>
  Array.from({ length: count }, (_, i) => ({ name: `p${i}`, port: i + 1, protocol: 'TCP' }));

export const goodObjects: Array<[what: string, object: AnyServal]> = [
  ['a service whose name is 63 long', service(label63)],
  ['a service of both families', web({ virtualIPs: ['10.96.0.1', 'fd00::1'] })],
  ['64 virtual IPs', web({ virtualIPs: Array.from({ length: 64 }, (_, i) => `10.96.0.${i + 1}`) })],
  ['100 ports', web({ ports: ports(100) })],
  [
    'one number for both protocols',
    web({
      ports: [
        { name: 'dns', port: 53, protocol: 'UDP' },
        { name: 'dns-tcp', port: 53, protocol: 'TCP' },
      ],
    }),
  ],
  [
    'a service that says everything',
    web({
      locality: 'Require',
      balance: 'Hash',
      affinity: 'Client',
      ownReplica: 'Prefer',
      failover: { attempts: 10, synTimeoutMs: 20 },
      whenEmpty: 'Wait',
      maxDelayMs: 3_600_000,
    }),
  ],
  // In a directory the name of a file has no room for the 253 that Kubernetes allows.
  ['a node whose name is 190 long', node(name190)],
  ['a node that is reached by IPv6', nodeWith({ address: '[2001:db8::1]:7946' })],
  ['a node without pods', nodeWith({ podCIDRs: [] })],
  ['a migration by another mover', migrationWith({ mover: 'external', deadlineSeconds: 10 })],
];

export const badObjects: Array<[what: string, object: AnyServal, reason: RegExp]> = [
  ['a service without ports', web({ ports: [] }), /ports/],
  ['port 0', web({ ports: [{ port: 0 }] }), /port/],
  ['port 65536', web({ ports: [{ port: 65_536 }] }), /port/],
  ['a range of ports', web({ ports: [{ port: '80-90' }] }), /port/],
  ['half a port', web({ ports: [{ port: 80.5 }] }), /port/],
  ['101 ports', web({ ports: ports(101) }), /100/],
  [
    'a port twice',
    web({
      ports: [
        { name: 'a', port: 80 },
        { name: 'b', port: 80 },
      ],
    }),
    /twice|already|duplicate/,
  ],
  [
    'a port name twice',
    web({
      ports: [
        { name: 'a', port: 80 },
        { name: 'a', port: 81 },
      ],
    }),
    /twice|already|duplicate/,
  ],
  [
    'two ports, one without a name',
    web({ ports: [{ name: 'a', port: 80 }, { port: 81 }] }),
    /without a name/,
  ],
  ['a port name that is no label', web({ ports: [{ name: 'Http', port: 80 }] }), /lower-case/],
  ['SCTP', web({ ports: [{ port: 80, protocol: 'SCTP' }] }), /protocol/],
  ['a virtual IP that is none', web({ virtualIPs: ['10.96.0'] }), /IPv4 or IPv6 address/],
  ['the unspecified virtual IP', web({ virtualIPs: ['0.0.0.0'] }), /unspecified/],
  ['a multicast virtual IP', web({ virtualIPs: ['224.0.0.1'] }), /multicast/],
  ['a virtual IP twice', web({ virtualIPs: ['10.96.0.1', '10.96.0.1'] }), /twice|already|duplicate/],
  ['no virtual IPs at all', web({ virtualIPs: [] }), /virtual/],
  ['65 virtual IPs', web({ virtualIPs: Array.from({ length: 65 }, (_, i) => `10.96.0.${i + 1}`) }), /64/],
  ['a locality that is none', web({ locality: 'Near' }), /Prefer.*Require.*Ignore/s],
  ['0 attempts', web({ failover: { attempts: 0 } }), /attempts/],
  ['a SYN timeout of 19 ms', web({ failover: { synTimeoutMs: 19 } }), /20/],
  ['a delay of more than an hour', web({ maxDelayMs: 3_600_001 }), /3600000/],
  ['an unknown field', web({ frobnicate: true }), /frobnicate/],
  ['an unknown field further in', web({ ports: [{ port: 80, weight: 3 }] }), /weight/],
  ['a service whose name has a dot', service('a.b'), /dot|label|letter/],
  ['a service whose name is 64 long', service(`${label63}a`), /63/],
  ['a node without a port', nodeWith({ address: '192.0.2.1' }), /host and (a )?port/],
  ['a host address that is none', nodeWith({ hostAddresses: ['host-1'] }), /IPv4 or IPv6 address/],
  ['a range that is none', nodeWith({ podCIDRs: ['10.1.0.0'] }), /range of addresses/],
  ['a migration without a workload', { ...migration('m'), spec: { targetNode: 'x' } } as never, /workload/],
  ['a workload that is no name', migrationWith({ workload: { name: 'Redis_0' } }), /lower-case/],
  ['a workload of another namespace', migrationWith({ workload: { name: 'other/redis-0' } }), /lower-case/],
  ['a target that is no name', migrationWith({ targetNode: 'Host 2' }), /lower-case/],
  ['a mover that is none', migrationWith({ mover: 'van' }), /criu.*external/s],
  ['a deadline of 9 s', migrationWith({ deadlineSeconds: 9 }), /10/],
];
