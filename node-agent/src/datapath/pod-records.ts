/** The pods that have programs attached, as they are pinned for the next agent: struct sal_pod. */
import { salPod, salPodFlag, type SalPod } from './abi.generated.js';
import type { AttachTarget } from './attachment.js';
import type { PodSpec } from './types.js';

export interface KnownPod extends PodSpec {
  inode: bigint;
  ifindex: number;
  held: boolean;
  quiet: boolean;
  /** id and way of attachment, where programs are attached */
  attached?: { id: number; tcx: boolean };
}

export function encodePod(pod: KnownPod, tcx: boolean): Buffer {
  const flags =
    salPodFlag.USED |
    (pod.held ? salPodFlag.HELD : 0) |
    (pod.quiet ? salPodFlag.QUIET : 0) |
    (tcx ? 0 : salPodFlag.CLSACT);
  const value = Buffer.alloc(salPod.size);
  salPod.write(value, 0, {
    flags,
    ifindex: pod.ifindex,
    netnsInode: pod.inode,
    interface: pod.interface,
    netns: pod.netns,
    name: pod.name,
  });
  return value;
}

export function decodePod(id: number, record: SalPod): KnownPod {
  return {
    name: record.name,
    netns: record.netns,
    interface: record.interface,
    inode: record.netnsInode,
    ifindex: record.ifindex,
    held: (record.flags & salPodFlag.HELD) !== 0,
    quiet: (record.flags & salPodFlag.QUIET) !== 0,
    attached: { id, tcx: (record.flags & salPodFlag.CLSACT) === 0 },
  };
}

export function target(pod: KnownPod): AttachTarget {
  const { id, tcx } = pod.attached ?? { id: 0, tcx: true };
  return { id, tcx, name: pod.name, netns: pod.netns, ifindex: pod.ifindex };
}
