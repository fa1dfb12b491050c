import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { processesIn } from './namespaces.js';
import type { Pod } from './pods.js';
import { cgroupsOf } from './removal.js';
import { readState, stateFolder } from './state.js';

/* What the kernel tests of this room share. */

/** The command, as the build leaves it. */
export const mainFile = join(import.meta.dirname, '../../dist/lab/main.js');

/** One ping; rejects when no answer comes within a second. */
export function ping(from: Pod, address: string): Promise<string> {
  return from.run('ping', ['-c', '1', '-W', '1', '-n', address]);
}

/** Pids of everything that runs in a lab, pause processes included. */
export function pidsOf(id: string): number[] {
  return processesIn(readState(id).namespaces).map(({ pid }) => pid);
}

/** What of a lab, and of these processes, can still be found on this machine. */
export function traces(id: string, pids: readonly number[] = []): string[] {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  return [
    ...readdirSync('/run/netns').filter((name) => name.startsWith(`lab${id}-`)),
    ...mounts.filter((line) => line.includes(`/lab${id}-`) || line.includes(`/${id}.d/`)),
    ...readdirSync(stateFolder).filter((name) => name.startsWith(`${id}.`)),
    ...cgroupsOf(id),
    ...pids.filter((pid) => existsSync(`/proc/${pid}/ns/net`)).map((pid) => `process ${pid}`),
  ];
}
