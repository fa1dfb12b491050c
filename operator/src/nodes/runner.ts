/** The node controller at work. */
import type { KubeClient, KubernetesStore } from '@serval/kube-runtime/kubernetes';
import { startController, type Callbacks, type Running } from '../running.js';
import type { Pods } from '../pods/pods.js';
import type { Told } from '../told.js';
import { AgentPods } from './agent-pods.js';
import { NodeController } from './controller.js';

export interface NodeRunnerOptions extends Callbacks {
  client: KubeClient;
  /** with ServalNodes */
  store: KubernetesStore;
  pods: Pods;
  /** of the agents' pods */
  namespace: string;
  tell: (told: Told) => void;
}

export function startNodes(options: NodeRunnerOptions): Running {
  const { client, store, pods, namespace, tell, ...callbacks } = options;
  const agents = new AgentPods(pods, namespace);
  const controller = new NodeController({ client, store, agents, tell });
  const running = startController({
    ...callbacks,
    kind: 'ServalNode',
    concurrency: 8,
    reconcile: (name) => controller.reconcile(name),
    follow: (look) => controller.follow(look),
  });
  return {
    ...running,
    stop: async () => {
      agents.stop();
      await running.stop();
    },
  };
}
