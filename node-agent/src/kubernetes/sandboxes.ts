/**
 * The pod that waits for a workload is made by the kubelet, for an object that the operator has made. Who asks for it, and for
 * which migration, must be what the ServalMigration says.
 */
import { mkdir, rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { objectName, ServalError, workloadOf, type ServalMigration } from '@serval/api';
import type { ResourceStore } from '@serval/kube-runtime';
import { sandboxOf, type Sandbox, type SandboxMaker } from '../agent/sandbox.js';
import { podOf } from '../agent/pods.js';
import type { LocalPods } from './local-pods.js';
import { isWaiting } from './pod-object.js';
import { migrationOf } from './steps.js';

export interface KubernetesSandboxOptions {
  node: string;
  store: ResourceStore;
  pods: LocalPods;
}

/** The source asks again after 30 s; a pod whose image has to be fetched takes longer, and is asked for again. */
const makeMs = 25_000;
/** The kubelet kills what is left within the second of grace that the operator gives it. */
const goneMs = 60_000;

export function kubernetesSandboxes({ node, store, pods }: KubernetesSandboxOptions): SandboxMaker {
  return {
    async create(migration, workload) {
      const signal = AbortSignal.timeout(makeMs);
      const found = await pods.until(() => {
        const declared = migrationOf(store, migration);
        return declared && waitingPod(declared, node, pods);
      }, signal);
      if (found?.cgroup !== undefined) await mkdir(found.cgroup, { recursive: true });
      if (found !== undefined) return found;
      throw notThere(migration, workload.name, node, store);
    },
    // The operator deletes the pod, the kubelet takes it away.
    async remove({ cgroup }) {
      if (cgroup !== undefined) await rmdir(cgroup).catch(() => undefined);
    },
    async leave({ netns }) {
      const signal = AbortSignal.timeout(goneMs);
      await pods.until(() => !pods.list().some(({ spec }) => spec.netns === netns) || undefined, signal);
    },
  };
}

function waitingPod(migration: ServalMigration, node: string, pods: LocalPods): Sandbox | undefined {
  const { targetNode, targetPod } = migration.status ?? {};
  if (targetNode !== node || targetPod === undefined) return undefined;
  const key = `${migration.metadata.namespace ?? 'default'}/${targetPod}`;
  const object = pods.object(key);
  const pod = pods.get(key);
  if (object === undefined || pod === undefined || !isWaiting(object)) return undefined;
  const { holder } = pods.place(key) ?? {};
  return {
    ...sandboxOf(podOf(pod)),
    pod: key,
    ...(holder === undefined ? {} : { pausePid: holder.pid, cgroup: beside(holder.cgroup, migration) }),
  };
}

/** A cgroup for what is restored, beside that of the process which holds the pod's namespaces. */
function beside(cgroup: string, { status }: ServalMigration): string {
  return join(dirname(cgroup), `serval-${status?.migration ?? ''}`);
}

function notThere(migration: string, workload: string, node: string, store: ResourceStore): ServalError {
  const declared = migrationOf(store, migration);
  const subject = `pod for ${workload}`;
  if (declared?.status?.targetNode !== node)
    return new ServalError('ERR_NO_PERMISSION', {
      subject,
      reason: `no ServalMigration says that migration ${migration} comes to ${node}`,
      remedy: 'Create a ServalMigration; the operator names its target',
    });
  return new ServalError('ERR_MOVER', {
    subject,
    reason: `pod ${declared.status.targetPod ?? ''} of ServalMigration ${objectName(declared)} has no network on ${node} yet`,
    remedy: `See kubectl describe pod: of ${workloadOf(declared)}'s target; it is asked for again`,
  });
}
