/** Which nodes have an agent whose pod is Ready, as the kubelet finds it. */
import { keyOf, type KubeObject } from '@serval/kube-runtime/kubernetes';
import { isGoing, isReady, type Pod } from '../pods/pod.js';
import type { Pods } from '../pods/pods.js';

/** As the chart labels them. */
const labels = { 'app.kubernetes.io/name': 'serval', 'app.kubernetes.io/component': 'agent' };

export class AgentPods {
  /** keys of Ready ones, by node */
  private readonly ready = new Map<string, Set<string>>();
  /** by key: the node that it is on */
  private readonly nodes = new Map<string, string>();
  private readonly listeners = new Set<(node: string) => void>();
  private readonly end: () => void;

  /** @param namespace of the operator: anybody may make pods with these labels elsewhere */
  constructor(
    pods: Pick<Pods, 'values' | 'follow'>,
    private readonly namespace: string,
  ) {
    this.end = pods.follow(({ type, object }) => this.take(object, type === 'deleted'));
    for (const object of pods.values()) this.take(object, false);
  }

  isReady(node: string): boolean {
    return this.ready.has(node);
  }

  /** Tells of which node it is another matter now. Returns what ends it. */
  follow(listener: (node: string) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  stop(): void {
    this.end();
  }

  private take(object: KubeObject, isGone: boolean): void {
    const pod = object as unknown as Pod;
    if (!this.isAgent(pod)) return;
    const key = keyOf(object);
    const node = isGone || isGoing(pod) || !isReady(pod) ? undefined : pod.spec.nodeName;
    const before = this.nodes.get(key);
    if (before === node) return;
    if (before !== undefined) this.remove(before, key);
    if (node !== undefined) this.add(node, key);
  }

  private isAgent({ metadata }: Pod): boolean {
    return (
      metadata.namespace === this.namespace &&
      Object.entries(labels).every(([name, value]) => metadata.labels?.[name] === value)
    );
  }

  private add(node: string, key: string): void {
    this.nodes.set(key, node);
    const keys = this.ready.get(node) ?? new Set();
    this.ready.set(node, keys.add(key));
    if (keys.size === 1) this.tell(node);
  }

  private remove(node: string, key: string): void {
    this.nodes.delete(key);
    const keys = this.ready.get(node);
    keys?.delete(key);
    if (keys?.size !== 0) return;
    this.ready.delete(node);
    this.tell(node);
  }

  private tell(node: string): void {
    for (const listener of this.listeners) listener(node);
  }
}
