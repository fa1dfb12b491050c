// Generated from the BTF of the compiled programs by node-agent/scripts/generate-abi.mjs. Do not edit.
/* eslint-disable */

function readText(buffer: Buffer, at: number, length: number): string {
  const end = buffer.indexOf(0, at);
  return buffer.toString('utf8', at, end < 0 || end > at + length ? at + length : end);
}

function writeText(buffer: Buffer, at: number, length: number, value: string): void {
  if (Buffer.byteLength(value) >= length) throw new RangeError(`text of more than ${length - 1} bytes: ${value}`);
  buffer.fill(0, at, at + length);
  buffer.write(value, at, 'utf8');
}

function writeBytes(buffer: Buffer, at: number, length: number, value: Buffer): void {
  if (value.length !== length) throw new RangeError(`${value.length} bytes where ${length} belong`);
  value.copy(buffer, at);
}

export const salReason = {
  NONE: 0,
  HELD: 1,
  HELD_POD: 2,
  HELD_RING_FULL: 3,
  HELD_TOO_LONG: 4,
  HELD_FRAGMENT: 5,
  HELD_OVERFLOW: 6,
  FRAGMENT_UNKNOWN: 7,
  TRUNCATED: 8,
  HEADER_CHAIN: 9,
  SOURCE_ROUTED: 10,
  AUTHENTICATED: 11,
  QUOTE_TRUNCATED: 12,
  QUOTE_FRAGMENT: 13,
  REWRITE_FAILED: 14,
  HELD_NEW: 15,
  NO_REPLICA: 16,
  DELAYED: 17,
  GIVEN_UP: 18,
  GUEST_FRAGMENT: 19,
} as const;

export const salLimit = {
  ABI_VERSION: 4,
  PODS_MAX: 1024,
  DEVICES_MAX: 32,
  SLOTS_MAX: 1048576,
  BUCKET_WAYS: 12,
  SEED_WORDS: 11,
  REASONS_MAX: 32,
  KEEP_MAX: 9216,
  KEEP_SMALL: 1792,
  KEEP_LATER: 64,
  SERVICES_MAX: 65536,
  CLIENTS_MAX: 4096,
  SOCKETS_MAX: 65536,
  WAITING_MAX: 65536,
  NO_SERVICE: 2147483647,
  OPENING_MAX: 128,
} as const;

export const salDirection = {
  EGRESS: 0,
  INGRESS: 1,
} as const;

export const salState = {
  NONE: 0,
  PENDING: 1,
  HELD: 2,
  ACTIVE: 3,
  REFUSED: 4,
} as const;

export const salPodFlag = {
  USED: 1,
  HELD: 2,
  CLSACT: 4,
  QUIET: 8,
  TRACKED: 16,
  GUESTS: 32,
} as const;

export const salSlotFlag = {
  REROUTE: 1,
} as const;

export const salKept = {
  ACK: 1,
  SEGMENT: 2,
  RESET: 4,
} as const;

export const salRule = {
  FORWARD: 1,
  DEMUX: 2,
  DELAY: 3,
  DROP: 4,
} as const;

export const salBalance = {
  RANDOM: 0,
  IN_TURN: 1,
  BY_CLIENT: 2,
} as const;

export const salServiceFlag = {
  OWN: 1,
  EVEN: 2,
} as const;

export const salEventKind = {
  SILENT: 1,
  REFUSED: 2,
  WAITS: 3,
} as const;

export interface SalFragmentKey {
  scope: SalScope;
  local: Buffer;
  remote: Buffer;
  id: number;
}

export const salFragmentKey = {
  size: 40,
  offset: { scope: 0, local: 4, remote: 20, id: 36 },
  read(buffer: Buffer, at = 0): SalFragmentKey {
    return {
      scope: salScope.read(buffer, at),
      local: Buffer.from(buffer.subarray(at + 4, at + 4 + 16)),
      remote: Buffer.from(buffer.subarray(at + 20, at + 20 + 16)),
      id: buffer.readUInt32LE(at + 36),
    };
  },
  write(buffer: Buffer, at: number, value: SalFragmentKey): void {
    salScope.write(buffer, at, value.scope);
    writeBytes(buffer, at + 4, 16, value.local);
    writeBytes(buffer, at + 20, 16, value.remote);
    buffer.writeUInt32LE(value.id, at + 36);
  },
} as const;

