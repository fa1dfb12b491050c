/**
 * What holds keep, and what of it a replay sends (DESIGN.md, Hold and replay). Pure: records of the ring buffer in,
 * whole packets out.
 */
import { salDirection, salKept, salKeptPacket, type SalKeptPacket } from './abi.generated.js';
import { addressBytes } from './address.js';
import { fold16, sum16 } from './checksum.js';
import { decodeProtocol, decodeTuple, protocolNumber } from './rules.js';
import type { FlowTuple, KeptPacket } from './types.js';

/** Datagrams kept for one flow; the oldest goes first. A client that waits for an answer rarely has more under way. */
export const datagramsPerFlow = 64;
/**
 * Segments of one flow: the first ones of what is unacknowledged, and the newest. A client that has sent its request in
 * pieces has it whole then; with the first piece alone it waited for its timer, 200 ms. Of a stream the newest one makes
 * the receiver say at once what lies between and is lost, so that the sender fills that in a round trip.
 */
export const segmentsPerFlow = 9;
/** Connections to be opened that are kept for one pod: its listen backlogs hold no more, as a rule. */
export const newcomersPerPod = 4096;

const tcpFlag = { fin: 0x01, push: 0x08 };

interface KeptFlow {
  /** by their sequence numbers */
  segments: KeptRecord[];
  acknowledgement?: KeptRecord;
  reset?: KeptRecord;
  datagrams: KeptRecord[];
}

interface KeptRecord {
  header: SalKeptPacket;
  /** made ready as it comes in, while everybody waits, and not at the switch */
  kept: Omit<KeptPacket, 'pod'>;
}

/** Sequence numbers wrap around: true where a comes before b. */
function before(a: number, b: number): boolean {
  return ((a - b) | 0) < 0;
}

interface KeptPod {
  flows: Map<string, KeptFlow>;
  /** those that no rule knows, the oldest first */
  newcomers: Set<string>;
}

export class KeptStore {
  private readonly pods = new Map<number, KeptPod>();
  /** packets pushed out by younger ones since the start */
  overflow = { packets: 0n, bytes: 0n };

  /** Take in one record of the ring buffer. */
  add(record: Buffer): void {
    const header = salKeptPacket.read(record);
    const data = Buffer.from(record.subarray(salKeptPacket.size, salKeptPacket.size + header.length));
    const name = record.toString('latin1', salKeptPacket.offset.key, salKeptPacket.offset.seq);
    this.put(this.flow(header, name), { header, kept: keptPacket(header, data) });
  }

  private flow(header: SalKeptPacket, name: string): KeptFlow {
    const id = header.key.scope.pod;
    let pod = this.pods.get(id);
    if (pod === undefined) this.pods.set(id, (pod = { flows: new Map(), newcomers: new Set() }));
    let flow = pod.flows.get(name);
    if (flow === undefined) {
      pod.flows.set(name, (flow = { segments: [], datagrams: [] }));
      if (header.flowId === 0n) this.addNewcomer(pod, name);
    }
    return flow;
  }

  /** Whoever floods a quiesced pod must not fill the agent's memory. */
  private addNewcomer({ flows, newcomers }: KeptPod, name: string): void {
    newcomers.add(name);
    if (newcomers.size <= newcomersPerPod) return;
    const [oldest] = newcomers;
    flows.get(oldest as string)?.segments.forEach((segment) => this.countOverflow(segment));
    newcomers.delete(oldest as string);
    flows.delete(oldest as string);
  }

  /** The programs filter only roughly (two CPUs may race): the last word is here. */
  private put(flow: KeptFlow, record: KeptRecord): void {
    const { kind, ack } = record.header;
    if (kind === salKept.RESET) flow.reset = record;
    else if (kind === salKept.SEGMENT) flow.segments = withSegment(flow.segments, record);
    else if (kind === salKept.ACK) {
      if (flow.acknowledgement === undefined || !before(ack, flow.acknowledgement.header.ack))
        flow.acknowledgement = record;
    } else {
      flow.datagrams.push(record);
      if (flow.datagrams.length > datagramsPerFlow) this.countOverflow(flow.datagrams.shift() as KeptRecord);
    }
  }

  private countOverflow({ kept }: KeptRecord): void {
    this.overflow.packets += 1n;
    this.overflow.bytes += BigInt(kept.packet.length);
  }

  /** Everything kept for one pod, in the order in which it is to be sent; it is forgotten here. */
  take(podId: number, podName: string): KeptPacket[] {
    const flows = this.pods.get(podId)?.flows ?? new Map<string, KeptFlow>();
    this.pods.delete(podId);
    return [...flows.values()].flatMap((flow) =>
      worthSending(flow).map(({ kept }) => ({ pod: podName, ...kept })),
    );
  }

  /** Forget what was kept for a pod. */
  clear(podId: number): void {
    this.pods.delete(podId);
  }
}

