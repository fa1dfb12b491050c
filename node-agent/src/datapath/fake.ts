/**
 * A data plane in memory, for unit tests of what stands on it: the same rules, no kernel. `send` plays a packet through
 * it; `keep` plays a packet that a hold kept. It passes the contract suite that the real one passes.
 */
import { ServalError } from '@serval/api';
import { salLimit } from './abi.generated.js';
import { addressBytes, canonicalAddress, isGroupOrNobody } from './address.js';
import { noMarks, type PodMarks } from './pod-records.js';
import { noDrops } from './reasons.js';
import { AddressReader, readyRule } from './rules.js';
import type {
  Datapath,
  DropCount,
  DropReason,
  FlowRule,
  FlowState,
  FlowStatus,
  FlowTuple,
  KeptPacket,
  PodSpec,
  PodStatus,
  Protocol,
  ReplayResult,
  RuleSelector,
  Session,
  WantedFlows,
} from './types.js';

interface FakeRule extends FlowRule {
  packets: bigint;
  bytes: bigint;
}

interface FakePod {
  spec: PodSpec;
  marks: PodMarks;
  /** by identity */
  outbound: Map<string, FakeRule>;
  /** by wire tuple */
  inbound: Map<string, FakeRule>;
  kept: KeptPacket[];
  /** by identity */
  sessions: Map<string, Session>;
}

export type Verdict = { kind: 'pass'; tuple: FlowTuple } | { kind: 'drop'; reason: DropReason };

export interface FakeOptions {
  /** slots: an inbound and an outbound half take one each */
  slots?: number;
  /** what `addPod` finds under a namespace's path; default: every namespace has an eth0 */
  devices?: (netns: string) => string[] | undefined;
}

export class FakeDatapath implements Datapath {
  private readonly known = new Map<string, FakePod>();
  private readonly reader = new AddressReader();
  private readonly counts = noDrops();
  private readonly slots: number;
  private readonly devices: (netns: string) => string[] | undefined;
  /** every packet that was replayed, in order */
  readonly replayed: KeptPacket[] = [];

  constructor(options: FakeOptions = {}) {
    this.slots = options.slots ?? 131072;
    this.devices = options.devices ?? (() => ['eth0']);
  }

  addPod(pod: PodSpec): Promise<void> {
    return attempt(() => {
      const devices = this.devices(pod.netns);
      if (devices === undefined)
        throw failure('ERR_NETNS_GONE', `pod ${pod.name}`, 'the network namespace is gone');
      if (pod.interfaces.length === 0 || pod.interfaces.length > salLimit.DEVICES_MAX)
        throw failure('ERR_BAD_INPUT', `pod ${pod.name}`, `it has ${pod.interfaces.length} interfaces`);
      const absent = pod.interfaces.find((name) => !devices.includes(name));
      if (absent !== undefined)
        throw failure('ERR_NOT_FOUND', `pod ${pod.name}`, `there is no device ${absent}`);
      const known = this.known.get(pod.name);
      if (known === undefined)
        this.known.set(pod.name, {
          spec: pod,
          marks: { ...noMarks },
          outbound: new Map(),
          inbound: new Map(),
          kept: [],
          sessions: new Map(),
        });
      else if (known.spec.netns !== pod.netns)
        throw failure(
          'ERR_CONFLICT',
          `pod ${pod.name}`,
          'the name is taken by a pod in another network namespace',
        );
      else known.spec = pod;
    });
  }

  removePod(name: string): Promise<void> {
    this.known.delete(name);
    return Promise.resolve();
  }

  pods(): Promise<PodStatus[]> {
    return Promise.resolve(
      [...this.known.values()].map((pod) => ({
        ...pod.spec,
        ...pod.marks,
        attached: Object.values(pod.marks).includes(true) || pod.outbound.size + pod.inbound.size > 0,
        flows: new Set(statuses(pod).map((flow) => flow.flowId)).size,
      })),
    );
  }

  apply(name: string, rules: readonly FlowRule[]): Promise<void> {
    return attempt(() => {
      const ready = rules.map((rule) => readyRule(rule, this.reader));
      const pod = this.pod(name);
      const outbound = new Map(pod.outbound);
      const inbound = new Map(pod.inbound);
      for (const { rule, plain } of ready) {
        const identity = tupleName(rule.protocol, rule.identity);
        const refused = rule.state === 'refused';
        if (refused || !plain) inbound.set(tupleName(rule.protocol, rule.wire), counted(rule));
        if (refused) continue;
        if (plain && rule.state === 'active') outbound.delete(identity);
        else if (rule.state !== 'pending' || !outbound.has(identity)) outbound.set(identity, counted(rule));
      }
      const others = [...this.known.values()].filter((other) => other !== pod);
      const used = others.reduce(
        (sum, other) => sum + other.outbound.size + other.inbound.size,
        outbound.size + inbound.size,
      );
      if (used >= this.slots)
        throw failure('ERR_TABLE_FULL', `pod ${name}`, 'the flow table has no room left');
      pod.outbound = outbound;
      pod.inbound = inbound;
    });
  }

