/**
 * The programs of one pod: an instance of their own, whose read-only data carries the pod's id, attached to both ways
 * of its device. By TCX the links are pinned; where the kernel has none (before 6.6), by clsact, whose filters live
 * in the kernel by themselves.
 */
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { native, type AttachDirection, type BpfMap, type BpfProgram } from '../native.js';
import type { SalConfig } from './abi.generated.js';
import { explained } from './errors.js';
import { encodeConfig, mapNames, podsFolder, type MapName } from './pins.js';

const directions: readonly AttachDirection[] = ['ingress', 'egress'];
/** Ours among a device's clsact filters. */
export const clsactHandle = 0x5a1;
export const clsactPriority = 1;

export interface AttachTarget {
  id: number;
  name: string;
  netns: string;
  ifindex: number;
  /** attached by TCX links; else by clsact filters */
  tcx: boolean;
}

export interface Programs {
  ingress: BpfProgram;
  egress: BpfProgram;
}

export interface AttachContext {
  pinRoot: string;
  objectPath: string;
  config: SalConfig;
  maps: Record<MapName, BpfMap>;
  kernelContext: boolean;
}

export function linkPin(pinRoot: string, podId: number, direction: AttachDirection): string {
  return join(podsFolder(pinRoot), `${podId}_${direction}`);
}

/** Load an instance for this pod. The caller closes the programs. */
export async function loadPrograms(context: AttachContext, podId: number): Promise<Programs> {
  return explained(context.objectPath, () => {
    const object = native().openObject(context.objectPath);
    try {
      object.setVariable(
        'config',
        encodeConfig({ ...context.config, pod: podId, kernelContext: context.kernelContext ? 1 : 0 }),
      );
      for (const name of mapNames) object.reuseMap(name, context.maps[name]);
      object.load();
      return { ingress: object.program('sal_ingress'), egress: object.program('sal_egress') };
    } finally {
      object.close();
    }
  });
}

/** Attach both ways, or neither. Ingress first: a reply must never meet an egress rule's packet untranslated. */
export async function attachPod(context: AttachContext, target: AttachTarget): Promise<void> {
  const programs = await loadPrograms(context, target.id);
  try {
    for (const direction of directions) await attachOne(context, target, direction, programs[direction]);
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
  direction: AttachDirection,
  program: BpfProgram,
): Promise<void> {
  await explained(`pod ${target.name}, ${direction} of device ${target.ifindex}`, async () => {
    if (!target.tcx) {
      await native().attachClsact(
        target.netns,
        target.ifindex,
        direction,
        program,
        clsactHandle,
        clsactPriority,
      );
      return;
    }
    const link = await native().attachTcx(target.netns, target.ifindex, direction, program);
    try {
      link.pin(linkPin(context.pinRoot, target.id, direction));
    } finally {
      link.close();
    }
  });
}

/** Detach both ways. Fine where nothing is attached, or where the namespace is gone and took all with it. */
export async function detachPod(context: AttachContext, target: AttachTarget): Promise<void> {
  for (const direction of [...directions].reverse()) {
    if (target.tcx) detachLink(linkPin(context.pinRoot, target.id, direction));
    else
      await native()
        .detachClsact(target.netns, target.ifindex, direction, clsactHandle, clsactPriority)
        .catch(ignoreGone);
  }
}

function detachLink(pin: string): void {
  if (!existsSync(pin)) return;
  const link = native().openPinnedLink(pin);
  try {
    link.detach();
  } finally {
    link.close();
  }
  rmSync(pin);
}

/** The device or its namespace went away, and the filters with it. */
function ignoreGone(error: unknown): void {
  if (!['ENOENT', 'ENODEV', 'EINVAL'].includes((error as { code?: string }).code ?? '')) throw error;
}

/** What is attached now: `missing` where one of both ways has nothing of ours. */
export async function attachedTags(
  context: AttachContext,
  target: AttachTarget,
): Promise<Record<AttachDirection, string | undefined>> {
  const tag = async (direction: AttachDirection): Promise<string | undefined> => {
    if (target.tcx && !existsSync(linkPin(context.pinRoot, target.id, direction))) return undefined;
    const programs = await native().attachedPrograms(target.netns, target.ifindex, direction);
    return programs.find((program) => program.name === `sal_${direction}`)?.tag;
  };
  return { ingress: await tag('ingress'), egress: await tag('egress') };
}

/**
 * Bring what an earlier agent left to this agent's programs: swapped under the link without a gap where they differ,
 * attached where one is missing (the earlier agent was killed half way).
 */
export async function adoptPod(context: AttachContext, target: AttachTarget): Promise<void> {
  const tags = await attachedTags(context, target);
  const programs = await loadPrograms(context, target.id);
  try {
    for (const direction of directions)
      if (tags[direction] !== programs[direction].info().tag)
        await replaceOne(context, target, direction, programs[direction], tags[direction] !== undefined);
  } finally {
    closePrograms(programs);
  }
}

/** A filter is replaced where it is; so is a link's program; a link whose device lost it is made anew. */
async function replaceOne(
  context: AttachContext,
  target: AttachTarget,
  direction: AttachDirection,
  program: BpfProgram,
  isAttached: boolean,
): Promise<void> {
  const pin = linkPin(context.pinRoot, target.id, direction);
  if (!isAttached) rmSync(pin, { force: true });
  if (!target.tcx || !isAttached) return attachOne(context, target, direction, program);
  const link = native().openPinnedLink(pin);
  try {
    link.update(program);
  } finally {
    link.close();
  }
}

export function closePrograms(programs: Programs): void {
  programs.ingress.close();
  programs.egress.close();
}
