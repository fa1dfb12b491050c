/** The service controller at work: its copies, its queue, its end. */
import { WorkQueue, type Work } from '@serval/kube-runtime';
import {
  Reflector,
  type KubeClient,
  type KubernetesStore,
  type ObjectChange,
} from '@serval/kube-runtime/kubernetes';
import { ServiceController, type Told } from './controller.js';

export interface ServiceRunnerOptions {
  client: KubeClient;
  /** with ServalServices and the EndpointSlices that have our label */
  store: KubernetesStore;
  tell: (told: Told) => void;
  /** what failed; it is tried again */
  onError: (what: string, error: unknown) => void;
  /** once for each time that a service was looked at */
  onWorked?: (work: Work) => void;
}

export interface Running {
  /** Resolves when nothing is left to be done. */
  idle(): Promise<void>;
  /** Resolves when what was begun has ended. */
  stop(): Promise<void>;
}

/** Writes of one service come one after the other, those of many at once. */
const concurrency = 8;

/** Resolves when every service that there is has been queued. */
export async function runServices(options: ServiceRunnerOptions): Promise<Running> {
  const { client, store, tell, onError, onWorked } = options;
  let look: (change: ObjectChange) => void = () => undefined;
  const services = new Reflector({
    client,
    path: '/api/v1/services',
    onChange: (change) => look(change),
    onError: (error) => onError('watch of Services', error),
  });
  const controller = new ServiceController({ client, store, services, tell });
  const queue = new WorkQueue({
    concurrency,
    reconcile: async (key) => {
      await controller.reconcile(key);
      return {};
    },
    onError: (key, error) => onError(`ServalService ${key}`, error),
    ...(onWorked === undefined ? {} : { onWorked }),
  });
  await services.start();
  const follower = controller.follow((key) => queue.add(key));
  look = follower.changed;
  // Some have our label and no ServalService any more.
  for (const object of services.values()) look({ type: 'added', object });
  return {
    idle: () => queue.idle(),
    stop: async () => {
      follower.end();
      await Promise.all([services.stop(), queue.stop()]);
    },
  };
}
