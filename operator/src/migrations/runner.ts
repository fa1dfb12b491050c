/** The migration controller at work: its queue, its end. */
import type { KubeClient, ObjectChange } from '@serval/kube-runtime/kubernetes';
import { startController, type Callbacks, type Running } from '../running.js';
import type { Told } from '../told.js';
import type { MigrationStore } from './actions.js';
import { MigrationController } from './controller.js';
import type { PodWatch } from '../pods/pods.js';

export interface MigrationRunnerOptions extends Callbacks {
  client: KubeClient;
  /** with ServalMigrations and ServalNodes */
  store: MigrationStore;
  pods: PodWatch;
  tell: (told: Told) => void;
  onEnded: (phase: string) => void;
}

/** What fails is tried again soon: somebody's connections wait. */
const retries = { firstMs: 50, mostMs: 10_000 };

export function startMigrations({
  client,
  store,
  pods,
  tell,
  onEnded,
  ...callbacks
}: MigrationRunnerOptions): Running {
  const controller = new MigrationController({ client, store, pods, tell, onEnded });
  return startController({
    ...callbacks,
    kind: 'ServalMigration',
    concurrency: 16,
    retries,
    reconcile: (key) => controller.reconcile(key),
    follow: (look) => {
      const follower = controller.follow(look);
      const unfollow = pods.follow((change: ObjectChange) => follower.podChanged(change));
      return () => {
        unfollow();
        follower.end();
      };
    },
  });
}
