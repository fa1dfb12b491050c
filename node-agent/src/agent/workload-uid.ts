/**
 * A name of its own for a workload that was declared without one. It must be the same after a restart of the agent, and
 * another one for a later workload of the same name: so it is made of what the kernel tells apart.
 */
import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';

/** 32 hexadecimal digits. */
export function workloadUid(netns: string, pid: number | undefined): string {
  const parts = [readText('/proc/sys/kernel/random/boot_id'), inodeOf(netns), pid ?? '', startOf(pid)];
  return createHash('sha256').update(parts.join(' ')).digest('hex').slice(0, 32);
}

function inodeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.ino ?? 0;
}

/** Start time of a process in clock ticks since boot; its name, in parentheses, may have spaces. */
function startOf(pid: number | undefined): string {
  const stat = pid === undefined ? '' : readText(`/proc/${pid}/stat`);
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return ''; // gone: the pod will be refused for that
  }
}