export interface SalScope {
  pod: number;
  direction: number;
  protocol: number;
}

export const salScope = {
  size: 4,
  offset: { pod: 0, direction: 2, protocol: 3 },
  read(buffer: Buffer, at = 0): SalScope {
    return {
      pod: buffer.readUInt16LE(at),
      direction: buffer.readUInt8(at + 2),
      protocol: buffer.readUInt8(at + 3),
    };
  },
  write(buffer: Buffer, at: number, value: SalScope): void {
    buffer.writeUInt16LE(value.pod, at);
    buffer.writeUInt8(value.direction, at + 2);
    buffer.writeUInt8(value.protocol, at + 3);
  },
} as const;

export interface SalFragment {
  state: number;
  slot: number;
  flowId: bigint;
}

export const salFragment = {
  size: 16,
  offset: { state: 0, slot: 4, flowId: 8 },
  read(buffer: Buffer, at = 0): SalFragment {
    return {
      state: buffer.readUInt8(at),
      slot: buffer.readUInt32LE(at + 4),
      flowId: buffer.readBigUInt64LE(at + 8),
    };
  },
  write(buffer: Buffer, at: number, value: SalFragment): void {
    buffer.writeUInt8(value.state, at);
    buffer.writeUInt32LE(value.slot, at + 4);
    buffer.writeBigUInt64LE(value.flowId, at + 8);
  },
} as const;

export interface SalKey {
  scope: SalScope;
  tuple: SalTuple;
}

export const salKey = {
  size: 40,
  offset: { scope: 0, tuple: 4 },
  read(buffer: Buffer, at = 0): SalKey {
    return {
      scope: salScope.read(buffer, at),
      tuple: salTuple.read(buffer, at + 4),
    };
  },
  write(buffer: Buffer, at: number, value: SalKey): void {
    salScope.write(buffer, at, value.scope);
    salTuple.write(buffer, at + 4, value.tuple);
  },
} as const;

export interface SalTuple {
  local: Buffer;
  remote: Buffer;
  localPort: number;
  remotePort: number;
}

export const salTuple = {
  size: 36,
  offset: { local: 0, remote: 16, localPort: 32, remotePort: 34 },
  read(buffer: Buffer, at = 0): SalTuple {
    return {
      local: Buffer.from(buffer.subarray(at, at + 16)),
      remote: Buffer.from(buffer.subarray(at + 16, at + 16 + 16)),
      localPort: buffer.readUInt16BE(at + 32),
      remotePort: buffer.readUInt16BE(at + 34),
    };
  },
  write(buffer: Buffer, at: number, value: SalTuple): void {
    writeBytes(buffer, at, 16, value.local);
    writeBytes(buffer, at + 16, 16, value.remote);
    buffer.writeUInt16BE(value.localPort, at + 32);
    buffer.writeUInt16BE(value.remotePort, at + 34);
  },
} as const;

export interface SalGuestFlow {
  slot: SalSlot;
  beganNs: bigint;
  place: number;
  answered: number;
}

export const salGuestFlow = {
  size: 144,
  offset: { slot: 0, beganNs: 128, place: 136, answered: 140 },
  read(buffer: Buffer, at = 0): SalGuestFlow {
    return {
      slot: salSlot.read(buffer, at),
      beganNs: buffer.readBigUInt64LE(at + 128),
      place: buffer.readUInt32LE(at + 136),
      answered: buffer.readUInt32LE(at + 140),
    };
  },
  write(buffer: Buffer, at: number, value: SalGuestFlow): void {
    salSlot.write(buffer, at, value.slot);
    buffer.writeBigUInt64LE(value.beganNs, at + 128);
    buffer.writeUInt32LE(value.place, at + 136);
    buffer.writeUInt32LE(value.answered, at + 140);
  },
} as const;

export interface SalSlot {
  match: SalKey;
  state: number;
  kept: number;
  flags: number;
  keptLater: number;
  addressDiff: number;
  portDiff: number;
  to: SalTuple;
  flowId: bigint;
  migration: bigint;
  packets: bigint;
  bytes: bigint;
  keptSeq: number;
  keptAck: number;
}

