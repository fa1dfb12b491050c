/** The node controller at work. */
import type { KubeClient, KubernetesStore } from '@serval/kube-runtime/kubernetes';
import { startController, type Callbacks, type Running } from '../running.js';
import type { Told } from '../told.js';
import { NodeController } from './controller.js';

export interface NodeRunnerOptions extends Callbacks {
  client: KubeClient;
  /** with ServalNodes */
  store: KubernetesStore;
  tell: (told: Told) => void;
}

export function startNodes({ client, store, tell, ...callbacks }: NodeRunnerOptions): Running {
  const controller = new NodeController({ client, store, tell });
  return startController({
    ...callbacks,
    kind: 'ServalNode',
    concurrency: 8,
    reconcile: (name) => controller.reconcile(name),
    follow: (look) => controller.follow(look),
  });
}
