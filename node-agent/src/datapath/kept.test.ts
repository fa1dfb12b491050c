import { describe, expect, it } from '@jest/globals';
import { ipv4, ipv6, tcp, udp, type TcpFields } from '../packet-tests/builder.js';
import { wrongInIpPacket } from '../packet-tests/oracle-checksums.js';
import { salKept, salKeptPacket } from './abi.generated.js';
import { addressBytes } from './address.js';
import { datagramsPerFlow, KeptStore, newcomersPerPod, withEnds } from './kept.js';

const ends = { from: '10.9.1.2', to: '10.1.1.2' };
const podId = 3;
let clock = 0n;

function record(
  kind: number,
  packet: Buffer,
  changes: { seq?: number; ack?: number; payload?: number; flowId?: bigint; localPort?: number } = {},
): Buffer {
  const header = Buffer.alloc(salKeptPacket.size);
  salKeptPacket.write(header, 0, {
    timeNs: ++clock,
    flowId: changes.flowId ?? 1n,
    key: {
      scope: { pod: podId, direction: 0, protocol: packet[9] as number },
      tuple: {
        local: addressBytes(ends.from),
        remote: addressBytes(ends.to),
        localPort: changes.localPort ?? 40001,
        remotePort: 6379,
      },
    },
    seq: changes.seq ?? 0,
    ack: changes.ack ?? 0,
    payload: changes.payload ?? Math.max(0, packet.length - 40),
    length: packet.length,
    tcpFlags: packet[33] ?? 0,
    kind,
    transport: 20,
  });
  return Buffer.concat([header, packet, Buffer.alloc(64)]);
}

function segment(seq: number, fields: Partial<TcpFields> = {}, kind: number = salKept.SEGMENT): Buffer {
  const ack = fields.acknowledgement ?? 500;
  const packet = ipv4(
    ends,
    tcp({
      from: 40001,
      to: 6379,
      sequence: seq,
      acknowledgement: ack,
      payload: Buffer.from('abcd'),
      ...fields,
    }),
  );
  return record(kind, packet, { seq, ack });
}

const acknowledgement = (ack: number): Buffer =>
  segment(1000, { acknowledgement: ack, payload: Buffer.alloc(0) }, salKept.ACK);

function taken(...records: Buffer[]): Array<[string, number, number]> {
  const store = new KeptStore();
  for (const one of records) store.add(one);
  return store
    .take(podId, 'ns/pod')
    .map(({ kind, packet }) => [kind, packet.readUInt32BE(24), packet.readUInt32BE(28)]);
}