  setState(name: string, rules: readonly FlowRule[], state: FlowState): Promise<void> {
    return attempt(() => {
      const pod = this.pod(name);
      const ready = rules.map((rule) => readyRule(rule, this.reader));
      const found = ready.map(({ rule }) => pod.outbound.get(tupleName(rule.protocol, rule.identity)));
      const missing = found.findIndex((rule) => rule === undefined);
      if (missing >= 0)
        throw failure(
          'ERR_NOT_FOUND',
          `flow ${rules[missing]?.flowId} of pod ${name}`,
          'it has no outbound rule',
        );
      for (const rule of found) if (rule) rule.state = state;
      if (state !== 'active') return;
      for (const { rule, plain } of ready)
        if (plain) pod.outbound.delete(tupleName(rule.protocol, rule.identity));
    });
  }

  remove(name: string, selector: RuleSelector): Promise<number> {
    return attempt(() => {
      const pod = this.pod(name);
      const removed = new Set<string>();
      for (const half of [pod.outbound, pod.inbound])
        for (const [key, rule] of half)
          if (matches(rule, selector)) {
            half.delete(key);
            removed.add(`${rule.flowId}/${rule.migration}`);
          }
      return removed.size;
    });
  }

  holdPod(name: string, held: boolean): Promise<void> {
    return attempt(() => {
      this.pod(name).marks.held = held;
    });
  }

  quiescePod(name: string, quiet: boolean): Promise<void> {
    return attempt(() => {
      this.pod(name).marks.quiet = quiet;
    });
  }

  trackUdp(name: string, tracked: boolean): Promise<void> {
    return attempt(() => {
      const pod = this.pod(name);
      if (pod.marks.tracked !== tracked) pod.sessions.clear();
      pod.marks.tracked = tracked;
    });
  }

  resolveGuests(name: string, guests: boolean): Promise<void> {
    return attempt(() => {
      this.pod(name).marks.guests = guests;
    });
  }

  sessions(name: string, maxIdleMs: number): Promise<Session[]> {
    return attempt(() => {
      const since = Date.now() - maxIdleMs;
      return [...this.pod(name).sessions.values()].filter(({ lastSeen }) => lastSeen > since);
    });
  }

  flows(name?: string, { migration, localPorts }: WantedFlows = {}): Promise<FlowStatus[]> {
    return attempt(() =>
      (name === undefined ? [...this.known.values()] : [this.pod(name)])
        .flatMap(statuses)
        .filter((flow) => migration === undefined || flow.migration === migration)
        .filter(
          ({ identity, wire }) =>
            localPorts === undefined || [identity, wire].some(({ local }) => localPorts.has(local.port)),
        ),
    );
  }

  takeKept(name: string): Promise<KeptPacket[]> {
    return attempt(() => this.pod(name).kept.splice(0));
  }

  replay(name: string, packets: readonly KeptPacket[]): Promise<ReplayResult> {
    return attempt(() => {
      this.pod(name);
      this.replayed.push(...packets);
      return { sent: packets.length, refused: [] };
    });
  }

