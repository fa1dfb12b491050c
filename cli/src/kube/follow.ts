/** Follows one ServalMigration until it has ended or is gone, over losses of the API server. */
import { migrationResult, type ServalMigration } from '@serval/api';
import { isForbidden, paths, reasonOf, statusOf, type Cluster } from './cluster.js';

export interface Followed {
  /** as it was last */
  migration: ServalMigration;
  /** it was deleted */
  isGone: boolean;
}

export interface FollowOptions {
  cluster: Cluster;
  /** as it is known */
  migration: ServalMigration;
  /** each state, the first one included */
  tell: (migration: ServalMigration) => void;
  /** what is wrong meanwhile, in words, once */
  warn: (words: string) => void;
  /** whether this is what is waited for; default: it has ended */
  isEnd?: (followed: Followed) => boolean;
  signal: AbortSignal;
}

/** An operator that runs takes a migration up within a second. */
const takenUpMs = 10_000;

/** Undefined where the signal came first. @throws ServalError where it may not be watched */
export async function follow(options: FollowOptions): Promise<Followed | undefined> {
  const { cluster, tell, warn, signal, isEnd = hasEnded } = options;
  const { name, namespace, uid } = options.migration.metadata;
  let last = options.migration;
  let isSeen = false;
  let end: (followed: Followed | undefined) => void = () => undefined;
  let fail: (error: unknown) => void = () => undefined;
  const ended = new Promise<Followed | undefined>((resolve, reject) => ((end = resolve), (fail = reject)));
  const told = (isGone: boolean): void => {
    if (isEnd({ migration: last, isGone }) || isGone) end({ migration: last, isGone });
  };
  let isLost = false;
  const watch = cluster.watch({
    path: paths.migrations(namespace),
    fieldSelector: `metadata.name=${name}`,
    onChange: ({ type, object }) => {
      // Another one of this name, made after ours was deleted.
      if (object.metadata.uid !== uid) return;
      isSeen = true;
      isLost = false;
      last = object as ServalMigration;
      if (type !== 'deleted') tell(last);
      told(type === 'deleted');
    },
    onError: (error) => {
      if (isForbidden(error) || statusOf(error) === 401) return fail(error);
      if (!isLost) warn(`the API server is lost and is tried again (${reasonOf(error)})`);
      isLost = true;
    },
  });
  void watch.begun.then(() => isSeen || told(true), fail);
  const interrupted = (): void => end(undefined);
  signal.addEventListener('abort', interrupted);
  const slow = setTimeout(() => last.status?.phase === undefined && warn(notTakenUp), takenUpMs);
  // The watch's own waits keep no process alive.
  const alive = setInterval(() => undefined, 1_000);
  try {
    return await ended;
  } finally {
    clearTimeout(slow);
    clearInterval(alive);
    signal.removeEventListener('abort', interrupted);
    await watch.stop();
  }
}

const notTakenUp = 'no operator has taken it up yet; see whether one leads: kubectl serval status';

function hasEnded({ migration, isGone }: Followed): boolean {
  return isGone || migrationResult(migration) !== undefined;
}
