/** How urgent this process is to the scheduler. */
import { readdirSync } from 'node:fs';
import { constants, setPriority } from 'node:os';

/**
 * All threads that there are, and whatever they start: to the kernel a priority is one thread's, and the ones that write to the
 * disk were started with the process, before any of our code. They had been left behind: while 90 clients were at work a write of
 * 2 ms then took up to 8, with a workload standing still.
 * @throws SystemError EACCES for who may not (CAP_SYS_NICE)
 */
export function goFirst(): void {
  for (const thread of threads()) {
    try {
      setPriority(thread, constants.priority.PRIORITY_HIGH);
    } catch (error) {
      if (!hasEnded(thread)) throw error;
    }
  }
}

/** Thread ids of this process. */
export function threads(): number[] {
  return readdirSync('/proc/self/task').map(Number);
}

function hasEnded(thread: number): boolean {
  return !threads().includes(thread);
}
