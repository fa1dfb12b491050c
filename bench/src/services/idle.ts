/** What a process costs while nothing happens. */
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { rounded } from '../statistics.js';
import { residentMb } from './resident.js';

export interface Idle {
  /** of one processor */
  cpuPercent: number;
  /** at the end, millions of bytes */
  residentMb: number;
}

export const idleSeconds = 20;
/** What was done before has its after-effects. */
const restMs = 3_000;
/** The kernel counts in these for everybody to see, whatever its own are (USER_HZ). */
const tickMs = 10;

export async function watchIdle(pid: number): Promise<Idle> {
  await delay(restMs);
  const [before, began] = [processorMs(pid), performance.now()];
  await delay(idleSeconds * 1_000);
  const used = processorMs(pid) - before;
  return {
    cpuPercent: rounded((used / (performance.now() - began)) * 100, 2),
    residentMb: residentMb(pid),
  };
}

/** All its threads, in user space and in the kernel. */
function processorMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // Behind its name, which may have anything in it, comes the third field.
  const [user = 0, system = 0] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13)
    .map(Number);
  return (user + system) * tickMs;
}