export const salSlot = {
  size: 128,
  offset: { match: 0, state: 40, kept: 41, flags: 42, keptLater: 43, addressDiff: 44, portDiff: 48, to: 52, flowId: 88, migration: 96, packets: 104, bytes: 112, keptSeq: 120, keptAck: 124 },
  read(buffer: Buffer, at = 0): SalSlot {
    return {
      match: salKey.read(buffer, at),
      state: buffer.readUInt8(at + 40),
      kept: buffer.readUInt8(at + 41),
      flags: buffer.readUInt8(at + 42),
      keptLater: buffer.readUInt8(at + 43),
      addressDiff: buffer.readUInt32LE(at + 44),
      portDiff: buffer.readUInt32LE(at + 48),
      to: salTuple.read(buffer, at + 52),
      flowId: buffer.readBigUInt64LE(at + 88),
      migration: buffer.readBigUInt64LE(at + 96),
      packets: buffer.readBigUInt64LE(at + 104),
      bytes: buffer.readBigUInt64LE(at + 112),
      keptSeq: buffer.readUInt32LE(at + 120),
      keptAck: buffer.readUInt32LE(at + 124),
    };
  },
  write(buffer: Buffer, at: number, value: SalSlot): void {
    salKey.write(buffer, at, value.match);
    buffer.writeUInt8(value.state, at + 40);
    buffer.writeUInt8(value.kept, at + 41);
    buffer.writeUInt8(value.flags, at + 42);
    buffer.writeUInt8(value.keptLater, at + 43);
    buffer.writeUInt32LE(value.addressDiff, at + 44);
    buffer.writeUInt32LE(value.portDiff, at + 48);
    salTuple.write(buffer, at + 52, value.to);
    buffer.writeBigUInt64LE(value.flowId, at + 88);
    buffer.writeBigUInt64LE(value.migration, at + 96);
    buffer.writeBigUInt64LE(value.packets, at + 104);
    buffer.writeBigUInt64LE(value.bytes, at + 112);
    buffer.writeUInt32LE(value.keptSeq, at + 120);
    buffer.writeUInt32LE(value.keptAck, at + 124);
  },
} as const;

export interface SalEndpoint {
  address: Buffer;
  port: number;
  protocol: number;
}

export const salEndpoint = {
  size: 20,
  offset: { address: 0, port: 16, protocol: 18 },
  read(buffer: Buffer, at = 0): SalEndpoint {
    return {
      address: Buffer.from(buffer.subarray(at, at + 16)),
      port: buffer.readUInt16BE(at + 16),
      protocol: buffer.readUInt8(at + 18),
    };
  },
  write(buffer: Buffer, at: number, value: SalEndpoint): void {
    writeBytes(buffer, at, 16, value.address);
    buffer.writeUInt16BE(value.port, at + 16);
    buffer.writeUInt8(value.protocol, at + 18);
  },
} as const;

export interface SalService {
  id: number;
  rule: number;
  balance: number;
  flags: number;
  choices: number;
  size: number;
  replicas: number;
  count: number;
  synTimeoutMs: number;
  check: number;
}

export const salService = {
  size: 32,
  offset: { id: 0, rule: 4, balance: 5, flags: 6, choices: 8, size: 12, replicas: 16, count: 20, synTimeoutMs: 24, check: 28 },
  read(buffer: Buffer, at = 0): SalService {
    return {
      id: buffer.readUInt32LE(at),
      rule: buffer.readUInt8(at + 4),
      balance: buffer.readUInt8(at + 5),
      flags: buffer.readUInt8(at + 6),
      choices: buffer.readUInt32LE(at + 8),
      size: buffer.readUInt32LE(at + 12),
      replicas: buffer.readUInt32LE(at + 16),
      count: buffer.readUInt32LE(at + 20),
      synTimeoutMs: buffer.readUInt32LE(at + 24),
      check: buffer.readUInt32LE(at + 28),
    };
  },
  write(buffer: Buffer, at: number, value: SalService): void {
    buffer.writeUInt32LE(value.id, at);
    buffer.writeUInt8(value.rule, at + 4);
    buffer.writeUInt8(value.balance, at + 5);
    buffer.writeUInt8(value.flags, at + 6);
    buffer.writeUInt32LE(value.choices, at + 8);
    buffer.writeUInt32LE(value.size, at + 12);
    buffer.writeUInt32LE(value.replicas, at + 16);
    buffer.writeUInt32LE(value.count, at + 20);
    buffer.writeUInt32LE(value.synTimeoutMs, at + 24);
    buffer.writeUInt32LE(value.check, at + 28);
  },
} as const;

