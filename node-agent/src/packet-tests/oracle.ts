/**
 * The oracle: what must become of a packet, from DESIGN.md and from what the programs' comments promise, not from
 * their code. It writes the translated addresses and ports into a copy and chooses each checksum so that the sum
 * over all that it covers stays what it was: right where it was right, wrong by as much where it was wrong.
 */
import { salReason } from '../datapath/abi.generated.js';
import { addressBytes } from '../datapath/address.js';
import type { FlowTuple, Protocol } from '../datapath/types.js';
import { isError, pseudoResidue, residue } from './oracle-checksums.js';
import { parseFrame, parseIpv4, parseIpv6, type Headers } from './oracle-headers.js';

export type Direction = 'egress' | 'ingress';
export type State = 'pending' | 'held' | 'active' | 'refused';

/** One direction of one flow: what it matches and what it writes. */
export interface OracleRule {
  pod: number;
  direction: Direction;
  protocol: Protocol;
  match: FlowTuple;
  to: FlowTuple;
  state: State;
}

/** What may become of the packet: normally exactly one thing. Several only where a packet is malformed in a way that no stack accepts. */
export interface Expectation {
  untouched: boolean;
  packet?: Buffer;
  /** offsets of checksums where 0 and 0xffff mean the same */
  zeroes: number[];
  drops: number[];
}

interface Compiled {
  rule: OracleRule;
  toSource: Buffer;
  toDestination: Buffer;
  toSourcePort: number;
  toDestinationPort: number;
}

const untouched: Expectation = { untouched: true, zeroes: [], drops: [] };
const dropped = (...reasons: number[]): Expectation => ({ untouched: false, zeroes: [], drops: reasons });

export class Oracle {
  private readonly rules = new Map<string, Compiled>();
  private readonly pairs = new Set<string>();
  private readonly heldPods: ReadonlySet<number>;
  /** scopes (pod and direction) that let nothing new pass */
  private readonly quiet = new Set<string>();
  /** what was decided for the first fragment of a datagram */
  private readonly datagrams = new Map<string, Compiled | 'pass' | 'held' | 'refused'>();

  constructor(
    rules: readonly OracleRule[],
    heldPods: readonly number[] = [],
    quietPods: readonly number[] = [],
  ) {
    for (const rule of rules) this.add(rule);
    this.heldPods = new Set(heldPods);
    for (const pod of quietPods) this.quiet.add(`${pod}egress`).add(`${pod}ingress`);
  }

  forgetFragments(): void {
    this.datagrams.clear();
  }

  private add(rule: OracleRule): void {
    const out = rule.direction === 'egress';
    const [source, destination] = out
      ? [rule.match.local, rule.match.remote]
      : [rule.match.remote, rule.match.local];
    const [toSource, toDestination] = out ? [rule.to.local, rule.to.remote] : [rule.to.remote, rule.to.local];
    const scope = `${rule.pod}${rule.direction}`;
    const addresses =
      scope + bytesOf(source.address).toString('latin1') + bytesOf(destination.address).toString('latin1');
    this.pairs.add(addresses);
    this.rules.set(`${addresses}${rule.protocol === 'tcp' ? 6 : 17}/${source.port}/${destination.port}`, {
      rule,
      toSource: bytesOf(toSource.address),
      toDestination: bytesOf(toDestination.address),
      toSourcePort: toSource.port,
      toDestinationPort: toDestination.port,
    });
  }

  /** The expectation for this frame; remembers what was decided for first fragments. */
  expect(pod: number, direction: Direction, frame: Buffer): Expectation {
    const headers = parseFrame(frame);
    const scope = `${pod}${direction}`;
    const held = this.heldPods.has(pod);
    if (headers === undefined) return held ? unreadable(frame) : untouched;
    if (carriesMapped(frame, headers)) return held ? dropped(salReason.HELD_POD) : untouched;
    return this.expectIp(scope, frame, headers, held);
  }

