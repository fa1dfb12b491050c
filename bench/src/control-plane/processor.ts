/** What processes take of the processors. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';

/** Of all its threads since it began, ms; to the nanosecond, which /proc/PID/stat does not tell. */
export function cpuMs(pid: number): number {
  let sum = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`))
    sum += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]);
  return sum / 1e6;
}

/** The most that it ever had in memory, in millions of bytes. */
export function peakMb(pid: number): number {
  const kilobytes = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Math.round((Number(kilobytes) * 1024) / 1e5) / 10;
}

/** The same piece of work each time: how fast the machine is at the moment, ms. */
export function controlMs(): number {
  const before = process.cpuUsage();
  const block = Buffer.alloc(1 << 20);
  const hash = createHash('sha256');
  for (let i = 0; i < 64; i++) hash.update(block);
  hash.digest();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1_000;
}
