/** Whether the process of a pod has ended, while its resource is still there. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { isPopulated } from '../../movers/cgroup.js';
import type { HostedWorkload } from '../pods.js';

/** By its cgroup where it has one of version 2: children of the first process may go on without it. Cheap: some 20 us. */
export function hasEnded({ pid, cgroup }: NonNullable<HostedWorkload['process']>): boolean {
  if (cgroup !== '') {
    if (existsSync(join(cgroup, 'cgroup.events'))) return !populated(cgroup);
    // The folder of a pod that ended is gone; one of cgroup v1 has no such file.
    if (!existsSync(cgroup)) return true;
  }
  return !existsSync(`/proc/${pid}`);
}

/** It may go between two looks. */
function populated(cgroup: string): boolean {
  try {
    return isPopulated(cgroup);
  } catch {
    return existsSync(cgroup);
  }
}
