/** ServalNodes of agents that say nothing: doubted, and deleted when their node is gone as well. */
import { ServalError, type ServalNode } from '@serval/api';
import { systemClock, type Clock, type Outcome } from '@serval/kube-runtime';
import { statusOf, type KubeClient, type KubernetesStore } from '@serval/kube-runtime/kubernetes';
import type { Told } from '../told.js';
import type { AgentPods } from './agent-pods.js';
import { doubtMs, planNode } from './plan.js';

export interface NodeControllerDeps {
  client: Pick<KubeClient, 'request'>;
  store: Pick<KubernetesStore, 'get' | 'watch' | 'patchStatus' | 'read'>;
  agents: Pick<AgentPods, 'isReady' | 'follow'>;
  tell: (told: Told) => void;
  clock?: Clock;
}

/** What an agent said last, and when that came here, or its pod was last seen to change. */
interface Heard {
  word: string;
  at: number;
}

export class NodeController {
  private readonly heard = new Map<string, Heard>();
  private readonly clock: Clock;

  constructor(private readonly deps: NodeControllerDeps) {
    this.clock = deps.clock ?? systemClock;
  }

  /**
   * Tells which to look at: each once, when it comes, and when its agent's pod becomes Ready or isn't any more; from then on it is
   * looked at when it may have been silent for too long. Returns what ends it.
   */
  follow(look: (name: string) => void): () => void {
    const endPods = this.deps.agents.follow((name) => {
      const heard = this.heard.get(name);
      if (heard === undefined) return;
      heard.at = this.clock.now();
      look(name);
    });
    const end = this.deps.store.watch('ServalNode', ({ type, object }) => {
      const { name } = object.metadata;
      const before = this.heard.get(name);
      if (type === 'deleted') this.heard.delete(name);
      else this.hear(object);
      // One that comes back may go again, long before it would be looked at.
      const wasSilent = before !== undefined && this.clock.now() - before.at >= doubtMs;
      if (type !== 'modified' || wasSilent) look(name);
    });
    return () => {
      endPods();
      end();
    };
  }

  async reconcile(name: string): Promise<Outcome> {
    const { store } = this.deps;
    const known = store.get('ServalNode', name);
    if (known === undefined) return {};
    const first = this.plan(known);
    if (first.do === 'nothing') return { requeueAfterMs: first.againMs };
    // A watch that is late is no silence of the agent's.
    const node = await store.read('ServalNode', name);
    if (node === undefined) return {};
    const plan = this.plan(node);
    if (plan.do === 'doubt') {
      const { resourceVersion } = node.metadata;
      await store.patchStatus('ServalNode', name, { conditions: plan.conditions }, resourceVersion);
      const { reason, message } = plan.ready;
      this.deps.tell({ object: node, type: 'Warning', reason, message });
    }
    if (plan.do === 'look-for-node' && (await this.isGone(name))) await this.delete(node);
    return this.later(store.get('ServalNode', name));
  }

  private later(node: ServalNode | undefined): Outcome {
    if (node === undefined) return {};
    const plan = this.plan(node);
    // Time went by since the plan that was carried out: what was not due then may be now.
    return { requeueAfterMs: plan.do === 'doubt' ? 0 : plan.againMs };
  }

  private plan(node: ServalNode): ReturnType<typeof planNode> {
    const silentMs = this.clock.now() - this.hear(node);
    const isReady = this.deps.agents.isReady(node.metadata.name);
    return planNode(node, isReady ? undefined : silentMs, this.clock.date());
  }

  /** Returns when its last word came. Whatever was said before this process looked counts as said when it did. */
  private hear({ metadata, status }: ServalNode): number {
    const word = `${metadata.uid} ${status?.lastSeen}`;
    const before = this.heard.get(metadata.name);
    if (before?.word === word) return before.at;
    const at = this.clock.now();
    this.heard.set(metadata.name, { word, at });
    return at;
  }

  private async isGone(name: string): Promise<boolean> {
    try {
      await this.deps.client.request({ path: `/api/v1/nodes/${encodeURIComponent(name)}` });
      return false;
    } catch (error) {
      if (statusOf(error) === 404) return true;
      throw error;
    }
  }

  /** This one as it was read, and no later one: its agent may have come back. */
  private async delete({ metadata }: ServalNode): Promise<void> {
    const { name, uid, resourceVersion } = metadata;
    try {
      await this.deps.client.request({
        method: 'DELETE',
        path: `/apis/serval.io/v1alpha1/servalnodes/${encodeURIComponent(name)}`,
        body: { preconditions: { uid, resourceVersion } },
      });
    } catch (error) {
      if (!(error instanceof ServalError) || ![404, 409].includes(statusOf(error) ?? 0)) throw error;
    }
    await this.deps.store.read('ServalNode', name);
  }
}