export interface SalSession {
  lastSeenNs: bigint;
}

export const salSession = {
  size: 8,
  offset: { lastSeenNs: 0 },
  read(buffer: Buffer, at = 0): SalSession {
    return {
      lastSeenNs: buffer.readBigUInt64LE(at),
    };
  },
  write(buffer: Buffer, at: number, value: SalSession): void {
    buffer.writeBigUInt64LE(value.lastSeenNs, at);
  },
} as const;

export interface SalDrop {
  packets: bigint;
  bytes: bigint;
}

export const salDrop = {
  size: 16,
  offset: { packets: 0, bytes: 8 },
  read(buffer: Buffer, at = 0): SalDrop {
    return {
      packets: buffer.readBigUInt64LE(at),
      bytes: buffer.readBigUInt64LE(at + 8),
    };
  },
  write(buffer: Buffer, at: number, value: SalDrop): void {
    buffer.writeBigUInt64LE(value.packets, at);
    buffer.writeBigUInt64LE(value.bytes, at + 8);
  },
} as const;

export interface SalBucket {
  tag: Buffer;
  slot: number[];
}

export const salBucket = {
  size: 64,
  offset: { tag: 0, slot: 16 },
  read(buffer: Buffer, at = 0): SalBucket {
    return {
      tag: Buffer.from(buffer.subarray(at, at + 16)),
      slot: Array.from({ length: 12 }, (_, i) => buffer.readUInt32LE(at + 16 + i * 4)),
    };
  },
  write(buffer: Buffer, at: number, value: SalBucket): void {
    writeBytes(buffer, at, 16, value.tag);
    for (let i = 0; i < 12; i++) buffer.writeUInt32LE(value.slot[i] ?? 0, at + 16 + i * 4);
  },
} as const;

export interface SalConfig {
  abiVersion: number;
  bucketMask: number;
  slots: number;
  kernelContext: number;
  seed: bigint[];
  mappedPrefixes: bigint;
}

export const salConfig = {
  size: 112,
  offset: { abiVersion: 0, bucketMask: 4, slots: 8, kernelContext: 12, seed: 16, mappedPrefixes: 104 },
  read(buffer: Buffer, at = 0): SalConfig {
    return {
      abiVersion: buffer.readUInt32LE(at),
      bucketMask: buffer.readUInt32LE(at + 4),
      slots: buffer.readUInt32LE(at + 8),
      kernelContext: buffer.readUInt32LE(at + 12),
      seed: Array.from({ length: 11 }, (_, i) => buffer.readBigUInt64LE(at + 16 + i * 8)),
      mappedPrefixes: buffer.readBigUInt64LE(at + 104),
    };
  },
  write(buffer: Buffer, at: number, value: SalConfig): void {
    buffer.writeUInt32LE(value.abiVersion, at);
    buffer.writeUInt32LE(value.bucketMask, at + 4);
    buffer.writeUInt32LE(value.slots, at + 8);
    buffer.writeUInt32LE(value.kernelContext, at + 12);
    for (let i = 0; i < 11; i++) buffer.writeBigUInt64LE(value.seed[i] ?? 0n, at + 16 + i * 8);
    buffer.writeBigUInt64LE(value.mappedPrefixes, at + 104);
  },
} as const;

export interface SalPod {
  flags: number;
  devices: number;
  netnsInode: bigint;
  ifindex: number[];
  interfaces: string;
  netns: string;
  name: string;
}