describe('what a replay sends', () => {
  it('are the segments from the lowest sequence number on, whatever came first', () => {
    expect(taken(segment(2000), segment(1000), segment(4000), segment(3000))).toEqual([
      ['segment', 1000, 500],
      ['segment', 3000, 500],
      ['segment', 4000, 500],
    ]);
  });

  it('are of many segments the first ones and the newest, each in its newest copy', () => {
    const many = Array.from({ length: 40 }, (_, i) => segment(1000 + i));
    const again = [segment(1005, { acknowledgement: 600 }), segment(1039, { acknowledgement: 600 })];
    expect(taken(...many, ...again)).toEqual([
      ...[0, 1, 2, 3, 4].map((i) => ['segment', 1000 + i, 500]),
      ['segment', 1005, 600],
      ...[6, 7].map((i) => ['segment', 1000 + i, 500]),
      ['segment', 1039, 600],
    ]);
  });

  it('is the lowest segment alone where that was sent again: its sender sends the rest by itself', () => {
    const again = segment(1000, { acknowledgement: 600 });
    expect(taken(segment(1000), segment(1004), again)).toEqual([['segment', 1000, 600]]);
  });

  it('knows that sequence numbers wrap around', () => {
    expect(taken(segment(10), segment(0xffff_fff0))).toEqual([['segment', 0xffff_fff0, 500]]);
  });

  it('adds an acknowledgement only where it says more than the segment', () => {
    expect(taken(acknowledgement(500), segment(1000))).toEqual([['segment', 1000, 500]]);
    expect(taken(acknowledgement(600), segment(1000))).toEqual([
      ['segment', 1000, 500],
      ['acknowledgement', 1000, 600],
    ]);
    // As new, but younger: it may open the window.
    expect(taken(segment(1000), acknowledgement(500))).toHaveLength(2);
    expect(taken(acknowledgement(600), acknowledgement(550))).toEqual([['acknowledgement', 1000, 600]]);
  });

  it('is the reset alone, where there was one', () => {
    expect(taken(segment(1000), segment(1004, { flags: 'R' }, salKept.RESET))).toEqual([
      ['reset', 1004, 500],
    ]);
  });

  it('has a bounded number of datagrams, the youngest, and counts the others', () => {
    const store = new KeptStore();
    for (let i = 0; i < datagramsPerFlow + 3; i++)
      store.add(record(0, ipv4(ends, udp({ from: 40001, to: 6379, payload: Buffer.from([i]) }))));
    const packets = store.take(podId, 'ns/pod');
    expect(packets).toHaveLength(datagramsPerFlow);
    expect(packets[0]?.packet[28]).toBe(3);
    expect(store.overflow.packets).toBe(3n);
  });

  it('of a new connection is its newest opening segment', () => {
    const store = new KeptStore();
    const knock = (seq: number): Buffer => {
      const packet = ipv4(ends, tcp({ from: 40001, to: 6379, flags: 'S', sequence: seq }));
      return record(salKept.SEGMENT, packet, { seq, flowId: 0n });
    };
    store.add(knock(1000));
    store.add(knock(9000));
    expect(store.take(podId, 'ns/pod').map(({ packet }) => packet.readUInt32BE(24))).toEqual([9000]);
  });

  it('of new connections is bounded: the oldest goes', () => {
    const store = new KeptStore();
    const packet = ipv4(ends, tcp({ from: 40001, to: 6379, flags: 'S' }));
    for (let localPort = 1; localPort <= newcomersPerPod + 2; localPort++)
      store.add(record(salKept.SEGMENT, packet, { flowId: 0n, localPort }));
    expect(store.overflow).toEqual({ packets: 2n, bytes: 2n * BigInt(packet.length) });
    const ports = store.take(podId, 'ns/pod').map(({ tuple }) => tuple.local.port);
    expect([ports.length, ports[0], ports.at(-1)]).toEqual([newcomersPerPod, 3, newcomersPerPod + 2]);
  });

  it('is handed out once, and only to its pod', () => {
    const store = new KeptStore();
    store.add(segment(1000));
    expect(store.take(podId + 1, 'ns/other')).toEqual([]);
    expect(store.take(podId, 'ns/pod')).toHaveLength(1);
    expect(store.take(podId, 'ns/pod')).toEqual([]);
  });

  it('is whole: the checksum that was left to the device, the length and the flags of a segment that was cut', () => {
    const packet = ipv4(
      { ...ends, totalLength: 65000 },
      tcp({ from: 40001, to: 6379, flags: 'PAF', payload: Buffer.from('abcd'), checksum: 0x1234 }),
    );
    const store = new KeptStore();
    store.add(record(salKept.SEGMENT, packet, { payload: 64960 }));
    const [kept] = store.take(podId, 'ns/pod');
    expect(wrongInIpPacket(kept?.packet as Buffer)).toEqual([]);
    expect(kept?.packet.readUInt16BE(2)).toBe(44);
    expect((kept?.packet[33] as number) & 0x1f).toBe(0x10);
  });

  it('names the flow', () => {
    const store = new KeptStore();
    store.add(segment(1000));
    expect(store.take(podId, 'ns/pod')).toMatchObject([
      {
        pod: 'ns/pod',
        flowId: 1n,
        protocol: 'tcp',
        direction: 'egress',
        tuple: { local: { address: ends.from, port: 40001 }, remote: { address: ends.to, port: 6379 } },
      },
    ]);
  });
});

describe('a packet with other ends', () => {
  const fields = { from: 40001, to: 6379, payload: Buffer.from('odd') };

  it.each([
    ['TCP over IPv4', ipv4(ends, tcp(fields)), '10.1.1.9', '10.3.3.3'],
    ['UDP over IPv4', ipv4(ends, udp(fields)), '10.1.1.9', '10.3.3.3'],
    ['TCP over IPv6', ipv6({ from: 'fd00::1', to: 'fd00::2' }, tcp(fields)), 'fd00::9', 'fd00:3::3'],
  ])('is whole: %s', (_, packet, local, remote) => {
    const before = Buffer.from(packet);
    const made = withEnds(packet, {
      local: { address: local, port: 5 },
      remote: { address: remote, port: 7 },
    });
    expect(packet).toEqual(before);
    expect(wrongInIpPacket(made)).toEqual([]);
    const [at, length] = local.includes(':') ? [8, 16] : [12, 4];
    expect(made.subarray(at, at + length)).toEqual(addressBytes(local).subarray(16 - length));
    expect(made.subarray(at + length, at + 2 * length)).toEqual(addressBytes(remote).subarray(16 - length));
    expect(made.readUInt32BE(at + 2 * length)).toBe((5 << 16) | 7);
    expect(made.subarray(-3).toString()).toBe('odd');
  });
});
