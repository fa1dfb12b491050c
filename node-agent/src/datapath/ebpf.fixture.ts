/** What the kernel tests of the eBPF data plane share: a bpf file system of their own, pods, and packets to play. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execFileSync, spawnSync } from 'node:child_process';
import { native } from '../native.js';
import { frame, ipv4, ipv6, tcp, udp } from '../packet-tests/builder.js';
import { salPod, salPodFlag, salReason } from './abi.generated.js';
import { defaultObjectPath } from './ebpf.js';
import type { Verdict } from './fake.js';
import { closeMaps, openMaps } from './pins.js';
import { closePrograms, loadPrograms } from './programs.js';
import type { DropReason, Endpoint, FlowTuple, PodSpec, Protocol } from './types.js';

/** TC_ACT_SHOT. A redirect may be one to nowhere (what is held has to look sent) or to where a route leads. */
const shot = 2;

/** A folder with a bpf file system, and network namespaces with an eth0 each. */
export class KernelFixture {
  readonly bpffs = mkdtempSync(join(tmpdir(), 'serval-bpffs-'));
  private readonly namespaces: string[] = [];

  constructor(label: string, pods: number) {
    native().mountBpffs(this.bpffs);
    for (let i = 0; i < pods; i++) {
      const name = `serval-${label}-${process.pid}-${i}`;
      execFileSync('ip', ['netns', 'add', name]);
      this.namespaces.push(name);
      execFileSync('ip', ['-n', name, 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'far0']);
      execFileSync('ip', ['-n', name, 'link', 'set', 'eth0', 'up']);
      execFileSync('ip', ['-n', name, 'link', 'set', 'far0', 'up']);
    }
  }

  pod(index: number): PodSpec {
    return { name: `ns/pod-${index}`, netns: `/run/netns/${this.namespaces[index]}`, interfaces: ['eth0'] };
  }

  /** Take a pod's namespace away, as the end of a pod does. */
  endPod(index: number): void {
    execFileSync('ip', ['netns', 'delete', this.namespaces[index] as string]);
  }

  dispose(): void {
    for (const name of this.namespaces) spawnSync('ip', ['netns', 'delete', name]);
    native().unmountBpffs(this.bpffs);
    rmSync(this.bpffs, { recursive: true });
  }

  /** Play one packet through the program that this pod would have; without an attached one it passes. */
  async send(
    pod: string,
    direction: 'egress' | 'ingress',
    protocol: Protocol,
    tuple: FlowTuple,
    opens = false,
  ): Promise<Verdict> {
    const { maps } = await openMaps({
      pinRoot: join(this.bpffs, 'serval'),
      objectPath: defaultObjectPath,
      slots: 0,
    });
    try {
      const { keys, values, count } = maps.sal_pods.entries();
      const found = Array.from({ length: count }, (_, i) => i).find((i) => {
        const record = salPod.read(values, i * salPod.size);
        return record.flags & salPodFlag.USED && record.name === pod;
      });
      if (found === undefined) return { kind: 'pass', tuple };
      const programs = await loadPrograms(
        { objectPath: defaultObjectPath, maps },
        keys.readUInt32LE(found * 4),
      );
      const before = dropTotals(maps.sal_drops.entries().values);
      const result = programs[direction].run({ data: packetOf(direction, protocol, tuple, opens) });
      closePrograms(programs);
      const reason = risen(before, dropTotals(maps.sal_drops.entries().values));
      if (reason !== undefined) return { kind: 'drop', reason };
      if (result.verdict === shot) throw new Error('a packet was dropped without a reason');
      return { kind: 'pass', tuple: tupleOf(direction, result.data) };
    } finally {
      closeMaps(maps);
    }
  }
}

function dropTotals(values: Buffer): bigint[] {
  const cpus = native().possibleCpus();
  const reasons = values.length / (16 * cpus);
  return Array.from({ length: reasons }, (_, reason) => {
    let sum = 0n;
    for (let cpu = 0; cpu < cpus; cpu++) sum += values.readBigUInt64LE((reason * cpus + cpu) * 16);
    return sum;
  });
}

function risen(before: readonly bigint[], after: readonly bigint[]): DropReason | undefined {
  const number = after.findIndex((count, i) => count === (before[i] ?? 0n) + 1n);
  return Object.entries(salReason).find(([, value]) => value === number)?.[0] as DropReason | undefined;
}

function packetOf(
  direction: 'egress' | 'ingress',
  protocol: Protocol,
  tuple: FlowTuple,
  opens: boolean,
): Buffer {
  const [from, to] = direction === 'egress' ? [tuple.local, tuple.remote] : [tuple.remote, tuple.local];
  const segment = (protocol === 'tcp' ? tcp : udp)({
    from: from.port,
    to: to.port,
    ...(opens ? { flags: 'S' } : { payload: Buffer.from('hello') }),
  });
  const ends = { from: from.address, to: to.address };
  return frame({}, from.address.includes(':') ? ipv6(ends, segment) : ipv4(ends, segment));
}

function tupleOf(direction: 'egress' | 'ingress', data: Buffer): FlowTuple {
  const isSix = (data[14] as number) >> 4 === 6;
  const ports = isSix ? 54 : 34;
  const address = (at: number): string =>
    isSix ? shortened(data.toString('hex', at, at + 16)) : data.subarray(at, at + 4).join('.');
  const source: Endpoint = { address: address(isSix ? 22 : 26), port: data.readUInt16BE(ports) };
  const destination: Endpoint = { address: address(isSix ? 38 : 30), port: data.readUInt16BE(ports + 2) };
  return direction === 'egress'
    ? { local: source, remote: destination }
    : { local: destination, remote: source };
}

/** Node's URL parser writes IPv6 addresses as RFC 5952 wants them: independent of our own code. */
function shortened(hex: string): string {
  return new URL(`http://[${hex.replace(/(.{4})(?!$)/g, '$1:')}]`).hostname.slice(1, -1);
}