export const salPod = {
  size: 1136,
  offset: { flags: 0, devices: 4, netnsInode: 8, ifindex: 16, interfaces: 144, netns: 656, name: 816 },
  read(buffer: Buffer, at = 0): SalPod {
    return {
      flags: buffer.readUInt32LE(at),
      devices: buffer.readUInt32LE(at + 4),
      netnsInode: buffer.readBigUInt64LE(at + 8),
      ifindex: Array.from({ length: 32 }, (_, i) => buffer.readUInt32LE(at + 16 + i * 4)),
      interfaces: readText(buffer, at + 144, 512),
      netns: readText(buffer, at + 656, 160),
      name: readText(buffer, at + 816, 320),
    };
  },
  write(buffer: Buffer, at: number, value: SalPod): void {
    buffer.writeUInt32LE(value.flags, at);
    buffer.writeUInt32LE(value.devices, at + 4);
    buffer.writeBigUInt64LE(value.netnsInode, at + 8);
    for (let i = 0; i < 32; i++) buffer.writeUInt32LE(value.ifindex[i] ?? 0, at + 16 + i * 4);
    writeText(buffer, at + 144, 512, value.interfaces);
    writeText(buffer, at + 656, 160, value.netns);
    writeText(buffer, at + 816, 320, value.name);
  },
} as const;

export interface SalPair {
  pod: number;
  direction: number;
  local: Buffer;
  remote: Buffer;
}

export const salPair = {
  size: 36,
  offset: { pod: 0, direction: 2, local: 4, remote: 20 },
  read(buffer: Buffer, at = 0): SalPair {
    return {
      pod: buffer.readUInt16LE(at),
      direction: buffer.readUInt8(at + 2),
      local: Buffer.from(buffer.subarray(at + 4, at + 4 + 16)),
      remote: Buffer.from(buffer.subarray(at + 20, at + 20 + 16)),
    };
  },
  write(buffer: Buffer, at: number, value: SalPair): void {
    buffer.writeUInt16LE(value.pod, at);
    buffer.writeUInt8(value.direction, at + 2);
    writeBytes(buffer, at + 4, 16, value.local);
    writeBytes(buffer, at + 20, 16, value.remote);
  },
} as const;

export interface SalChoices {
  number: number[];
}

export const salChoices = {
  size: 8,
  offset: { number: 0 },
  read(buffer: Buffer, at = 0): SalChoices {
    return {
      number: Array.from({ length: 2 }, (_, i) => buffer.readUInt32LE(at + i * 4)),
    };
  },
  write(buffer: Buffer, at: number, value: SalChoices): void {
    for (let i = 0; i < 2; i++) buffer.writeUInt32LE(value.number[i] ?? 0, at + i * 4);
  },
} as const;

export interface SalReplica {
  at: SalEndpoint;
  rttUs: number;
  connections: number;
  failures: number;
}

export const salReplica = {
  size: 32,
  offset: { at: 0, rttUs: 20, connections: 24, failures: 28 },
  read(buffer: Buffer, at = 0): SalReplica {
    return {
      at: salEndpoint.read(buffer, at),
      rttUs: buffer.readUInt32LE(at + 20),
      connections: buffer.readUInt32LE(at + 24),
      failures: buffer.readUInt32LE(at + 28),
    };
  },
  write(buffer: Buffer, at: number, value: SalReplica): void {
    salEndpoint.write(buffer, at, value.at);
    buffer.writeUInt32LE(value.rttUs, at + 20);
    buffer.writeUInt32LE(value.connections, at + 24);
    buffer.writeUInt32LE(value.failures, at + 28);
  },
} as const;

export interface SalServiceCount {
  turn: bigint;
  refused: bigint;
  waited: bigint;
}

export const salServiceCount = {
  size: 24,
  offset: { turn: 0, refused: 8, waited: 16 },
  read(buffer: Buffer, at = 0): SalServiceCount {
    return {
      turn: buffer.readBigUInt64LE(at),
      refused: buffer.readBigUInt64LE(at + 8),
      waited: buffer.readBigUInt64LE(at + 16),
    };
  },
  write(buffer: Buffer, at: number, value: SalServiceCount): void {
    buffer.writeBigUInt64LE(value.turn, at);
    buffer.writeBigUInt64LE(value.refused, at + 8);
    buffer.writeBigUInt64LE(value.waited, at + 16);
  },
} as const;

