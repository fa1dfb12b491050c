/** Files of a pod's own: in memory, seen by that pod alone, gone with it, however the tests end. */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Pod } from '../lab/index.js';

/**
 * Where they are mounted in the pod's own mount namespace. Pods share the machine's files, so this must be a folder that
 * every distribution has and that nothing of ours is in.
 */
const place = '/media';

const mounted = new WeakMap<Pod, Promise<unknown>>();
let count = 0;

export interface PodFolder {
  /** its path in the pod */
  inside: string;
  /** its path for us */
  outside: string;
  remove(): void;
}

/** Makes a folder that anybody in the pod may pass through, of root. */
export async function podFolder(pod: Pod, name: string): Promise<PodFolder> {
  if (!mounted.has(pod)) {
    const options = 'mode=0755,size=512m';
    mounted.set(pod, pod.run('mount', ['-t', 'tmpfs', '-o', options, 'serval-clients', place]));
  }
  await mounted.get(pod);
  const inside = join(place, `${name}-${++count}`);
  const outside = join(`/proc/${pod.pausePid}/root`, inside);
  mkdirSync(outside, { mode: 0o755 });
  return { inside, outside, remove: () => rmSync(outside, { recursive: true, force: true }) };
}
