import { describe, expect, it } from '@jest/globals';
import { auditPacket, auditRecording, packetLine, packetsTo } from './audit.js';
import type { RecordedPacket } from './recorder.js';
import type { Assignment } from './state.js';

const now = 1_700_000_000_000;
const assignments: Assignment[] = [
  { address: '10.1.1.2', kind: 'pod', owner: 'old', host: 's1-h1', from: now - 1000, to: now - 100 },
  { address: '10.1.1.3', kind: 'pod', owner: 'here', host: 's1-h1', from: now - 1000, to: null },
  { address: 'fd00:1:1::3', kind: 'pod', owner: 'here', host: 's1-h1', from: now - 1000, to: null },
  { address: '10.2.1.2', kind: 'pod', owner: 'there', host: 's2-h1', from: now - 1000, to: null },
  { address: '172.17.1.6', kind: 'host', owner: 's1-h1', host: 's1-h1', from: now - 2000, to: null },
];

function packet(fields: Partial<RecordedPacket> = {}): RecordedPacket {
  return {
    time: now,
    point: 's1-router/h1/in',
    behind: 's1-h1',
    length: 60,
    etherType: 0x0800,
    vlans: [],
    protocol: 'tcp',
    protocolNumber: 6,
    extensionHeaders: [],
    options: [],
    fragmentOffset: 0,
    source: '10.1.1.3',
    destination: '10.2.1.2',
    sourcePort: 4000,
    destinationPort: 80,
    ...fields,
  };
}

const kinds = (fields: Partial<RecordedPacket>) =>
  auditPacket(packet(fields), assignments).map(({ kind }) => kind);

describe('auditPacket: source addresses', () => {
  it.each([
    ['a pod of the host', {}],
    ["a pod's IPv6 address", { source: 'fd00:1:1::3', etherType: 0x86dd }],
    ["the host's own address", { source: '172.17.1.6' }],
    ['a pod while it still had the address', { source: '10.1.1.2', time: now - 100 }],
    [
      'link-local neighbour discovery',
      { source: 'fe80::1', destination: 'ff02::1:ff00:1', protocol: 'icmp6' as const },
    ],
    ['link-local to link-local', { source: 'fe80::1', destination: 'fe80::2', protocol: 'icmp6' as const }],
    [
      'a multicast report without an address yet',
      { source: '::', destination: 'ff02::16', protocol: 'icmp6' as const },
    ],
    ['ARP', { source: '1.2.3.4', protocol: 'arp' as const, etherType: 0x0806 }],
  ])('passes %s', (_, fields) => {
    expect(kinds(fields)).toEqual([]);
  });

  it.each([
    ['an address that nobody has', { source: '10.1.1.99' }],
    ['the address of a pod behind another host', { source: '10.2.1.2' }],
    ['an address after its pod lost it', { source: '10.1.1.2' }],
    ['an address before its pod had it', { source: '10.1.1.3', time: now - 1001 }],
    ['a link-local source towards another subnet', { source: 'fe80::1', destination: 'fd00:2:1::2' }],
    [
      'no source towards another subnet',
      { source: '::', destination: 'fd00:2:1::2', protocol: 'icmp6' as const },
    ],
  ])('flags %s', (_, fields) => {
    expect(kinds(fields)).toEqual(['unassigned-source']);
  });

  it('asks only for some owner where it is not known who is behind the point', () => {
    const open = packet({ source: '10.2.1.2' });
    delete open.behind;
    expect(auditPacket(open, assignments)).toEqual([]);
    expect(auditPacket({ ...open, source: '10.9.9.9' }, assignments)).toHaveLength(1);
  });

  it('returns the packet and says who was missing', () => {
    const spoofed = packet({ source: '10.9.9.9' });
    expect(auditPacket(spoofed, assignments)).toEqual([
      {
        kind: 'unassigned-source',
        reason: 'nobody behind s1-h1 had 10.9.9.9 at that moment',
        point: 's1-router/h1/in',
        packet: spoofed,
      },
    ]);
  });
});

describe('auditPacket: what is inside', () => {
  it.each([4, 41, 47, 50, 51, 97, 115, 137])('flags protocol %d', (protocolNumber) => {
    expect(kinds({ protocolNumber, protocol: 'other' })).toEqual(['encapsulation']);
  });

  it.each([4789, 8472, 6081, 51820])('flags UDP to port %d, but not from it', (port) => {
    expect(kinds({ protocol: 'udp', protocolNumber: 17, destinationPort: port })).toEqual(['encapsulation']);
    expect(kinds({ protocol: 'udp', protocolNumber: 17, sourcePort: port })).toEqual([]);
    expect(kinds({ protocol: 'tcp', destinationPort: port })).toEqual([]);
  });

  it('flags tags, foreign EtherTypes, carried addresses and what can not be read', () => {
    expect(kinds({ vlans: [7] })).toEqual(['encapsulation']);
    expect(kinds({ etherType: 0x8847 })).toEqual(['encapsulation']);
    expect(kinds({ extensionHeaders: [51] })).toEqual(['encapsulation']);
    expect(kinds({ extensionHeaders: [43] })).toEqual(['carried-address']);
    expect(kinds({ options: [0xc9] })).toEqual(['carried-address']);
    expect(kinds({ problem: 'cut' })).toEqual(['unreadable']);
  });
});

describe('auditRecording', () => {
  it('says what the recorder lost', () => {
    const points = [
      { name: 'a', captured: 1, dropped: 0 },
      { name: 'b', captured: 0, dropped: 3 },
    ];
    expect(auditRecording({ packets: [packet()], points, dropped: 3 }, assignments)).toEqual([
      { kind: 'incomplete', reason: '3 packets were not recorded', point: 'b' },
    ]);
  });
});

describe('packetsTo', () => {
  const packets = [
    packet({ time: now, destination: 'fd00:2:1::2' }),
    packet({ time: now + 1, source: '10.1.1.2' }),
    packet({ time: now + 2, protocol: 'udp' }),
  ];

  it('selects by destination, source, time and protocol', () => {
    expect(packetsTo(packets, '10.2.1.2')).toHaveLength(2);
    expect(packetsTo(packets, 'fd00:2:1:0::2')).toEqual([packets[0]]);
    expect(packetsTo(packets, '10.2.1.2', { from: '10.1.1.2' })).toEqual([packets[1]]);
    expect(packetsTo(packets, '10.2.1.2', { after: now + 1 })).toEqual([packets[2]]);
    expect(packetsTo(packets, '10.2.1.2', { protocol: 'udp' })).toEqual([packets[2]]);
    expect(packetsTo(packets, '10.9.9.9')).toEqual([]);
  });
});

describe('packetLine', () => {
  it('has the time to the microsecond, the ends and the protocol', () => {
    const line = packetLine(packet({ time: Date.UTC(2026, 0, 1, 12, 0, 0, 5) + 0.25 }));
    expect(line).toBe('12:00:00.005250 s1-router/h1/in 10.1.1.3 port 4000 > 10.2.1.2 port 80 tcp 60 bytes');
  });
});