export interface SalClient {
  number: number;
  flags: number;
}

export const salClient = {
  size: 8,
  offset: { number: 0, flags: 4 },
  read(buffer: Buffer, at = 0): SalClient {
    return {
      number: buffer.readUInt32LE(at),
      flags: buffer.readUInt32LE(at + 4),
    };
  },
  write(buffer: Buffer, at: number, value: SalClient): void {
    buffer.writeUInt32LE(value.number, at);
    buffer.writeUInt32LE(value.flags, at + 4);
  },
} as const;

export interface SalOwnKey {
  netns: bigint;
  service: number;
}

export const salOwnKey = {
  size: 16,
  offset: { netns: 0, service: 8 },
  read(buffer: Buffer, at = 0): SalOwnKey {
    return {
      netns: buffer.readBigUInt64LE(at),
      service: buffer.readUInt32LE(at + 8),
    };
  },
  write(buffer: Buffer, at: number, value: SalOwnKey): void {
    buffer.writeBigUInt64LE(value.netns, at);
    buffer.writeUInt32LE(value.service, at + 8);
  },
} as const;

export interface SalLeft {
  now: SalEndpoint;
  check: number;
}

export const salLeft = {
  size: 24,
  offset: { now: 0, check: 20 },
  read(buffer: Buffer, at = 0): SalLeft {
    return {
      now: salEndpoint.read(buffer, at),
      check: buffer.readUInt32LE(at + 20),
    };
  },
  write(buffer: Buffer, at: number, value: SalLeft): void {
    salEndpoint.write(buffer, at, value.now);
    buffer.writeUInt32LE(value.check, at + 20);
  },
} as const;

export interface SalResolved {
  asked: SalEndpoint;
  replica: SalEndpoint;
  service: number;
  place: number;
  synTimeoutMs: number;
  netns: bigint;
  cookie: bigint;
}

export const salResolved = {
  size: 72,
  offset: { asked: 0, replica: 20, service: 40, place: 44, synTimeoutMs: 52, netns: 56, cookie: 64 },
  read(buffer: Buffer, at = 0): SalResolved {
    return {
      asked: salEndpoint.read(buffer, at),
      replica: salEndpoint.read(buffer, at + 20),
      service: buffer.readUInt32LE(at + 40),
      place: buffer.readUInt32LE(at + 44),
      synTimeoutMs: buffer.readUInt32LE(at + 52),
      netns: buffer.readBigUInt64LE(at + 56),
      cookie: buffer.readBigUInt64LE(at + 64),
    };
  },
  write(buffer: Buffer, at: number, value: SalResolved): void {
    salEndpoint.write(buffer, at, value.asked);
    salEndpoint.write(buffer, at + 20, value.replica);
    buffer.writeUInt32LE(value.service, at + 40);
    buffer.writeUInt32LE(value.place, at + 44);
    buffer.writeUInt32LE(value.synTimeoutMs, at + 52);
    buffer.writeBigUInt64LE(value.netns, at + 56);
    buffer.writeBigUInt64LE(value.cookie, at + 64);
  },
} as const;

export interface SalDatagramKey {
  socket: bigint;
  replica: SalEndpoint;
}

export const salDatagramKey = {
  size: 32,
  offset: { socket: 0, replica: 8 },
  read(buffer: Buffer, at = 0): SalDatagramKey {
    return {
      socket: buffer.readBigUInt64LE(at),
      replica: salEndpoint.read(buffer, at + 8),
    };
  },
  write(buffer: Buffer, at: number, value: SalDatagramKey): void {
    buffer.writeBigUInt64LE(value.socket, at);
    salEndpoint.write(buffer, at + 8, value.replica);
  },
} as const;

export interface SalKeptPacket {
  timeNs: bigint;
  flowId: bigint;
  key: SalKey;
  seq: number;
  ack: number;
  payload: number;
  length: number;
  tcpFlags: number;
  kind: number;
  transport: number;
}