/** The segments that are worth keeping of these and of one that came after them. */
function withSegment(segments: readonly KeptRecord[], record: KeptRecord): KeptRecord[] {
  const { seq, flowId } = record.header;
  const [first] = segments;
  // Who knocks again may have another number: the newest knock is the one that he waits for. And who sends again what he
  // has sent first has seen his timer run out: he sends all the rest again by himself, and these copies are old to him.
  if (first === undefined || flowId === 0n || !before(first.header.seq, seq)) return [record];
  const all = segments.filter(({ header }) => header.seq !== seq);
  const behind = all.findIndex(({ header }) => before(seq, header.seq));
  all.splice(behind < 0 ? all.length : behind, 0, record);
  if (all.length > segmentsPerFlow) all.splice(-2, 1);
  return all;
}

/** A reset makes the rest pointless; an acknowledgement is worth sending where the segment doesn't say as much. */
function worthSending(flow: KeptFlow): KeptRecord[] {
  const { reset, segments, acknowledgement, datagrams } = flow;
  if (reset !== undefined) return [reset];
  const records = [...datagrams, ...segments];
  if (acknowledgement !== undefined && saysMore(acknowledgement, segments.at(-1)))
    records.push(acknowledgement);
  return records;
}

/** Younger counts too: it may open the window. */
function saysMore({ header }: KeptRecord, segment: KeptRecord | undefined): boolean {
  if (segment === undefined || before(segment.header.ack, header.ack)) return true;
  return segment.header.ack === header.ack && segment.header.timeNs < header.timeNs;
}

function kindOf(header: SalKeptPacket): KeptPacket['kind'] {
  if (header.kind === salKept.RESET) return 'reset';
  if (header.kind === salKept.SEGMENT) return 'segment';
  return header.kind === salKept.ACK ? 'acknowledgement' : 'datagram';
}

function keptPacket(header: SalKeptPacket, data: Buffer): Omit<KeptPacket, 'pod'> {
  return {
    flowId: header.flowId,
    protocol: decodeProtocol(header.key.scope.protocol),
    direction: header.key.scope.direction === salDirection.EGRESS ? 'egress' : 'ingress',
    tuple: decodeTuple(header.key.tuple),
    kind: kindOf(header),
    packet: completePacket(data, header),
  };
}

/**
 * Make a packet that can be sent from one that was caught on its way: it may be one segment cut out of many, and its
 * checksum may have been left to the device.
 */
export function completePacket(
  data: Buffer,
  header: Pick<SalKeptPacket, 'transport' | 'payload'> & { key: { scope: { protocol: number } } },
): Buffer {
  const packet = Buffer.from(data);
  const version = (packet[0] as number) >> 4;
  if (version === 4) packet.writeUInt16BE(packet.length, 2);
  else packet.writeUInt16BE(packet.length - 40, 4);
  const transport = packet.subarray(header.transport);
  const protocol = header.key.scope.protocol;
  if (protocol === protocolNumber.tcp) {
    const offset = ((transport[12] as number) >> 4) * 4;
    // What was cut off holds the end of the push and the FIN.
    if (transport.length - offset < header.payload)
      transport[13] = (transport[13] as number) & ~(tcpFlag.fin | tcpFlag.push);
    writeTransportChecksum(packet, transport, protocol, 16);
  } else {
    transport.writeUInt16BE(transport.length, 4);
    // An IPv4 datagram may go without a checksum.
    if (version === 6 || transport.readUInt16BE(6) !== 0)
      writeTransportChecksum(packet, transport, protocol, 6);
  }
  if (version === 4) {
    packet.writeUInt16BE(0, 10);
    packet.writeUInt16BE(~sum16(packet.subarray(0, ((packet[0] ?? 0) & 15) * 4)) & 0xffff, 10);
  }
  return packet;
}

/** The same whole packet with other ends, from its sender's side; checksums made anew. IPv6: without extension headers. */
export function withEnds(packet: Buffer, { local, remote }: FlowTuple): Buffer {
  const whole = Buffer.from(packet);
  const isIPv4 = (whole[0] as number) >> 4 === 4;
  const [source, destination] = [addressBytes(local.address), addressBytes(remote.address)];
  if (isIPv4) {
    source.copy(whole, 12, 12);
    destination.copy(whole, 16, 12);
  } else {
    source.copy(whole, 8);
    destination.copy(whole, 24);
  }
  const protocol = whole[isIPv4 ? 9 : 6] as number;
  const transport = isIPv4 ? ((whole[0] as number) & 15) * 4 : 40;
  whole.writeUInt16BE(local.port, transport);
  whole.writeUInt16BE(remote.port, transport + 2);
  return completePacket(whole, { transport, payload: 0, key: { scope: { protocol } } });
}

function writeTransportChecksum(packet: Buffer, transport: Buffer, protocol: number, at: number): void {
  const addresses = (packet[0] as number) >> 4 === 4 ? packet.subarray(12, 20) : packet.subarray(8, 40);
  transport.writeUInt16BE(0, at);
  const sum = fold16(sum16(transport, sum16(addresses)) + protocol + transport.length);
  const checksum = ~sum & 0xffff;
  // UDP writes a sum of 0 as 0xffff; to TCP both mean the same.
  transport.writeUInt16BE(checksum === 0 ? 0xffff : checksum, at);
}
