/**
 * Hears from the kernel when the processes of a cgroup have ended: 3 ms after the last of them, where looking every second
 * takes half a second, in which a service's clients are still sent to a replica that is gone.
 */
import { watch, type FSWatcher } from 'node:fs';
import { join } from 'node:path';
import { isPopulated } from '../../movers/cgroup.js';

export class EndWatch {
  private readonly watchers = new Map<string, FSWatcher>();

  /** `onEnd`: one of the cgroups has no process any more, or is gone itself. */
  constructor(private readonly onEnd: () => void) {}

  /** These, and no others. One that can't be watched (it is gone, of cgroup v1, or there are too many) is tried again at the next call. */
  follow(cgroups: ReadonlySet<string>): void {
    for (const cgroup of this.watchers.keys()) if (!cgroups.has(cgroup)) this.forget(cgroup);
    for (const cgroup of cgroups) if (!this.watchers.has(cgroup)) this.open(cgroup);
  }

  stop(): void {
    this.follow(new Set());
  }

  private open(cgroup: string): void {
    try {
      const watcher = watch(join(cgroup, 'cgroup.events'), { persistent: false }, () => {
        if (!isAlive(cgroup)) this.onEnd();
      });
      watcher.on('error', () => this.forget(cgroup));
      this.watchers.set(cgroup, watcher);
    } catch {
      // Whoever asks looks by itself as well, if later.
    }
  }

  private forget(cgroup: string): void {
    this.watchers.get(cgroup)?.close();
    this.watchers.delete(cgroup);
  }
}

/**
 * The kernel tells of its being frozen as well: every move does that, and has no time to be looked at then. Where it can't be read
 * it may be just going: whoever is told looks for himself (process-end.ts), while a missed end costs up to a second.
 */
function isAlive(cgroup: string): boolean {
  try {
    return isPopulated(cgroup);
  } catch {
    return false;
  }
}
