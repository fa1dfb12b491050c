/** The control of a move: the workload stands still for as long as in the move, where it is, and runs on. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ServalError } from '@serval/api';
import { cgroupPrefix } from '@serval/e2e';
import { cgroupRoot, freezeCgroup, isPopulated, thawCgroup } from '@serval/node-agent';
import type { MoveTimes } from './move-times.js';

const freezeMs = 1_000;

/** @throws ServalError ERR_MOVER where it does not freeze, ERR_NOT_FOUND where no workload runs in this lab */
export async function paused(lab: string, ms: number): Promise<MoveTimes> {
  const cgroup = populated(lab);
  const frozenAt = now();
  await freezeCgroup(cgroup, freezeMs);
  await delay(ms);
  thawCgroup(cgroup);
  const resumedAt = now();
  return {
    flows: 0,
    freezeMs: resumedAt - frozenAt,
    switchMs: 0,
    moverMs: 0,
    dumpMs: 0,
    transferMs: 0,
    restoreMs: 0,
    frozenAt,
    resumedAt,
    switchedAt: resumedAt,
  };
}

function now(): number {
  return performance.timeOrigin + performance.now();
}

/** Of all cgroups of the lab the workload's alone has processes. */
function populated(lab: string): string {
  const root = cgroupRoot();
  const own = readdirSync(root).filter((name) => name.startsWith(cgroupPrefix(lab)));
  const found = own.map((name) => join(root, name)).find(isPopulated);
  if (found !== undefined) return found;
  throw new ServalError('ERR_NOT_FOUND', {
    subject: `lab ${lab}`,
    reason: 'none of its cgroups has a process: the workload has ended',
    remedy: 'Run the load by hand and look why it ends',
  });
}
