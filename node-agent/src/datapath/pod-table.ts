/**
 * The pods: which are known, which have programs attached, and the pinned records of the latter. What it does to one pod
 * must not overlap: the caller keeps the order (lanes.ts).
 */
import { ServalError } from '@serval/api';
import { native } from '../native.js';
import { salLimit, salPod, salPodFlag } from './abi.generated.js';
import { adoptAttachment, attachPod, detachPod, type AttachContext } from './attachment.js';
import { explained } from './errors.js';
import { decodePod, encodePod, noMarks, target, type Attachment, type KnownPod } from './pod-records.js';
import type { PodSpec } from './types.js';

export class PodTable {
  private readonly known = new Map<string, KnownPod>();
  /** of pods that have programs attached, or are about to */
  private readonly ids = new Set<number>();

  constructor(
    private readonly context: AttachContext,
    private readonly tcx: boolean,
  ) {}

  all(): KnownPod[] {
    return [...this.known.values()];
  }

  find(name: string): KnownPod | undefined {
    return this.known.get(name);
  }

  /** @throws ServalError ERR_NOT_FOUND */
  get(name: string): KnownPod {
    const pod = this.known.get(name);
    if (pod !== undefined) return pod;
    throw new ServalError('ERR_NOT_FOUND', {
      subject: `pod ${name}`,
      reason: 'the data plane does not know it',
      remedy: 'Add the pod before its flows; `pods()` lists the known ones',
    });
  }

  /** Make it known, or its devices where it is known already. */
  async put(spec: PodSpec): Promise<void> {
    checkInterfaces(spec);
    const { inode, devices } = await this.look(spec);
    const pod = this.known.get(spec.name);
    if (pod === undefined) {
      this.known.set(spec.name, { ...spec, inode, devices, marks: { ...noMarks } });
      return;
    }
    if (pod.inode !== inode)
      throw new ServalError('ERR_CONFLICT', {
        subject: `pod ${spec.name}`,
        reason: 'the name is taken by a pod in another network namespace',
        remedy: 'Remove the earlier pod first: names are unique on a node',
      });
    pod.netns = spec.netns;
    await this.changeDevices(pod, spec.interfaces, devices);
  }

  forget(name: string): void {
    this.known.delete(name);
  }

  private async look({ name, netns, interfaces }: PodSpec): Promise<{ inode: bigint; devices: number[] }> {
    return explained(`pod ${name} (${netns}, ${interfaces.join(' ')})`, async () => ({
      inode: (await native().netnsIdentity(netns)).inode,
      devices: await Promise.all(interfaces.map((device) => native().interfaceIndex(netns, device))),
    }));
  }

  /** The record knows of all, old and new, while both may be attached: a kill leaves nothing that nobody knows. */
  private async changeDevices(
    pod: KnownPod,
    interfaces: readonly string[],
    devices: number[],
  ): Promise<void> {
    const added = devices.filter((ifindex) => !pod.devices.includes(ifindex));
    const gone = pod.devices.filter((ifindex) => !devices.includes(ifindex));
    if (pod.attached && added.length + gone.length > 0) {
      const both = { ...pod, devices: [...pod.devices, ...added].slice(-salLimit.DEVICES_MAX) };
      this.putRecord(pod.attached.id, encodePod(both, pod.attached));
      await attachPod(this.context, target(pod, pod.attached, added));
      await explained(`pod ${pod.name}`, () =>
        detachPod(this.context, target(pod, pod.attached as Attachment, gone)),
      );
    }
    pod.interfaces = [...interfaces];
    pod.devices = devices;
    this.write(pod);
  }

  /** Free until used: attach with the first rule or mark. Returns its id. */
  async ensureAttached(pod: KnownPod): Promise<number> {
    if (pod.attached) return pod.attached.id;
    const attached = { id: this.freeId(pod), tcx: this.tcx };
    this.ids.add(attached.id);
    try {
      // The record comes first: a kill right after it leaves something to clean up, not something unknown.
      this.putRecord(attached.id, encodePod(pod, attached));
      await attachPod(this.context, target(pod, attached));
    } catch (error) {
      this.release(attached.id);
      throw error;
    }
    pod.attached = attached;
    return attached.id;
  }

  private freeId(pod: KnownPod): number {
    let id = 1;
    while (this.ids.has(id)) id++;
    if (id < salLimit.PODS_MAX) return id;
    throw new ServalError('ERR_TABLE_FULL', {
      subject: `pod ${pod.name}`,
      reason: `${salLimit.PODS_MAX - 1} pods of this node have programs attached already`,
      remedy: 'Wait until flows of other pods have ended',
    });
  }

  async detach(pod: KnownPod): Promise<void> {
    const { attached } = pod;
    if (!attached) return;
    await explained(`pod ${pod.name}`, () => detachPod(this.context, target(pod, attached)));
    delete pod.attached;
    pod.marks = { ...noMarks };
    this.release(attached.id);
  }

  /** Bring the pinned record up to date, and with it what the programs do. */
  write(pod: KnownPod): void {
    if (pod.attached) this.putRecord(pod.attached.id, encodePod(pod, pod.attached));
  }

  /** Read back what an earlier agent left. `ended` is told of pods that ended while no agent was there to see it. */
  async adopt(ended: (id: number) => void): Promise<void> {
    const { count, keys, values } = this.context.maps.sal_pods.entries();
    for (let i = 0; i < count; i++) {
      const record = salPod.read(values, i * salPod.size);
      if (record.flags & salPodFlag.USED) {
        const pod = decodePod(keys.readUInt32LE(i * 4), record);
        await this.adoptPod(pod, pod.attached, ended);
      }
    }
  }

  private async adoptPod(pod: KnownPod, attached: Attachment, ended: (id: number) => void): Promise<void> {
    const identity = await native()
      .netnsIdentity(pod.netns)
      .catch(() => undefined);
    if (identity?.inode !== pod.inode) {
      ended(attached.id);
      await detachPod(this.context, target(pod, attached));
      this.release(attached.id);
      return;
    }
    const present = await adoptAttachment(this.context, target(pod, attached));
    pod.interfaces = pod.interfaces.filter((_, i) => present.includes(pod.devices[i] as number));
    pod.devices = present;
    this.ids.add(attached.id);
    this.known.set(pod.name, pod);
    this.write(pod);
  }

  /** Detach everything. */
  async detachAll(): Promise<void> {
    for (const pod of this.known.values()) await this.detach(pod);
  }

  private release(id: number): void {
    this.putRecord(id, Buffer.alloc(salPod.size));
    this.ids.delete(id);
  }

  private putRecord(id: number, value: Buffer): void {
    const key = Buffer.alloc(4);
    key.writeUInt32LE(id);
    this.context.maps.sal_pods.update(key, value);
  }
}

function checkInterfaces({ name, interfaces }: PodSpec): void {
  if (interfaces.length >= 1 && interfaces.length <= salLimit.DEVICES_MAX) return;
  throw new ServalError('ERR_BAD_INPUT', {
    subject: `pod ${name}`,
    reason: `it has ${interfaces.length} interfaces`,
    remedy: `Name 1 to ${salLimit.DEVICES_MAX} devices of its network namespace`,
  });
}