  drops(): Promise<Record<DropReason, DropCount>> {
    return Promise.resolve(structuredClone(this.counts));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  /** A hold has kept this packet. */
  keep(packet: KeptPacket): void {
    this.pod(packet.pod).kept.push(packet);
  }

  /** What the programs would do to a packet of 100 bytes. `opens`: a segment that opens a connection. */
  send(
    name: string,
    direction: 'egress' | 'ingress',
    protocol: Protocol,
    tuple: FlowTuple,
    opens = false,
  ): Verdict {
    const pod = this.pod(name);
    const rule = (direction === 'egress' ? pod.outbound : pod.inbound).get(tupleName(protocol, tuple));
    const isKnock = opens && protocol === 'tcp';
    const reason = heldAs(pod, rule, direction, isKnock);
    if (reason !== undefined && reason !== 'HELD' && isKnock) pod.kept.push(opening(name, direction, tuple));
    if (reason !== undefined) return this.drop(reason);
    const verdict = translated(rule, direction, tuple);
    if (pod.marks.tracked && protocol === 'udp')
      note(pod, direction === 'ingress' && rule ? rule.identity : tuple);
    return verdict;
  }

  private drop(reason: DropReason): Verdict {
    this.counts[reason].packets += 1n;
    this.counts[reason].bytes += 100n;
    return { kind: 'drop', reason };
  }

  private pod(name: string): FakePod {
    const pod = this.known.get(name);
    if (pod === undefined) throw failure('ERR_NOT_FOUND', `pod ${name}`, 'the data plane does not know it');
    return pod;
  }
}

/** Why this packet is kept back; undefined where it isn't. */
function heldAs(
  pod: FakePod,
  rule: FakeRule | undefined,
  direction: 'egress' | 'ingress',
  opens: boolean,
): DropReason | undefined {
  if (direction === 'egress' && rule?.state === 'held') return 'HELD';
  if (pod.marks.held) return 'HELD_POD';
  if (direction === 'ingress' && rule?.state === 'refused') return 'GIVEN_UP';
  return pod.marks.quiet && opens && rule === undefined ? 'HELD_NEW' : undefined;
}

/** Without a packet: what stands on this data plane doesn't look into it. */
function opening(pod: string, direction: 'egress' | 'ingress', tuple: FlowTuple): KeptPacket {
  return { pod, flowId: 0n, protocol: 'tcp', direction, tuple, kind: 'segment', packet: Buffer.alloc(0) };
}

function note(pod: FakePod, tuple: FlowTuple): void {
  const session = { protocol: 'udp' as const, tuple, lastSeen: Date.now() };
  if (isBetweenTwo(tuple)) pod.sessions.set(tupleName('udp', tuple), session);
}

function isBetweenTwo({ local, remote }: FlowTuple): boolean {
  return ![local, remote].some(({ address }) => isGroupOrNobody(addressBytes(address)));
}

function translated(rule: FakeRule | undefined, direction: 'egress' | 'ingress', tuple: FlowTuple): Verdict {
  if (rule === undefined || (direction === 'egress' && rule.state === 'pending'))
    return { kind: 'pass', tuple };
  rule.packets += 1n;
  rule.bytes += 100n;
  return { kind: 'pass', tuple: direction === 'egress' ? rule.wire : rule.identity };
}

function counted(rule: FlowRule): FakeRule {
  return { ...rule, packets: 0n, bytes: 0n };
}

function matches(rule: FlowRule, selector: RuleSelector): boolean {
  if (selector.migration !== undefined && rule.migration !== selector.migration) return false;
  return selector.flowIds === undefined || selector.flowIds.includes(rule.flowId);
}

function tupleName(protocol: Protocol, tuple: FlowTuple): string {
  const end = (address: string, port: number): string => `${canonicalAddress(address)} ${port}`;
  return `${protocol} ${end(tuple.local.address, tuple.local.port)} ${end(tuple.remote.address, tuple.remote.port)}`;
}

function taken<Value>(from: Map<string, Value>, key: string): Value | undefined {
  const value = from.get(key);
  from.delete(key);
  return value;
}

function statuses(pod: FakePod): FlowStatus[] {
  const hopName = (rule: FlowRule): string => `${rule.flowId}/${rule.migration}`;
  const outbound = new Map([...pod.outbound.values()].map((rule) => [hopName(rule), rule]));
  const status = (rule: FakeRule, isInbound: boolean): FlowStatus => {
    const out = rule.state === 'refused' ? undefined : taken(outbound, hopName(rule));
    return {
      pod: pod.spec.name,
      flowId: rule.flowId,
      migration: rule.migration,
      protocol: rule.protocol,
      identity: rule.identity,
      wire: rule.wire,
      ...(rule.reroute ? { reroute: true } : {}),
      state: out?.state ?? (rule.state === 'refused' ? 'refused' : 'inbound'),
      packetsOut: out?.packets ?? 0n,
      bytesOut: out?.bytes ?? 0n,
      packetsIn: isInbound ? rule.packets : 0n,
      bytesIn: isInbound ? rule.bytes : 0n,
    };
  };
  const hops = [...pod.inbound.values()].map((rule) => status(rule, true));
  return [...hops, ...[...outbound.values()].map((rule) => status(rule, false))];
}

function failure(
  code: ConstructorParameters<typeof ServalError>[0],
  subject: string,
  reason: string,
): ServalError {
  return new ServalError(code, { subject, reason, remedy: 'See the message of the real data plane' });
}

/** Errors come as rejections, as they do from the real one. */
async function attempt<Result>(work: () => Result): Promise<Result> {
  return Promise.resolve().then(work);
}
