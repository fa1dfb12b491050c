import { isAssigned } from './assignments.js';
import { canonicalAddress } from './ip-address.js';
import { etherTypes, type ProtocolName } from './packet.js';
import type { RecordedPacket, Recording } from './recorder.js';
import type { Assignment } from './state.js';

/*
 * What the network may see: packets with source addresses that it gave out itself, and nothing inside of them.
 * Pure checks; a violation is data, with the packet that shows it.
 */

export type ViolationKind =
  /** the source address did not belong to anybody behind that point at that moment */
  | 'unassigned-source'
  /** a packet within a packet, or a tag */
  | 'encapsulation'
  /** an address carried along in an option or an extension header */
  | 'carried-address'
  /** headers that could not be read: nobody knows what they hide */
  | 'unreadable'
  /** the recorder lost packets: nothing follows from what it did not see */
  | 'incomplete';

export interface Violation {
  kind: ViolationKind;
  reason: string;
  /** where it was seen */
  point: string;
  /** absent for `incomplete` */
  packet?: RecordedPacket;
}

const plainEtherTypes: readonly number[] = Object.values(etherTypes);
const tunnelProtocols: Readonly<Record<number, string>> = {
  4: 'IPIP',
  41: 'IPv6 in IP',
  47: 'GRE',
  50: 'ESP',
  51: 'AH',
  94: 'IPIP',
  97: 'Ethernet in IP',
  98: 'encapsulation header',
  115: 'L2TP',
  137: 'MPLS in IP',
};
const tunnelPorts: Readonly<Record<number, string>> = {
  1701: 'L2TP',
  3544: 'Teredo',
  4500: 'ESP in UDP',
  4754: 'GRE in UDP',
  4789: 'VXLAN',
  4790: 'VXLAN-GPE',
  5555: 'FOU',
  6080: 'GUE',
  6081: 'Geneve',
  6635: 'MPLS in UDP',
  8472: 'VXLAN',
  51820: 'WireGuard',
};
const carryingHeaders: Readonly<Record<number, string>> = {
  43: 'routing header',
  135: 'mobility header',
  139: 'host identity header',
  140: 'shim6 header',
};

/** Every check on every packet of a recording. An empty result means that nothing was wrong, and nothing missed. */
export function auditRecording(recording: Recording, assignments: readonly Assignment[]): Violation[] {
  const missed = recording.points
    .filter((point) => point.dropped > 0)
    .map((point): Violation => {
      return { kind: 'incomplete', reason: `${point.dropped} packets were not recorded`, point: point.name };
    });
  return [...missed, ...recording.packets.flatMap((packet) => auditPacket(packet, assignments))];
}

/** Every check on one packet. */
export function auditPacket(packet: RecordedPacket, assignments: readonly Assignment[]): Violation[] {
  const found: [ViolationKind, string | undefined][] = [
    ['unreadable', packet.problem],
    ['encapsulation', encapsulation(packet)],
    ['carried-address', carriedAddress(packet)],
    ['unassigned-source', unassignedSource(packet, assignments)],
  ];
  return found.flatMap(([kind, reason]) =>
    reason === undefined ? [] : [{ kind, reason, point: packet.point, packet }],
  );
}

export interface PacketSelection {
  /** only packets with this source address */
  from?: string;
  /** only packets that passed after this moment, CLOCK_REALTIME in milliseconds */
  after?: number;
  protocol?: ProtocolName;
}

/** The packets with this destination address. */
export function packetsTo(
  packets: readonly RecordedPacket[],
  address: string,
  selection: PacketSelection = {},
): RecordedPacket[] {
  const destination = canonicalAddress(address);
  const source = selection.from === undefined ? undefined : canonicalAddress(selection.from);
  return packets.filter(
    (packet) =>
      packet.destination === destination &&
      (source === undefined || packet.source === source) &&
      (selection.after === undefined || packet.time > selection.after) &&
      (selection.protocol === undefined || packet.protocol === selection.protocol),
  );
}

/** One line for people: `12:00:00.123456 s1-router/h1/in 10.1.1.2:4000 > 10.2.1.2:80 tcp 60 bytes`. */
export function packetLine(packet: RecordedPacket): string {
  const end = (address: string | undefined, port: number | undefined) =>
    `${address ?? '?'}${port === undefined ? '' : ` port ${port}`}`;
  const micros = Math.floor((packet.time % 1) * 1000 + 0.5);
  const time = `${new Date(packet.time).toISOString().slice(11, 23)}${String(micros % 1000).padStart(3, '0')}`;
  const what = packet.protocol === 'other' ? `type 0x${packet.etherType.toString(16)}` : packet.protocol;
  const path = `${end(packet.source, packet.sourcePort)} > ${end(packet.destination, packet.destinationPort)}`;
  return `${time} ${packet.point} ${path} ${what} ${packet.length} bytes`;
}

function encapsulation(packet: RecordedPacket): string | undefined {
  if (packet.vlans.length > 0) return `VLAN tag ${packet.vlans.join(', ')}`;
  if (!plainEtherTypes.includes(packet.etherType)) return `EtherType 0x${packet.etherType.toString(16)}`;
  const numbers = [...packet.extensionHeaders, packet.protocolNumber ?? -1];
  const tunnel = numbers.map((number) => tunnelProtocols[number]).find((name) => name !== undefined);
  if (tunnel !== undefined) return tunnel;
  return packet.protocol === 'udp' ? tunnelPorts[packet.destinationPort ?? 0] : undefined;
}

function carriedAddress(packet: RecordedPacket): string | undefined {
  const header = packet.extensionHeaders
    .map((type) => carryingHeaders[type])
    .find((name) => name !== undefined);
  if (header !== undefined) return header;
  return packet.options.length > 0 ? `IP options ${packet.options.join(', ')}` : undefined;
}

function unassignedSource(packet: RecordedPacket, assignments: readonly Assignment[]): string | undefined {
  const { source, destination = '' } = packet;
  if (source === undefined || packet.protocol === 'arp') return undefined;
  if (isLinkLocal(source) && (isLinkLocal(destination) || isMulticast(destination))) return undefined;
  if (source === '::' && packet.protocol === 'icmp6' && isMulticast(destination)) return undefined; // DAD, MLD
  if (isAssigned(assignments, source, packet.time, packet.behind)) return undefined;
  const where = packet.behind === undefined ? 'in the lab' : `behind ${packet.behind}`;
  return `nobody ${where} had ${source} at that moment`;
}

function isLinkLocal(address: string): boolean {
  return /^fe[89ab]/.test(address) && address.includes(':');
}

function isMulticast(address: string): boolean {
  return address.startsWith('ff') || /^2(2[4-9]|3\d)\./.test(address);
}
