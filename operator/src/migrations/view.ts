/** Pure: what a decision about a migration is made from, and what all phases ask of it. */
import type { Condition, ServalMigration, ServalNode } from '@serval/api';
import { isGoing, type Pod } from '../pods/pod.js';
import { annotations, finalizer, isOurs } from './names.js';

export type Status = NonNullable<ServalMigration['status']>;

export interface View {
  migration: ServalMigration;
  now: Date;
  /** what has the workload's name now */
  workload: Pod | undefined;
  /** what has the target pod's name now */
  target: Pod | undefined;
  nodes: { get(name: string): ServalNode | undefined; list(): readonly ServalNode[] };
  /** another one of the same workload that has to end first */
  before: ServalMigration | undefined;
  answers: Answers;
}

/** What only the API server knows; asked where a decision depends on it. */
export interface Answers {
  /** whether the source's Node is there */
  sourceNode?: 'there' | 'gone';
  /** what was asked for was looked for: `target` is what there is */
  target?: 'known';
  /** why the target pod was refused */
  refusal?: string;
}

export const phases = [
  'Pending',
  'Preparing',
  'Moving',
  'Finishing',
  'Aborting',
  'Succeeded',
  'Failed',
  'Aborted',
] as const;
export type Phase = (typeof phases)[number];

export function phaseOf({ status }: ServalMigration): Phase {
  return phases.find((phase) => phase === status?.phase) ?? 'Pending';
}

export function isEnded({ status }: ServalMigration): boolean {
  return status?.finishedAt !== undefined;
}

export function isDeleted({ metadata }: ServalMigration): boolean {
  return metadata.deletionTimestamp !== undefined;
}

export function isHeld({ metadata }: ServalMigration): boolean {
  return metadata.finalizers?.includes(finalizer) ?? false;
}

const releasedSteps = new Set(['released', 'retiring', 'retired']);
const ownerSteps = new Set(['owner', 'telling', 'switching', 'done']);

/** From here on only the target may run it. */
export function isReleased({ status }: ServalMigration): boolean {
  return releasedSteps.has(status?.sourceStep ?? '') || ownerSteps.has(status?.targetStep ?? '');
}

const defaultSeconds = 600;

/** Until its deadline, ms; not more than 0 when it has passed. */
export function leftMs({ migration: { spec, status }, now }: View): number {
  const startedAt = status?.startedAt === undefined ? now : new Date(status.startedAt);
  return startedAt.getTime() + (spec.deadlineSeconds ?? defaultSeconds) * 1_000 - now.getTime();
}

/** The pod that moves, not another one of its name. */
export function sourceOf({ migration, workload }: View): Pod | undefined {
  return workload?.metadata.uid === migration.metadata.annotations?.[annotations.workload]
    ? workload
    : undefined;
}

/** The pod that takes it in, as long as it can. */
export function liveTarget({ migration, target }: View): Pod | undefined {
  return target !== undefined && isOurs(target, migration) && !isGoing(target) ? target : undefined;
}

export function isAgentReady(node: ServalNode | undefined): boolean {
  return node?.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false;
}

export function conditionOf({ status }: ServalMigration, type: string): Condition | undefined {
  return status?.conditions?.find((each) => each.type === type);
}
