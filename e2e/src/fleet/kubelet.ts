/**
 * Runs pods of an API server in a lab, as kubelets would: namespaces, a process that holds them, cgroups by uid and container id,
 * the program that the container names, and the status. A pod that waits for a workload gets all but the program, and is called
 * running when its workload has come: in a real cluster the container runtime sees to that.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ServalError } from '@serval/api';
import {
  keyOf,
  Reflector,
  statusOf,
  type KubeClient,
  type KubeObject,
} from '@serval/kube-runtime/kubernetes';
import { placeInCgroup } from '@serval/node-agent';
import type { Lab, Pod } from '../lab/index.js';

const migrationId = 'serval.io/migration-id';

interface KubePod extends KubeObject {
  spec: { nodeName?: string; containers: Array<{ name: string; image: string; command?: string[] }> };
  status?: { phase?: string };
}

interface Run {
  pod: Pod;
  cgroup: string;
  container: string;
  isRunning: boolean;
}

const patienceMs = 20_000;

export class LabKubelet {
  private readonly runs = new Map<string, Run>();
  private readonly turns = new Map<string, Promise<void>>();
  private readonly pods: Reflector;
  private readonly migrations: Reflector;
  private count = 0;
  /** keys of pods in the order in which they were made */
  readonly made: string[] = [];

  private constructor(
    private readonly lab: Lab,
    private readonly client: KubeClient,
  ) {
    this.pods = new Reflector({
      client,
      path: '/api/v1/pods',
      onChange: ({ object }) => this.look(keyOf(object)),
      onError: () => undefined,
    });
    this.migrations = new Reflector({
      client,
      path: '/apis/serval.io/v1alpha1/servalmigrations',
      onChange: () => [...this.runs.keys()].forEach((key) => this.look(key)),
      onError: () => undefined,
    });
  }

  static async start(lab: Lab, client: KubeClient): Promise<LabKubelet> {
    const kubelet = new LabKubelet(lab, client);
    await Promise.all([kubelet.migrations.start(), kubelet.pods.start()]);
    return kubelet;
  }

  async stop(): Promise<void> {
    await Promise.all([this.pods.stop(), this.migrations.stop()]);
    await Promise.allSettled(this.turns.values());
  }

  /** Where a pod of the API server's runs. @param key `namespace/name` */
  async pod(key: string): Promise<Pod> {
    for (const until = performance.now() + patienceMs; performance.now() < until; await delay(10)) {
      const run = this.runs.get(key);
      if (run !== undefined) return run.pod;
    }
    throw new ServalError('ERR_NOT_FOUND', {
      subject: `pod ${key}`,
      reason: `it does not run after ${patienceMs} ms`,
      remedy: 'See that it names a node of the lab',
    });
  }

  /** One thing after the other for each pod. */
  private look(key: string): void {
    const turn = (this.turns.get(key) ?? Promise.resolve()).then(() => this.sync(key));
    this.turns.set(
      key,
      turn.catch((error: unknown) => console.error(`kubelet, ${key}:`, error)),
    );
  }

  private async sync(key: string): Promise<void> {
    const object = this.pods.get(key) as KubePod | undefined;
    const run = this.runs.get(key);
    if (object === undefined || object.metadata.deletionTimestamp !== undefined) {
      if (run !== undefined) await this.takeAway(key, run);
      if (object !== undefined) await this.confirm(object);
      return;
    }
    if (object.spec.nodeName === undefined) return;
    if (run === undefined) return this.make(key, object);
    if (!run.isRunning && this.hasArrived(object)) await this.tell(object, run, true);
  }

  private async make(key: string, object: KubePod): Promise<void> {
    const { uid = '', annotations = {} } = object.metadata;
    const pod = await this.lab.createPod({ name: `k${++this.count}`, host: object.spec.nodeName ?? '' });
    const cgroup = this.lab.cgroup(`pod${uid}`);
    const run: Run = { pod, cgroup, container: idOf(uid, 'container'), isRunning: false };
    placeInCgroup(folder(cgroup, idOf(uid, 'pause')), pod.pausePid);
    this.runs.set(key, run);
    this.made.push(key);
    if (annotations[migrationId] !== undefined) return this.tell(object, run, false);
    const [command, ...args] = object.spec.containers[0]?.command ?? ['/bin/sleep', 'infinity'];
    const child = pod.spawn(command ?? '', args, { dumpable: true, stdio: 'ignore' });
    const { pid } = await pod.processOf(child);
    placeInCgroup(folder(cgroup, run.container), pid);
    await this.tell(object, run, true);
  }

  private hasArrived({ metadata }: KubePod): boolean {
    const id = metadata.annotations?.[migrationId];
    return [...this.migrations.values()].some((object) => {
      const { migration, targetStep } = (object as { status?: Record<string, string> }).status ?? {};
      return migration === id && targetStep === 'done';
    });
  }

  private async tell(object: KubePod, run: Run, isRunning: boolean): Promise<void> {
    const { pod, container } = run;
    const [spec] = object.spec.containers;
    const state = isRunning
      ? { running: { startedAt: new Date().toISOString() } }
      : { waiting: { reason: 'ContainerCreating' } };
    const condition = (type: string, status: boolean): object => ({
      type,
      status: status ? 'True' : 'False',
    });
    const { namespace = '', name } = object.metadata;
    await this.client.request({
      method: 'PATCH',
      path: `/api/v1/namespaces/${namespace}/pods/${name}/status`,
      contentType: 'application/merge-patch+json',
      body: {
        status: {
          phase: isRunning ? 'Running' : 'Pending',
          podIP: pod.address4,
          podIPs: [{ ip: pod.address4 }, { ip: pod.address6 }],
          conditions: [
            condition('PodScheduled', true),
            condition('Initialized', true),
            condition('ContainersReady', isRunning),
            condition('Ready', isRunning),
          ],
          containerStatuses: [
            {
              ...{ name: spec?.name, image: spec?.image, imageID: '', restartCount: 0 },
              ...{ ready: isRunning, started: isRunning, state },
              ...(isRunning ? { containerID: `containerd://${container}` } : {}),
            },
          ],
        },
      },
    });
    run.isRunning = isRunning;
  }

  private async takeAway(key: string, { pod }: Run): Promise<void> {
    await pod.remove();
    this.runs.delete(key);
  }

  /** As the kubelet does when nothing of it is left. */
  private async confirm({ metadata: { namespace = '', name, uid } }: KubePod): Promise<void> {
    await this.client
      .request({
        method: 'DELETE',
        path: `/api/v1/namespaces/${namespace}/pods/${name}`,
        body: { kind: 'DeleteOptions', apiVersion: 'v1', gracePeriodSeconds: 0, preconditions: { uid } },
      })
      .catch((error: unknown) => {
        if (statusOf(error) !== 404 && statusOf(error) !== 409) throw error;
      });
  }
}

/** As container runtimes number them. */
function idOf(uid: string, what: string): string {
  return createHash('sha256').update(`${uid} ${what}`).digest('hex');
}

function folder(cgroup: string, name: string): string {
  const path = join(cgroup, name);
  if (!existsSync(path)) mkdirSync(path);
  return path;
}
