/** Pure: what objects of a migration are called, so that whoever goes on with it finds them. */
import { createHash } from 'node:crypto';
import { objectName, type ServalMigration } from '@serval/api';
import type { Pod } from '../pods/pod.js';

export const finalizer = 'serval.io/migration';

/**
 * The RuntimeClass of a pod that waits for a workload: its handler holds the containers back. Without it the API server refuses the
 * pod, which is as it has to be: an ordinary runtime would start a second copy beside the one that is to move.
 */
export const runtimeClass = 'serval';

export const annotations = {
  /** on the target pod: `namespace/name` of the ServalMigration, and its id */
  migration: 'serval.io/migration',
  id: 'serval.io/migration-id',
  /** on the target pod: labels and owner references that it gets at the end, as JSON */
  holds: 'serval.io/holds',
  /** on a pod that was moved: what it was called before its first move */
  name: 'serval.io/name',
  /** on a pod that was moved: the affinity that it had before, as JSON */
  affinity: 'serval.io/affinity',
  /** on a pod, by its user: what moves it */
  mover: 'serval.io/mover',
  /** on a pod, by its user: sessions of unconnected UDP sockets move as well */
  trackUdp: 'serval.io/track-udp',
  /** on the ServalMigration: which pod of that name it is that moves */
  workload: 'serval.io/workload-uid',
} as const;

/** The same after any restart. */
export function migrationId({ metadata }: ServalMigration): string {
  return createHash('sha256')
    .update(metadata.uid ?? '')
    .digest('hex')
    .slice(0, 16);
}

const mostOfName = 253;
const digits = 8;

/** Pods that move often keep names of the same length. */
export function targetName(source: Pod, id: string): string {
  const base = baseName(source).slice(0, mostOfName - digits - 1);
  return `${base.replace(/[.-]+$/, '')}-${id.slice(0, digits)}`;
}

export function baseName({ metadata }: Pod): string {
  return metadata.annotations?.[annotations.name] ?? metadata.name;
}

/** Whether it was made for this migration; anybody may have made one of its name. */
export function isOurs(pod: Pod, migration: ServalMigration): boolean {
  const has = pod.metadata.annotations;
  return (
    has?.[annotations.migration] === objectName(migration) && has[annotations.id] === migrationId(migration)
  );
}