  private expectIp(scope: string, frame: Buffer, headers: Headers, held: boolean): Expectation {
    const pair = scope + pairText(frame, headers);
    if (headers.broken) return this.unreadablePorts(pair, headers.obstacles, held);
    if (headers.fragment === 'later')
      return held ? dropped(salReason.HELD_POD) : this.laterFragment(pair, frame, headers);
    if (headers.protocol === (headers.version === 4 ? 1 : 58)) return this.icmp(scope, frame, headers, held);
    if (headers.protocol !== 6 && headers.protocol !== 17)
      return held ? dropped(salReason.HELD_POD) : untouched;
    if (headers.l4 + 4 > frame.length) return this.unreadablePorts(pair, [salReason.TRUNCATED], held);
    if (held || !this.quiet.has(scope)) return this.flow(pair, frame, headers, held);
    return this.quietFlow(pair, frame, headers);
  }

  private unreadablePorts(pair: string, reasons: number[], held: boolean): Expectation {
    if (held) return dropped(salReason.HELD_POD);
    return this.pairs.has(pair) ? dropped(...reasons) : untouched;
  }

  private find(pair: string, frame: Buffer, headers: Headers): Compiled | undefined {
    const source = frame.readUInt16BE(headers.l4);
    const destination = frame.readUInt16BE(headers.l4 + 2);
    return this.rules.get(`${pair}${headers.protocol}/${source}/${destination}`);
  }

  private flow(pair: string, frame: Buffer, headers: Headers, held: boolean): Expectation {
    const found = this.find(pair, frame, headers);
    if (headers.fragment === 'first') this.remember(pair, headers, found);
    // In a held pod TCP is to know that nothing was sent, so that nothing has to be kept.
    const isTold = held && headers.protocol === 6;
    if (found?.rule.state === 'held' && !isTold) return holdFlow(found, frame, headers);
    if (held) return dropped(salReason.HELD_POD, ...(isSyn(frame, headers) ? [salReason.HELD_TOO_LONG] : []));
    if (found?.rule.state === 'refused') return dropped(salReason.GIVEN_UP);
    return found === undefined || found.rule.state === 'pending'
      ? untouched
      : this.translated(frame, headers, found);
  }

  private translated(frame: Buffer, headers: Headers, found: Compiled): Expectation {
    if (headers.obstacles.length > 0) return dropped(...headers.obstacles);
    return translatedOrCutOff(frame, headers, found);
  }

  /** Of a pod that is quiesced: what opens a connection that no rule knows is held. */
  private quietFlow(pair: string, frame: Buffer, headers: Headers): Expectation {
    const isNew = this.find(pair, frame, headers) === undefined && isSyn(frame, headers);
    const expectation = this.flow(pair, frame, headers, false);
    const length = tcpHeaderLength(frame, headers);
    return isNew && length !== undefined && headers.l4 + length <= headers.end
      ? dropped(salReason.HELD_NEW)
      : expectation;
  }

  private remember(pair: string, headers: Headers, found: Compiled | undefined): void {
    if (found === undefined && !this.pairs.has(pair)) return;
    const decision =
      found === undefined || found.rule.state === 'pending'
        ? 'pass'
        : found.rule.state === 'active'
          ? found
          : found.rule.state;
    this.datagrams.set(`${pair}${headers.fragmentName}`, decision);
  }

  private laterFragment(pair: string, frame: Buffer, headers: Headers): Expectation {
    const decision = this.datagrams.get(`${pair}${headers.fragmentName}`);
    if (decision === undefined)
      return mayHavePorts(headers.protocol) && this.pairs.has(pair)
        ? dropped(salReason.FRAGMENT_UNKNOWN)
        : untouched;
    if (decision === 'pass') return untouched;
    if (decision === 'held') return dropped(salReason.HELD_FRAGMENT);
    if (decision === 'refused') return dropped(salReason.GIVEN_UP);
    if (headers.obstacles.length > 0) return dropped(...headers.obstacles);
    const packet = Buffer.from(frame);
    const zeroes = writeAddresses(frame, packet, headers, decision.toSource, decision.toDestination);
    return { untouched: false, packet, zeroes, drops: [] };
  }

