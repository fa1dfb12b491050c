/**
 * The typed face of the native addon (node-agent/native): mechanism over libbpf, netlink and raw sockets, no
 * policy. JavaScript validates, native code assumes. Every failing call throws a NativeError; `datapath/` and
 * `host/` turn it into a ServalError with the subject and the remedy.
 */
import { createRequire } from 'node:module';
import { types } from 'node:util';
import { ServalError } from '@serval/api';
import { packageFiles } from './package-files.js';

/** What every native call throws: an Error with these fields. */
export interface NativeError extends Error {
  /** symbolic errno, e.g. `EPERM`; `ELOAD` where libbpf gives none */
  code: string;
  errno: number;
  /** the kernel operation that failed, e.g. `bpf_prog_load(sal_egress)` */
  operation: string;
  /** the last lines of the verifier's log, where the verifier refused a program */
  verifierLog?: string;
  /** of a batch: how many entries had been written */
  done?: number;
}

export type AttachDirection = 'ingress' | 'egress';

export interface MapInfo {
  id: number;
  name: string;
  /** enum bpf_map_type */
  type: number;
  keySize: number;
  valueSize: number;
  maxEntries: number;
  flags: number;
}

export interface ProgramInfo {
  id: number;
  name: string;
  /** hex of the 8-byte tag: equal for equal instructions */
  tag: string;
}

export interface TestRunInput {
  /** an Ethernet frame */
  data: Buffer;
  repeat?: number;
  mark?: number;
  gsoSize?: number;
  gsoSegments?: number;
  /** run the packet as CHECKSUM_COMPLETE and have the kernel verify its sum afterwards (6.17 and later; else EINVAL) */
  checksumComplete?: boolean;
}

export interface TestRunResult {
  /** the program's verdict, signed: TCX_NEXT is -1, TC_ACT_OK 0, TC_ACT_SHOT 2 */
  verdict: number;
  data: Buffer;
  /** mean over the repeats, as the kernel reports it */
  durationNs: number;
}

/** An ELF object of BPF programs: opened, then configured, then loaded. */
export interface BpfObject {
  /** initial value of one variable of .rodata, before load */
  setVariable(name: string, value: Buffer): void;
  setMaxEntries(map: string, entries: number): void;
  /** use this existing map in place of the object's own, before load */
  reuseMap(name: string, map: BpfMap): void;
  setAutoload(program: string, load: boolean): void;
  /** verification takes long, so it runs on a thread of its own; until then everything but `close` is refused (EBUSY) */
  load(): Promise<void>;
  /** names in the order of the object */
  programNames(): string[];
  /** handles with descriptors of their own: they outlive the object */
  map(name: string): BpfMap;
  program(name: string): BpfProgram;
  close(): void;
}

export interface BpfMap {
  info(): MapInfo;
  pin(path: string): void;
  /** undefined where the key is absent; per-CPU maps give the values of all possible CPUs one after the other, each rounded up to 8 bytes */
  lookup(key: Buffer): Buffer | undefined;
  update(key: Buffer, value: Buffer): void;
  /** of an array of programs; whoever jumps there goes on with this one from now on */
  setProgram(index: number, program: BpfProgram): void;
  /** false where the key was absent */
  delete(key: Buffer): boolean;
  /** keys and values one after the other; returns how many were written (all, or it throws with `done` on the error) */
  updateBatch(keys: Buffer, values: Buffer, count: number): number;
  /** absent keys are passed over; returns how many were deleted */
  deleteBatch(keys: Buffer, count: number): number;
  entries(): { count: number; keys: Buffer; values: Buffer };
  /**
   * the memory of an array map, shared with the kernel; elements begin at multiples of 8 bytes. Outlives `close`.
   * @param elements so many of the first, default all: what is mapped counts as resident memory, used or not
   */
  mapped(elements?: number): Buffer;
  close(): void;
}

export interface BpfProgram {
  info(): ProgramInfo;
  pin(path: string): void;
  run(input: TestRunInput): TestRunResult;
  close(): void;
}

export interface BpfLink {
  info(): { id: number; programId: number; ifindex: number };
  pin(path: string): void;
  /** swap the program under the link without a gap */
  update(program: BpfProgram): void;
  /** detach now, wherever the link is pinned; the pin must be unlinked by the caller */
  detach(): void;
  /** give up this descriptor; a pinned link stays attached */
  close(): void;
}

export interface RingBuffer {
  /** read what is there now without waiting for the event loop; returns how many records went to the callback */
  consume(): number;
  close(): void;
}

