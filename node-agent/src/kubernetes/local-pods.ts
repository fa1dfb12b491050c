/**
 * This node's pods, as ServalPods: what the API server says of them, and where they are on this machine. The latter is looked
 * for when something about a pod has changed, and again until it is found.
 */
import { isDeepStrictEqual } from 'node:util';
import { objectName, type ServalPod } from '@serval/api';
import type { Logger, ResourceHandler } from '@serval/kube-runtime';
import { keyOf, Reflector, type KubeClient, type ObjectChange } from '@serval/kube-runtime/kubernetes';
import type { Arrivals } from './arrivals.js';
import { podObject, servalPodOf, type PodObject, type PodPlace } from './pod-object.js';

export interface LocalPodsOptions {
  client: KubeClient;
  node: string;
  /** by the pods' uids */
  find: (pods: readonly PodObject[]) => Promise<ReadonlyMap<string, PodPlace>>;
  arrivals: Arrivals;
  log: Logger;
}

/** Changes come several at a time. */
const gatherMs = 5;
/** The API server may tell of a container before its process can be seen, and of one that ended after that. */
const againMs = { first: 50, most: 5_000 };
/** Then people are told, once. */
const lateLooks = 8;

type Handler = ResourceHandler<'ServalPod'>;

export class LocalPods {
  private readonly reflector: Reflector;
  private readonly known = new Map<string, ServalPod>();
  private readonly places = new Map<string, PodPlace>();
  private readonly handlers = new Set<Handler>();
  /** to be looked for, by key, and how often they were not found */
  private readonly wanted = new Map<string, number>();
  /** uids of pods whose workload has left: nothing of them is told any more */
  private readonly left = new Set<string>();
  private readonly changed = new Set<() => void>();
  private timer: NodeJS.Timeout | undefined;
  private looking: Promise<void> = Promise.resolve();
  private isClosed = false;

  private constructor(private readonly options: LocalPodsOptions) {
    const { client, node, log } = options;
    this.reflector = new Reflector({
      client,
      path: '/api/v1/pods',
      fieldSelector: `spec.nodeName=${node}`,
      shape: podObject,
      onChange: (change) => this.take(change),
      onError: (error) => log.warn({ err: error, kind: 'Pod' }, 'a watch broke; it is begun again'),
    });
  }

  /** Resolves when all pods were listed, however long the API server takes, and looked for once. */
  static async open(options: LocalPodsOptions): Promise<LocalPods> {
    const pods = new LocalPods(options);
    await pods.reflector.start();
    await pods.look();
    await pods.forgetArrivals();
    return pods;
  }

  list(): ServalPod[] {
    return [...this.known.values()];
  }

  /** @param key `namespace/name` */
  get(key: string): ServalPod | undefined {
    return this.known.get(key);
  }

  watch(handler: Handler): () => void {
    this.handlers.add(handler);
    for (const object of this.known.values()) handler({ type: 'added', object });
    return () => this.handlers.delete(handler);
  }

  /** Where it was found. */
  place(key: string): PodPlace | undefined {
    return this.places.get(key);
  }

  /** As the API server has it, whether or not it was found here. */
  object(key: string): PodObject | undefined {
    return this.reflector.get(key) as PodObject | undefined;
  }

  /** Resolves with what `look` finds, as soon as it finds something; looks whenever a pod has changed, or somebody says so. */
  async until<Found>(look: () => Found | undefined, signal: AbortSignal): Promise<Found | undefined> {
    for (;;) {
      const found = look();
      if (found !== undefined || signal.aborted || this.isClosed) return found;
      await new Promise<void>((resolve) => {
        const done = (): void => {
          this.changed.delete(done);
          signal.removeEventListener('abort', done);
          resolve();
        };
        this.changed.add(done);
        signal.addEventListener('abort', done);
      });
    }
  }

  /** Something else has changed that is waited for. */
  wake(): void {
    for (const done of [...this.changed]) done();
  }

  /** A pod that no object of the API server's stands for: the node's own processes. */
  declare(pod: ServalPod): void {
    this.put(objectName(pod), pod);
  }

  /** A workload has come to this pod. */
  async arrived({ metadata, spec }: ServalPod): Promise<ServalPod> {
    const key = objectName({ kind: 'ServalPod', metadata });
    const pod = this.object(key);
    const { uid, epoch, mover, identityAddresses, process } = spec;
    const arrival = JSON.parse(
      JSON.stringify({ uid, epoch, mover, identityAddresses, process }),
    ) as typeof spec;
    // Deleted in the meantime: it is told so, or was already.
    if (pod?.metadata.uid === undefined)
      return { apiVersion: 'serval.io/v1alpha1', kind: 'ServalPod', metadata, spec };
    await this.options.arrivals.put(pod.metadata.uid, arrival);
    const place = { netns: spec.netns, ...(spec.process === undefined ? {} : { process: spec.process }) };
    const object = servalPodOf(pod, { node: this.options.node, place, arrival });
    this.put(key, object);
    return object;
  }

