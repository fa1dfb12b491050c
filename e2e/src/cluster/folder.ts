/**
 * A control plane's files. The folder is named by the process that made it: where that was killed, whoever starts the next
 * one removes what it left.
 */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { identify, isAlive } from '../lab/processes.js';

const prefix = 'serval-cluster-';

/** Makes one that only this user may enter: keys are in it. */
export function clusterFolder(): string {
  removeStale();
  return mkdtempSync(join(tmpdir(), `${prefix}${process.pid}-${identify(process.pid)?.start ?? 0}-`));
}

function removeStale(): void {
  for (const name of readdirSync(tmpdir())) {
    const [, pid, start] = /^serval-cluster-(\d+)-(\d+)-/.exec(name) ?? [];
    if (pid === undefined || isAlive({ pid: Number(pid), start: Number(start) })) continue;
    rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
}
