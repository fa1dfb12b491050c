/** What is known of a pod, and its pinned record for the next agent: struct sal_pod, where programs are attached. */
import { salLimit, salPod, salPodFlag, type SalPod } from './abi.generated.js';
import type { AttachTarget } from './attachment.js';
import type { PodSpec } from './types.js';

/** What can be wanted of a pod as a whole, beside its rules. */
export interface PodMarks {
  held: boolean;
  quiet: boolean;
  tracked: boolean;
  guests: boolean;
}

export const noMarks: PodMarks = { held: false, quiet: false, tracked: false, guests: false };

export interface Attachment {
  id: number;
  tcx: boolean;
}

export interface KnownPod extends PodSpec {
  inode: bigint;
  /** ifindexes in the order of the interfaces */
  devices: number[];
  marks: PodMarks;
  /** where programs are attached */
  attached?: Attachment;
}

export function encodePod(pod: KnownPod, { tcx }: Attachment): Buffer {
  const { held, quiet, tracked, guests } = pod.marks;
  const value = Buffer.alloc(salPod.size);
  salPod.write(value, 0, {
    flags:
      salPodFlag.USED |
      (held ? salPodFlag.HELD : 0) |
      (quiet ? salPodFlag.QUIET : 0) |
      (tracked ? salPodFlag.TRACKED : 0) |
      (guests ? salPodFlag.GUESTS : 0) |
      (tcx ? 0 : salPodFlag.CLSACT),
    devices: pod.devices.length,
    netnsInode: pod.inode,
    ifindex: [...pod.devices, ...Array<number>(salLimit.DEVICES_MAX - pod.devices.length).fill(0)],
    interfaces: pod.interfaces.join(' '),
    netns: pod.netns,
    name: pod.name,
  });
  return value;
}

export function decodePod(id: number, record: SalPod): KnownPod & { attached: Attachment } {
  const has = (flag: number): boolean => (record.flags & flag) !== 0;
  return {
    name: record.name,
    netns: record.netns,
    interfaces: record.interfaces.split(' '),
    inode: record.netnsInode,
    devices: record.ifindex.slice(0, record.devices),
    marks: {
      held: has(salPodFlag.HELD),
      quiet: has(salPodFlag.QUIET),
      tracked: has(salPodFlag.TRACKED),
      guests: has(salPodFlag.GUESTS),
    },
    attached: { id, tcx: !has(salPodFlag.CLSACT) },
  };
}

export function target(pod: KnownPod, { id, tcx }: Attachment, devices = pod.devices): AttachTarget {
  return { id, tcx, name: pod.name, netns: pod.netns, devices };
}