  /** Its workload has gone: it is told as deleted, though its object may be there for a while. */
  async leave(key: string): Promise<boolean> {
    const uid = this.object(key)?.metadata.uid;
    if (uid !== undefined) {
      this.left.add(uid);
      await this.options.arrivals.remove(uid);
    }
    return this.drop(key);
  }

  /** Pods that have been looked for in vain for long. */
  get missing(): number {
    return [...this.wanted.values()].filter((looks) => looks >= lateLooks).length;
  }

  silentFor(): number {
    return this.reflector.silentFor();
  }

  async close(): Promise<void> {
    this.isClosed = true;
    clearTimeout(this.timer);
    this.wake();
    await this.reflector.stop();
    await this.looking;
  }

  private take({ type, object }: ObjectChange): void {
    const pod = object as unknown as PodObject;
    const key = keyOf(object);
    const { uid = '' } = pod.metadata;
    if (type === 'deleted') {
      this.wanted.delete(key);
      this.left.delete(uid);
      this.drop(key);
      void this.options.arrivals.remove(uid).catch((error: unknown) => this.failed(error));
    } else if (pod.hostNetwork || pod.over) {
      this.wanted.delete(key);
      this.drop(key);
    } else {
      this.wanted.set(key, 0);
      this.lookSoon(gatherMs);
    }
    this.wake();
  }

  private lookSoon(ms: number): void {
    if (this.isClosed) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.look(), ms).unref();
  }

  /** One look after the other. */
  private look(): Promise<void> {
    this.looking = this.looking.then(() => this.lookNow()).catch((error: unknown) => this.failed(error));
    return this.looking;
  }

  private async lookNow(): Promise<void> {
    const pods = [...this.wanted.keys()].flatMap((key) => {
      const pod = this.object(key);
      return pod === undefined ? [] : [{ key, pod }];
    });
    if (pods.length === 0) return;
    const places = await this.options.find(pods.map(({ pod }) => pod));
    for (const { key, pod } of pods) this.found(key, pod, places.get(pod.metadata.uid ?? ''));
    this.wake();
    const looks = [...this.wanted.values()];
    if (looks.length > 0) this.lookSoon(Math.min(againMs.most, againMs.first * 2 ** Math.min(...looks)));
  }

  private found(key: string, pod: PodObject, place: PodPlace | undefined): void {
    const now = this.object(key);
    // Another one of its name, or none: that is looked for by itself.
    if (now?.metadata.uid !== pod.metadata.uid) return;
    if (place === undefined || pod.addresses.length === 0) return this.notFound(key, pod);
    if (now?.metadata.resourceVersion === pod.metadata.resourceVersion) this.wanted.delete(key);
    const { uid = '', deletionTimestamp } = pod.metadata;
    const isGoing = deletionTimestamp !== undefined && pod.containers.length === 0;
    if (this.left.has(uid) || (isGoing && !this.known.has(key))) return;
    const arrival = this.options.arrivals.get(uid);
    this.places.set(key, place);
    this.put(key, servalPodOf(pod, { node: this.options.node, place, arrival }));
  }

  private notFound(key: string, pod: PodObject): void {
    const looks = (this.wanted.get(key) ?? 0) + 1;
    const isDue = pod.containers.length > 0 || pod.addresses.length > 0;
    // Nothing of it has been made yet: its next change tells.
    if (!isDue) this.wanted.delete(key);
    else this.wanted.set(key, looks);
    if (isDue && looks === lateLooks)
      this.options.log.warn(
        { pod: key, containers: pod.containers, addresses: pod.addresses },
        'no process of this pod can be found, though the API server says that it runs: its connections can not be kept; see that ' +
          "the machine's /proc is mounted where `kubernetes.proc` says",
      );
  }

  private put(key: string, object: ServalPod): void {
    const before = this.known.get(key);
    if (isDeepStrictEqual(before, object)) return;
    this.known.set(key, object);
    this.tell(before === undefined ? 'added' : 'modified', object);
  }

  private drop(key: string): boolean {
    const object = this.known.get(key);
    if (object === undefined) return false;
    this.known.delete(key);
    this.places.delete(key);
    this.tell('deleted', object);
    return true;
  }

  private tell(type: 'added' | 'modified' | 'deleted', object: ServalPod): void {
    for (const handler of this.handlers)
      try {
        handler({ type, object });
      } catch (error) {
        this.failed(error);
      }
  }

  /** Of pods that went while no agent was there. */
  private async forgetArrivals(): Promise<void> {
    const uids = new Set([...this.reflector.values()].map(({ metadata }) => metadata.uid ?? ''));
    for (const uid of this.options.arrivals.pods())
      if (!uids.has(uid)) await this.options.arrivals.remove(uid);
  }

  private failed(error: unknown): void {
    this.options.log.error({ err: error }, "this node's pods can not be taken in");
  }
}