  private icmp(scope: string, frame: Buffer, headers: Headers, held: boolean): Expectation {
    const type = frame[headers.l4] ?? 0;
    const discovery = headers.version === 6 && type >= 133 && type <= 137;
    if (held && !discovery) return dropped(salReason.HELD_POD);
    if (!isError(frame, headers)) return untouched;
    const quoted = quotedHeaders(frame, headers);
    if (quoted === undefined) return untouched;
    // The quoted packet travelled the other way: its source is where the error goes.
    const pair = scope + reversedPairText(frame, quoted);
    const unnamed = unnamedQuote(headers, quoted);
    if (unnamed !== undefined) return this.pairs.has(pair) && unnamed > 0 ? dropped(unnamed) : untouched;
    return this.error(pair, frame, headers, quoted);
  }

  private error(pair: string, frame: Buffer, headers: Headers, quoted: Headers): Expectation {
    const source = frame.readUInt16BE(quoted.l4);
    const destination = frame.readUInt16BE(quoted.l4 + 2);
    const found = this.rules.get(`${pair}${quoted.protocol}/${destination}/${source}`);
    if (found === undefined || found.rule.state === 'pending') return untouched;
    const toldTo = frame.subarray(headers.destinationAt, headers.destinationAt + headers.addressLength);
    if (found.rule.direction === 'ingress' && !toldTo.equals(bytesOf(found.rule.match.local.address)))
      return untouched;
    if (found.rule.state === 'held') return dropped(salReason.HELD);
    if (found.rule.state === 'refused') return dropped(salReason.GIVEN_UP);
    if (headers.fragment !== 'whole') return dropped(salReason.QUOTE_FRAGMENT);
    if (headers.obstacles.length + quoted.obstacles.length > 0)
      return dropped(...(headers.obstacles.length > 0 ? headers.obstacles : quoted.obstacles));
    return translatedError(frame, headers, quoted, found);
  }
}

/** Of the packet that an error is about; undefined where it can't be ours. */
function quotedHeaders(frame: Buffer, outer: Headers): Headers | undefined {
  const at = outer.l4 + 8;
  const quoted = outer.version === 4 ? parseIpv4(frame, at) : parseIpv6(frame, at);
  if (quoted === undefined || carriesMapped(frame, quoted)) return undefined;
  // No packet of a translated flow leaves with an authentication header: nobody can quote one. (Over IPv6, where
  // extension headers are followed anyway, such a quote is dropped.)
  const isSigned = quoted.version === 4 && frame[at + 9] === 51 && quoted.fragment !== 'later';
  return isSigned ? undefined : quoted;
}

/** Why a quote doesn't name a flow: a reason where it may be one of ours, 0 where it can't; undefined where it does. */
function unnamedQuote(outer: Headers, quoted: Headers): number | undefined {
  if (quoted.broken)
    return quoted.obstacles[0] === salReason.TRUNCATED
      ? salReason.QUOTE_TRUNCATED
      : (quoted.obstacles[0] ?? 0);
  if (quoted.fragment === 'later') return mayHavePorts(quoted.protocol) ? salReason.QUOTE_FRAGMENT : 0;
  if (quoted.protocol !== 6 && quoted.protocol !== 17) return 0;
  return quoted.l4 + 4 > outer.end ? salReason.QUOTE_TRUNCATED : undefined;
}

const addressCache = new Map<string, Buffer>();

/** As it stands in a packet: 4 or 16 bytes. */
function bytesOf(text: string): Buffer {
  let bytes = addressCache.get(text);
  if (bytes === undefined) {
    const whole = addressBytes(text);
    bytes = text.includes(':') ? whole : whole.subarray(12);
    addressCache.set(text, bytes);
  }
  return bytes;
}

function pairText(frame: Buffer, headers: Headers): string {
  return frame.toString('latin1', headers.sourceAt, headers.destinationAt + headers.addressLength);
}

function reversedPairText(frame: Buffer, headers: Headers): string {
  const { sourceAt, destinationAt, addressLength } = headers;
  return (
    frame.toString('latin1', destinationAt, destinationAt + addressLength) +
    frame.toString('latin1', sourceAt, destinationAt)
  );
}