/**
 * The flow table: a hash table of our own in two memory-mapped array maps (struct sal_bucket, struct sal_slot of
 * serval_abi.h), with one writer (this process) and readers in the kernel that never wait. A slot is written while
 * nothing refers to it, then published by one atomic store; a slot taken out is reused only after an RCU grace
 * period (membarrier GLOBAL). The hash is bpf/lib/hash.h, compiled into both sides.
 */
export interface FlowTable {
  /** slot numbers of these keys (n * sizeof sal_key); 0 where absent */
  find(keys: Buffer): Uint32Array;
  /**
   * Publish these slots (n * sizeof sal_slot) in their order, replacing what has the same key (its counters are carried
   * over). All or nothing: ENOSPC, with nothing changed, where slots or a bucket run out. Returns the slot numbers.
   */
  insert(slots: Buffer): Uint32Array;
  /** set the state of published slots in their order; entering HELD resets what the slot kept */
  setState(slots: Uint32Array, state: number): void;
  /** unpublish in their order */
  remove(slots: Uint32Array): void;
  /** copies, n * sizeof sal_slot */
  read(slots: Uint32Array): Buffer;
  /** every published slot */
  published(): Uint32Array;
  usage(): { capacity: number; used: number; retired: number };
  /**
   * Make what is retired now free, after a grace period (8 to 23 ms) that is waited for elsewhere: else the insert that
   * runs out of free slots waits for it. Returns how many.
   */
  recycle(): Promise<number>;
  close(): void;
}

/** A TCP or UDP socket of a namespace, as sock_diag shows it. */
export interface SocketRecord {
  protocol: 'tcp' | 'udp';
  family: 4 | 6;
  /** textual; IPv4-mapped IPv6 is given as it is (::ffff:a.b.c.d) */
  localAddress: string;
  localPort: number;
  remoteAddress: string;
  remotePort: number;
  /** TCP_ESTABLISHED is 1, TCP_LISTEN 10 and so on, as in linux/tcp_states.h */
  state: number;
  inode: number;
  uid: number;
  interface: number;
  receiveQueue: number;
  sendQueue: number;
}

/** What `countSockets` tells: where flows are taken, and how many connected sockets have such a port. */
export interface SocketCounts {
  /** IPv4-mapped is given as IPv4; `backlog`: connections that wait to be accepted, of all sockets that share the port */
  listening: Array<{ family: 4 | 6; address: string; port: number; backlog: number; ipv6Only: boolean }>;
  /** by local address, IPv4-mapped as IPv4 */
  connected: Array<{ family: 4 | 6; address: string; port: number; sockets: number }>;
  /** what it took of a processor, microseconds */
  cpuUs: number;
}

export interface ConntrackTuple {
  protocol: 'tcp' | 'udp';
  source: string;
  sourcePort: number;
  destination: string;
  destinationPort: number;
}

export interface ConntrackEntry {
  original: ConntrackTuple;
  reply: ConntrackTuple;
  id: number;
  mark: number;
  status: number;
  timeoutSeconds: number;
}

/**
 * Operations in another network namespace: each runs on a thread of its own that enters the namespace named by its
 * path and ends afterwards (setns on a pooled thread would poison it).
 */
