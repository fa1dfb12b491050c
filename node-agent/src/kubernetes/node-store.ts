/**
 * The resources that an agent uses, in Kubernetes: ServalNodes, ServalServices with their EndpointSlices and ServalMigrations
 * as the API server has them, and ServalPods, which are made here of this node's pods.
 */
import type { Kind, Kinds } from '@serval/api';
import type { ResourceHandler, ResourceStore, StatusPatch } from '@serval/kube-runtime';
import type { KubernetesStore } from '@serval/kube-runtime/kubernetes';
import type { LocalPods } from './local-pods.js';

export class NodeStore implements ResourceStore {
  constructor(
    private readonly cluster: KubernetesStore,
    private readonly pods: LocalPods,
  ) {}

  list<Name extends Kind>(kind: Name): Array<Kinds[Name]> {
    return kind === 'ServalPod' ? (this.pods.list() as Array<Kinds[Name]>) : this.cluster.list(kind);
  }

  get<Name extends Kind>(kind: Name, name: string): Kinds[Name] | undefined {
    return kind === 'ServalPod'
      ? (this.pods.get(name) as Kinds[Name] | undefined)
      : this.cluster.get(kind, name);
  }

  watch<Name extends Kind>(kind: Name, handler: ResourceHandler<Name>): () => void {
    return kind === 'ServalPod'
      ? this.pods.watch(handler as ResourceHandler<'ServalPod'>)
      : this.cluster.watch(kind, handler);
  }

  /** Of a ServalPod: what has come to it. */
  async apply<Name extends Kind>(object: Kinds[Name]): Promise<Kinds[Name]> {
    return object.kind === 'ServalPod'
      ? ((await this.pods.arrived(object)) as Kinds[Name])
      : this.cluster.apply(object);
  }

  patchStatus<Name extends Kind>(kind: Name, name: string, status: StatusPatch<Name>): Promise<Kinds[Name]> {
    return this.cluster.patchStatus(kind, name, status);
  }

  /** Of a ServalPod: its workload has left. */
  delete(kind: Kind, name: string): Promise<boolean> {
    return kind === 'ServalPod' ? this.pods.leave(name) : this.cluster.delete(kind, name);
  }

  /** Things that can not be used now. */
  get problems(): number {
    return this.pods.missing;
  }

  silentFor(): number {
    return Math.max(this.cluster.silentFor(), this.pods.silentFor());
  }

  async close(): Promise<void> {
    await Promise.all([this.cluster.close(), this.pods.close()]);
  }
}
