import { readFileSync } from 'node:fs';
import { rounded } from '../statistics.js';

/** What a process has in memory, in millions of bytes. */
export function residentMb(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return rounded((Number(kilobytes) * 1024) / 1e6, 1);
}