export interface NetnsOperations {
  /** inode of the namespace, its cookie where the kernel tells (else 0n) */
  netnsIdentity(netns: string): Promise<{ inode: bigint; cookie: bigint }>;
  interfaceIndex(netns: string, name: string): Promise<number>;
  attachTcx(
    netns: string,
    ifindex: number,
    direction: AttachDirection,
    program: BpfProgram,
  ): Promise<BpfLink>;
  /** makes the clsact qdisc where it is absent; replaces a filter of the same handle and priority */
  attachClsact(
    netns: string,
    ifindex: number,
    direction: AttachDirection,
    program: BpfProgram,
    handle: number,
    priority: number,
  ): Promise<void>;
  /** false where there was none; takes the qdisc away where no filter is left in either direction */
  detachClsact(
    netns: string,
    ifindex: number,
    direction: AttachDirection,
    handle: number,
    priority: number,
  ): Promise<boolean>;
  /** programs on the device, in order, TCX first */
  attachedPrograms(
    netns: string,
    ifindex: number,
    direction: AttachDirection,
  ): Promise<Array<ProgramInfo & { kind: 'tcx' | 'clsact' }>>;
  /**
   * states: bit mask over TCP states (1 << state); UDP takes the same mask (connected sockets are ESTABLISHED). With
   * `localPorts` only sockets of these: others cost nothing on our thread.
   */
  listSockets(
    netns: string,
    protocol: 'tcp' | 'udp',
    states: number,
    localPorts?: Uint32Array,
  ): Promise<SocketRecord[]>;
  /**
   * Where TCP listens, or UDP sockets that are not connected have others beside them that are; clients' own sockets are not
   * told. Counted on the thread: of 50,000 sockets some rows come out.
   */
  countSockets(netns: string, protocol: 'tcp' | 'udp'): Promise<SocketCounts>;
  /** closes exactly these sockets (SOCK_DESTROY); returns how many existed */
  destroySockets(netns: string, sockets: SocketRecord[]): Promise<number>;
  /** TCP and UDP entries; with `natOnly` those of which an address or a port was translated (100,000 in some 0.2 s) */
  listConntrack(netns: string, options?: { natOnly?: boolean }): Promise<ConntrackEntry[]>;
  /** by the tuple of either direction */
  lookupConntrack(netns: string, tuple: ConntrackTuple): Promise<ConntrackEntry | undefined>;
  /** false where it was absent */
  deleteConntrack(netns: string, tuple: ConntrackTuple): Promise<boolean>;
  /**
   * Send whole IP packets (IPv4 or IPv6 header included, transport checksum complete) through the namespace's own
   * routing and its egress hooks. Returns how many the kernel took; refusals are told one by one.
   */
  inject(
    netns: string,
    packets: Buffer[],
  ): Promise<{ sent: number; refused: Array<{ index: number; code: string }> }>;
  /**
   * A file under /proc/sys as the namespace has it, `net/ipv4/ip_forward`: what it says, after `pieces` were written to it,
   * each by a write of its own to one open file. Lists take at most 4095 bytes a piece.
   */
  sysctl(netns: string, name: string, pieces?: string[]): Promise<string>;
}

/** Where in a cgroup a program runs. */
export type CgroupHook =
  | `${'connect' | 'sendmsg' | 'recvmsg' | 'getpeername'}${4 | 6}`
  /** BPF_CGROUP_SOCK_OPS */
  | 'sockops'
  /** packets that leave sockets of the cgroup */
  | 'egress';

export interface NativeBinding extends NetnsOperations {
  openObject(path: string): BpfObject;
  openPinnedMap(path: string): BpfMap;
  openPinnedLink(path: string): BpfLink;
  openPinnedProgram(path: string): BpfProgram;
  ringBuffer(map: BpfMap, onRecord: (record: Buffer) => void): RingBuffer;
  flowTable(buckets: BpfMap, slots: BpfMap, config: Buffer): FlowTable;
  /** before the programs of others, where the kernel can */
  attachCgroup(path: string, hook: CgroupHook, program: BpfProgram): BpfLink;
  /** resolves when no BPF program that runs now can still be running: 8 to 23 ms */
  gracePeriod(): Promise<void>;
  /** gives memory that the C library holds and nobody uses back to the kernel */
  trimMemory(): void;
  /** true where the path lies on a bpf file system */
  isBpffs(path: string): boolean;
  mountBpffs(path: string): void;
  unmountBpffs(path: string): void;
  /** what this kernel can do, tried rather than read from its version */
  probe(): {
    btf: boolean;
    tcx: boolean;
    ringBuffer: boolean;
    batch: boolean;
    netnsCookie: boolean;
    kernelContext: boolean;
  };
  possibleCpus(): number;
}

let binding: NativeBinding | undefined;

/** Load the addon once; a failed load says how to mend it. */
export function native(): NativeBinding {
  if (binding === undefined) {
    // Packet tests in a guest lie elsewhere than this package does, and say where the addon is.
    const path = process.env['SERVAL_ADDON'] ?? packageFiles.addon;
    try {
      binding = createRequire(import.meta.url)(path) as NativeBinding;
    } catch (cause) {
      throw new ServalError('ERR_ADDON', {
        subject: path,
        reason: `the native addon can not be loaded (${(cause as Error).message})`,
        remedy: 'Run `npm run bootstrap` as root: it installs libbpf and builds the addon',
        cause,
      });
    }
  }
  return binding;
}

/** True for an error that the addon threw. */
export function isNativeError(error: unknown): error is NativeError {
  // Not by instanceof: under jest the addon's errors come from another realm.
  return types.isNativeError(error) && 'errno' in error && 'operation' in error;
}
