/**
 * A pod's entries on both ways of each of its devices. By TCX the links are pinned; where the kernel has none (before
 * 6.6), by clsact, whose filters live in the kernel by themselves.
 */
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { isNativeError, native, type AttachDirection, type BpfProgram } from '../native.js';
import { explained } from './errors.js';
import { detachLink, updateLink } from './pinned-link.js';
import { podsFolder } from './pins.js';
import { closePrograms, loadPrograms, type ProgramContext, type Programs } from './programs.js';

/** Ingress first: a reply must never meet an egress rule's packet untranslated. */
const directions: readonly AttachDirection[] = ['ingress', 'egress'];
/** Ours among a device's clsact filters. */
export const clsactHandle = 0x5a1;
export const clsactPriority = 1;

export interface AttachTarget {
  id: number;
  name: string;
  netns: string;
  /** ifindexes */
  devices: readonly number[];
  /** attached by TCX links; else by clsact filters */
  tcx: boolean;
}

export interface AttachContext extends ProgramContext {
  pinRoot: string;
}

export function linkPin(pinRoot: string, podId: number, ifindex: number, direction: AttachDirection): string {
  return join(podsFolder(pinRoot), `${podId}_${ifindex}_${direction}`);
}

/** Attach both ways of all devices, or nothing. */
export async function attachPod(context: AttachContext, target: AttachTarget): Promise<void> {
  if (target.devices.length === 0) return;
  const programs = await loadPrograms(context, target.id);
  try {
    for (const direction of directions)
      for (const ifindex of target.devices)
        await attachOne(context, target, ifindex, direction, programs[direction]);
  } catch (error) {
    await detachPod(context, target);
    throw error;
  } finally {
    closePrograms(programs);
  }
}

async function attachOne(
  context: AttachContext,
  target: AttachTarget,
  ifindex: number,
  direction: AttachDirection,
  program: BpfProgram,
): Promise<void> {
  const { name, netns, id, tcx } = target;
  await explained(`pod ${name}, ${direction} of device ${ifindex}`, async () => {
    if (!tcx) {
      await native().attachClsact(netns, ifindex, direction, program, clsactHandle, clsactPriority);
      return;
    }
    const link = await native().attachTcx(netns, ifindex, direction, program);
    try {
      link.pin(linkPin(context.pinRoot, id, ifindex, direction));
    } finally {
      link.close();
    }
  });
}

/** Detach from all devices. Fine where nothing is attached, or where the namespace is gone and took all with it. */
export async function detachPod(context: AttachContext, target: AttachTarget): Promise<void> {
  for (const direction of [...directions].reverse())
    for (const ifindex of target.devices)
      if (target.tcx) detachLink(linkPin(context.pinRoot, target.id, ifindex, direction));
      else
        await native()
          .detachClsact(target.netns, ifindex, direction, clsactHandle, clsactPriority)
          .catch(ignoreGone);
}

/** The device or its namespace went away, and the filters with it. */
function ignoreGone(error: unknown): void {
  if (!['ENOENT', 'ENODEV', 'EINVAL'].includes((error as { code?: string }).code ?? '')) throw error;
}

type Tags = Record<AttachDirection, string | undefined>;

/** What is attached now: no tag where a way has nothing of ours; undefined where the device went away. */
async function attachedTags(
  context: AttachContext,
  target: AttachTarget,
  ifindex: number,
): Promise<Tags | undefined> {
  const tag = async (direction: AttachDirection): Promise<string | undefined> => {
    if (target.tcx && !existsSync(linkPin(context.pinRoot, target.id, ifindex, direction))) return undefined;
    const programs = await native().attachedPrograms(target.netns, ifindex, direction);
    return programs.find((program) => program.name === `sal_${direction}`)?.tag;
  };
  try {
    return { ingress: await tag('ingress'), egress: await tag('egress') };
  } catch (error) {
    if (isNativeError(error) && error.code === 'ENODEV') return undefined;
    throw error;
  }
}

/**
 * Bring what an earlier agent left to this agent's entries: swapped under the link without a gap where they differ,
 * attached where one is missing (the earlier agent was killed half way). Returns the devices that are still there.
 */
export async function adoptAttachment(context: AttachContext, target: AttachTarget): Promise<number[]> {
  const programs = await loadPrograms(context, target.id);
  const present: number[] = [];
  try {
    for (const ifindex of target.devices) {
      const tags = await attachedTags(context, target, ifindex);
      if (tags === undefined) await detachPod(context, { ...target, devices: [ifindex] });
      else {
        await adoptDevice(context, target, ifindex, programs, tags);
        present.push(ifindex);
      }
    }
    return present;
  } finally {
    closePrograms(programs);
  }
}

async function adoptDevice(
  context: AttachContext,
  target: AttachTarget,
  ifindex: number,
  programs: Programs,
  tags: Tags,
): Promise<void> {
  for (const direction of directions) {
    const program = programs[direction];
    if (tags[direction] === program.info().tag) continue;
    const pin = linkPin(context.pinRoot, target.id, ifindex, direction);
    const isAttached = tags[direction] !== undefined;
    // A link whose device lost it is made anew; a filter is replaced where it is, and so is a link's program.
    if (!isAttached) rmSync(pin, { force: true });
    if (!target.tcx || !isAttached) await attachOne(context, target, ifindex, direction, program);
    else updateLink(pin, program);
  }
}