/** In a real IPv6 packet an IPv4-mapped address is nobody's. */
function carriesMapped(frame: Buffer, headers: Headers): boolean {
  const mapped = (at: number): boolean =>
    frame.toString('latin1', at, at + 12) === '\0\0\0\0\0\0\0\0\0\0\xff\xff';
  return headers.version === 6 && (mapped(headers.sourceAt) || mapped(headers.destinationAt));
}

/** Could a fragment with this in its protocol field belong to a TCP or UDP datagram? Extension headers may come first. */
function mayHavePorts(protocol: number): boolean {
  return [6, 17, 0, 43, 44, 51, 60, 135].includes(protocol);
}

/** A held pod's frame that is no readable IP: ARP passes; of a broken IP packet we don't care. */
function unreadable(frame: Buffer): Expectation {
  const type = frame.readUInt16BE(12);
  return { ...untouched, drops: type === 0x0806 ? [] : [salReason.HELD_POD] };
}

function isSyn(frame: Buffer, headers: Headers): boolean {
  return headers.protocol === 6 && ((frame[headers.l4 + 13] ?? 0) & 0x12) === 2;
}

/** What a held flow's packet is counted under. */
function holdFlow(found: Compiled, frame: Buffer, headers: Headers): Expectation {
  if (found.rule.direction === 'ingress') return dropped(salReason.HELD);
  if (headers.fragment !== 'whole') return dropped(salReason.HELD_FRAGMENT);
  const need = headers.protocol === 6 ? tcpHeaderLength(frame, headers) : 8;
  return need === undefined || headers.l4 + need > headers.end
    ? dropped(salReason.TRUNCATED)
    : dropped(salReason.HELD);
}

function tcpHeaderLength(frame: Buffer, headers: Headers): number | undefined {
  const length = ((frame[headers.l4 + 12] ?? 0) >> 4) * 4;
  return length >= 20 ? length : undefined;
}

/** Write both addresses; the IPv4 header's checksum goes along. Returns the offsets of checksums written. */
function writeAddresses(
  before: Buffer,
  after: Buffer,
  headers: Headers,
  source: Buffer,
  destination: Buffer,
): number[] {
  source.copy(after, headers.sourceAt);
  destination.copy(after, headers.destinationAt);
  if (headers.version === 6) return [];
  const end = Math.min(headers.l3 + 20, before.length);
  return balance(after, headers.l3 + 10, residue(before, headers.l3, end), (bytes) =>
    residue(bytes, headers.l3, end),
  );
}

/** Choose the field so that the sum is what it was. */
function balance(after: Buffer, at: number, wanted: number, sum: (bytes: Buffer) => number): number[] {
  after.writeUInt16BE(0, at);
  after.writeUInt16BE((wanted - sum(after) + 0xffff) % 0xffff, at);
  return [at];
}

function translatedOrCutOff(frame: Buffer, headers: Headers, found: Compiled): Expectation {
  const checksumAt = headers.l4 + (headers.protocol === 6 ? 16 : 6);
  if (checksumAt + 2 > frame.length) return dropped(salReason.REWRITE_FAILED);
  return translated(frame, headers, found, checksumAt);
}

function translated(frame: Buffer, headers: Headers, found: Compiled, checksumAt: number): Expectation {
  const packet = Buffer.from(frame);
  const zeroes = writeAddresses(frame, packet, headers, found.toSource, found.toDestination);
  packet.writeUInt16BE(found.toSourcePort, headers.l4);
  packet.writeUInt16BE(found.toDestinationPort, headers.l4 + 2);
  const isUdp = headers.protocol === 17;
  if (!isUdp || frame.readUInt16BE(checksumAt) !== 0) {
    // A length that lies may leave the field out of what it covers: then sum to the end of the frame.
    const end = headers.end >= checksumAt + 2 ? headers.end : frame.length;
    const sum = (bytes: Buffer): number =>
      (residue(bytes, headers.l4, end) + pseudoResidue(bytes, headers)) % 0xffff;
    zeroes.push(...balance(packet, checksumAt, sum(frame), sum));
    // 0 would say that there is no checksum.
    if (isUdp && packet.readUInt16BE(checksumAt) === 0) packet.writeUInt16BE(0xffff, checksumAt);
  }
  return {
    untouched: false,
    packet,
    zeroes: isUdp ? zeroes.filter((at) => at !== checksumAt) : zeroes,
    drops: [],
  };
}

