/** The service controller at work: its copies, its queue, its end. */
import {
  Reflector,
  type KubeClient,
  type KubernetesStore,
  type ObjectChange,
} from '@serval/kube-runtime/kubernetes';
import { startController, type Callbacks, type Running } from '../running.js';
import type { Told } from '../told.js';
import { ServiceController } from './controller.js';

export interface ServiceRunnerOptions extends Callbacks {
  client: KubeClient;
  /** with ServalServices and the EndpointSlices that have our label */
  store: KubernetesStore;
  tell: (told: Told) => void;
  /** the watch of Services broke; it is begun again */
  onWatchError: (error: unknown) => void;
  /** as ServiceControllerDeps has it */
  refusedMs?: number;
}

/** Few of us watch: after an outage nobody is hurt by our coming back sooner than thousands of agents may. */
export const watchTimes = { mostWaitMs: 5_000 };

/** Begins as soon as the Services are listed, with every ServalService that there is. */
export function startServices(options: ServiceRunnerOptions): Running {
  const { client, store, tell, onWatchError, refusedMs, ...callbacks } = options;
  let look: (change: ObjectChange) => void = () => undefined;
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
  const running = startController({
    ...callbacks,
    kind: 'ServalService',
    concurrency: 8,
    ready: services.start(),
    reconcile: (key) => controller.reconcile(key),
    follow: (add) => {
      const follower = controller.follow(add);
      look = follower.changed;
      // Some have our label and no ServalService any more.
      for (const object of services.values()) look({ type: 'added', object });
      return follower.end;
    },
  });
  return {
    ...running,
    stop: async () => {
      await services.stop();
      await running.stop();
    },
  };
}
