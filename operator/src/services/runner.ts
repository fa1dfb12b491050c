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
  /** the watch of Services broke; it is begun again */
  onWatchError: (error: unknown) => void;
  /** once for each time that a service was looked at */
  onWorked?: (work: Work) => void;
  /** as ServiceControllerDeps has it */
  refusedMs?: number;
}

export interface Running {
  /** Resolves when nothing is left to be done. */
  idle(): Promise<void>;
  /** how many wait to be looked at */
  depth(): number;
  /** how long the one that is worked on longest has been, ms */
  longestRunMs(): number;
  /** Resolves when what was begun has ended. */
  stop(): Promise<void>;
}

/** Few of us watch: after an outage nobody is hurt by our coming back sooner than thousands of agents may. */
export const watchTimes = { mostWaitMs: 5_000 };
/** Writes of one service come one after the other, those of many at once. */
const concurrency = 8;

/** Begins as soon as the Services are listed, with every ServalService that there is. */
export function startServices(options: ServiceRunnerOptions): Running {
  const { client, store, tell, onError, onWatchError, onWorked, refusedMs } = options;
  let look: (change: ObjectChange) => void = () => undefined;
  let end: () => void = () => undefined;
  let isStopped = false;
  const services = new Reflector({
    client,
    path: '/api/v1/services',
    onChange: (change) => look(change),
    onError: onWatchError,
    times: watchTimes,
  });
  const controller = new ServiceController({
    ...{ client, store, services, tell },
    ...(refusedMs === undefined ? {} : { refusedMs }),
  });
  const queue = new WorkQueue({
    concurrency,
    reconcile: (key) => controller.reconcile(key),
    onError: (key, error) => onError(`ServalService ${key}`, error),
    ...(onWorked === undefined ? {} : { onWorked }),
  });
  const started = services.start().then(() => {
    if (isStopped) return;
    const follower = controller.follow((key) => queue.add(key));
    [look, end] = [follower.changed, follower.end];
    // Some have our label and no ServalService any more.
    for (const object of services.values()) look({ type: 'added', object });
  });
  return {
    idle: async () => {
      await started;
      await queue.idle();
    },
    depth: () => queue.depth,
    longestRunMs: () => queue.longestRunMs(),
    stop: async () => {
      isStopped = true;
      await services.stop();
      await started;
      end();
      await queue.stop();
    },
  };
}
