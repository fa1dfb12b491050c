/** What all controllers of the leader have in common: a queue of names, what is told of it, its end. */
import { WorkQueue, type Outcome, type RetryOptions, type Work } from '@serval/kube-runtime';

export interface Callbacks {
  /** what failed; it is tried again */
  onError: (what: string, error: unknown) => void;
  /** once for each time that an object was looked at */
  onWorked?: (work: Work) => void;
}

export interface ControllerOptions extends Callbacks {
  /** of what it looks after, for people */
  kind: string;
  /** writes of one object come one after the other, those of so many at once */
  concurrency: number;
  reconcile: (key: string) => Promise<Outcome>;
  /** tells from now on which to look at, all at first, and where there is no hurry in how many ms; returns what ends it */
  follow: (look: (key: string, ms?: number) => void) => () => void;
  /** what has to be there first */
  ready?: Promise<unknown>;
  retries?: Partial<RetryOptions>;
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

export function startController(options: ControllerOptions): Running {
  const { kind, concurrency, follow, ready = Promise.resolve(), onError, onWorked, retries } = options;
  let end: () => void = () => undefined;
  let isStopped = false;
  const queue = new WorkQueue({
    concurrency,
    reconcile: (key) => options.reconcile(key),
    onError: (key, error) => onError(`${kind} ${key}`, error),
    ...(onWorked === undefined ? {} : { onWorked }),
    ...(retries === undefined ? {} : { retries }),
  });
  const started = ready.then(() => {
    if (!isStopped) end = follow((key, ms = 0) => queue.addAfter(key, ms));
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
      await started;
      end();
      await queue.stop();
    },
  };
}