/** An error about a translated flow: outer addresses where they are the flow's, the quote, every checksum. */
function translatedError(frame: Buffer, headers: Headers, quoted: Headers, found: Compiled): Expectation {
  const packet = Buffer.from(frame);
  const { rule } = found;
  const [matchSource, matchDestination] =
    rule.direction === 'egress'
      ? [rule.match.local, rule.match.remote]
      : [rule.match.remote, rule.match.local];
  const at = (offset: number): Buffer => frame.subarray(offset, offset + headers.addressLength);
  const source = at(headers.sourceAt).equals(bytesOf(matchSource.address))
    ? found.toSource
    : at(headers.sourceAt);
  const isOwn = at(headers.destinationAt).equals(bytesOf(matchDestination.address));
  const destination = isOwn ? found.toDestination : at(headers.destinationAt);
  const zeroes = [
    ...writeAddresses(frame, packet, headers, Buffer.from(source), Buffer.from(destination)),
    ...writeQuote(frame, packet, quoted, found, headers.end),
  ];
  const sum = (bytes: Buffer): number =>
    (residue(bytes, headers.l4, headers.end) + pseudoResidue(bytes, headers)) % 0xffff;
  zeroes.push(...balance(packet, headers.l4 + 2, sum(frame), sum));
  return { untouched: false, packet, zeroes, drops: [] };
}

/** The quoted packet travelled the other way: what it calls its source is what the rule calls its destination. */
function writeQuote(frame: Buffer, packet: Buffer, quoted: Headers, found: Compiled, end: number): number[] {
  const zeroes = writeAddresses(frame, packet, quoted, found.toDestination, found.toSource);
  packet.writeUInt16BE(found.toDestinationPort, quoted.l4);
  packet.writeUInt16BE(found.toSourcePort, quoted.l4 + 2);
  const isUdp = quoted.protocol === 17;
  const checksumAt = quoted.l4 + (isUdp ? 6 : 16);
  if (checksumAt + 2 > end || (isUdp && frame.readUInt16BE(checksumAt) === 0)) return zeroes;
  // The rest of what it covers is cut off, and doesn't change.
  const sum = (bytes: Buffer): number =>
    (residue(bytes, quoted.sourceAt, quoted.destinationAt + quoted.addressLength) +
      residue(bytes, quoted.l4, quoted.l4 + 4) +
      residue(bytes, checksumAt, checksumAt + 2)) %
    0xffff;
  balance(packet, checksumAt, sum(frame), sum);
  if (isUdp && packet.readUInt16BE(checksumAt) === 0) packet.writeUInt16BE(0xffff, checksumAt);
  return isUdp ? zeroes : [...zeroes, checksumAt];
}

/** Does what came out meet the expectation? `drop`: the reason's number; undefined where the packet passed. */
export function meets(
  expectation: Expectation,
  input: Buffer,
  output: Buffer,
  drop: number | undefined,
): boolean {
  if (drop !== undefined) return expectation.drops.includes(drop);
  if (expectation.untouched && output.equals(input)) return true;
  const { packet } = expectation;
  if (packet === undefined || packet.length !== output.length) return false;
  return (
    packet.equals(output) ||
    normalised(packet, expectation.zeroes).equals(normalised(output, expectation.zeroes))
  );
}

function normalised(packet: Buffer, zeroes: readonly number[]): Buffer {
  const copy = Buffer.from(packet);
  for (const at of zeroes) if (copy.readUInt16BE(at) === 0xffff) copy.writeUInt16BE(0, at);
  return copy;
}