export const salKeptPacket = {
  size: 80,
  offset: { timeNs: 0, flowId: 8, key: 16, seq: 56, ack: 60, payload: 64, length: 68, tcpFlags: 70, kind: 71, transport: 72 },
  read(buffer: Buffer, at = 0): SalKeptPacket {
    return {
      timeNs: buffer.readBigUInt64LE(at),
      flowId: buffer.readBigUInt64LE(at + 8),
      key: salKey.read(buffer, at + 16),
      seq: buffer.readUInt32LE(at + 56),
      ack: buffer.readUInt32LE(at + 60),
      payload: buffer.readUInt32LE(at + 64),
      length: buffer.readUInt16LE(at + 68),
      tcpFlags: buffer.readUInt8(at + 70),
      kind: buffer.readUInt8(at + 71),
      transport: buffer.readUInt16LE(at + 72),
    };
  },
  write(buffer: Buffer, at: number, value: SalKeptPacket): void {
    buffer.writeBigUInt64LE(value.timeNs, at);
    buffer.writeBigUInt64LE(value.flowId, at + 8);
    salKey.write(buffer, at + 16, value.key);
    buffer.writeUInt32LE(value.seq, at + 56);
    buffer.writeUInt32LE(value.ack, at + 60);
    buffer.writeUInt32LE(value.payload, at + 64);
    buffer.writeUInt16LE(value.length, at + 68);
    buffer.writeUInt8(value.tcpFlags, at + 70);
    buffer.writeUInt8(value.kind, at + 71);
    buffer.writeUInt16LE(value.transport, at + 72);
  },
} as const;

export interface SalConnectConfig {
  everyClient: number;
  setRetval: number;
  hz: number;
}

export const salConnectConfig = {
  size: 16,
  offset: { everyClient: 0, setRetval: 4, hz: 8 },
  read(buffer: Buffer, at = 0): SalConnectConfig {
    return {
      everyClient: buffer.readUInt32LE(at),
      setRetval: buffer.readUInt32LE(at + 4),
      hz: buffer.readUInt32LE(at + 8),
    };
  },
  write(buffer: Buffer, at: number, value: SalConnectConfig): void {
    buffer.writeUInt32LE(value.everyClient, at);
    buffer.writeUInt32LE(value.setRetval, at + 4);
    buffer.writeUInt32LE(value.hz, at + 8);
  },
} as const;

export interface SalEvent {
  timeNs: bigint;
  netns: bigint;
  socket: bigint;
  local: SalEndpoint;
  replica: SalEndpoint;
  asked: SalEndpoint;
  service: number;
  kind: number;
  attempt: number;
  length: number;
  opening: Buffer;
}

export const salEvent = {
  size: 224,
  offset: { timeNs: 0, netns: 8, socket: 16, local: 24, replica: 44, asked: 64, service: 84, kind: 88, attempt: 89, length: 90, opening: 92 },
  read(buffer: Buffer, at = 0): SalEvent {
    return {
      timeNs: buffer.readBigUInt64LE(at),
      netns: buffer.readBigUInt64LE(at + 8),
      socket: buffer.readBigUInt64LE(at + 16),
      local: salEndpoint.read(buffer, at + 24),
      replica: salEndpoint.read(buffer, at + 44),
      asked: salEndpoint.read(buffer, at + 64),
      service: buffer.readUInt32LE(at + 84),
      kind: buffer.readUInt8(at + 88),
      attempt: buffer.readUInt8(at + 89),
      length: buffer.readUInt16LE(at + 90),
      opening: Buffer.from(buffer.subarray(at + 92, at + 92 + 128)),
    };
  },
  write(buffer: Buffer, at: number, value: SalEvent): void {
    buffer.writeBigUInt64LE(value.timeNs, at);
    buffer.writeBigUInt64LE(value.netns, at + 8);
    buffer.writeBigUInt64LE(value.socket, at + 16);
    salEndpoint.write(buffer, at + 24, value.local);
    salEndpoint.write(buffer, at + 44, value.replica);
    salEndpoint.write(buffer, at + 64, value.asked);
    buffer.writeUInt32LE(value.service, at + 84);
    buffer.writeUInt8(value.kind, at + 88);
    buffer.writeUInt8(value.attempt, at + 89);
    buffer.writeUInt16LE(value.length, at + 90);
    writeBytes(buffer, at + 92, 128, value.opening);
  },
} as const;
