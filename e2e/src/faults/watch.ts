/** Looks all the time at what may never be: two copies that run, and holds that last. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FlowView, PodView, StatusView } from '@serval/api';
import { cgroupRoot } from '@serval/node-agent';
import { ask, type Fleet } from '../fleet/index.js';
import { cgroupPrefix } from '../lab/state.js';

const copiesMs = 5;
const holdsMs = 100;

export interface Seen {
  /** where copies of the workload ran when most did at one time: their cgroups */
  copies: string[];
  /** longest time that something was seen held, ms */
  longestHoldMs: number;
}

export class Watch {
  private copies: string[] = [];
  private readonly heldSince = new Map<string, number>();
  private longestHoldMs = 0;
  private readonly timers: NodeJS.Timeout[] = [];
  private readonly asking = new Set<string>();

  constructor(
    private readonly fleet: Fleet,
    /** a word of its command line that nobody else has */
    private readonly mark: string,
  ) {
    this.timers.push(setInterval(() => this.count(), copiesMs));
    this.timers.push(setInterval(() => this.look(), holdsMs));
  }

  end(): Seen {
    this.timers.forEach(clearInterval);
    return { copies: this.copies, longestHoldMs: Math.round(this.longestHoldMs) };
  }

  private count(): void {
    const now = runningCopies(this.fleet.lab.id, this.mark);
    if (now.length > this.copies.length) this.copies = now;
  }

  private look(): void {
    for (const [host, agent] of this.fleet.agents) {
      if (this.asking.has(host)) continue;
      this.asking.add(host);
      held(agent.socket)
        .then((names) => this.note(host, names))
        .catch(() => undefined) // it is dead just now: what it held is held still
        .finally(() => this.asking.delete(host));
    }
  }

  private note(host: string, names: readonly string[]): void {
    const now = performance.now();
    const keys = new Set(names.map((name) => `${host} ${name}`));
    for (const key of keys) {
      const since = this.heldSince.get(key) ?? now;
      this.heldSince.set(key, since);
      this.longestHoldMs = Math.max(this.longestHoldMs, now - since);
    }
    for (const key of this.heldSince.keys())
      if (key.startsWith(`${host} `) && !keys.has(key)) this.heldSince.delete(key);
  }
}

async function held(socket: string): Promise<string[]> {
  const [pods, flows] = await Promise.all([
    ask<PodView[]>(socket, 'GET', '/v1/pods'),
    ask<FlowView[]>(socket, 'GET', '/v1/flows'),
  ]);
  return [
    ...pods.filter((pod) => pod.held).map(({ name }) => name),
    ...flows.filter(({ state }) => state === 'held').map(({ flowId, migration }) => `${flowId} ${migration}`),
  ];
}

/** What is not as it is when nothing moves: pods that are held, flows that are held or wait for a switch. */
export async function leftovers(fleet: Fleet): Promise<string[]> {
  const found = await Promise.all(
    [...fleet.agents].map(async ([host, { socket }]) => {
      const pods = await ask<PodView[]>(socket, 'GET', '/v1/pods');
      const flows = await ask<FlowView[]>(socket, 'GET', '/v1/flows');
      const { openMigrations } = await ask<StatusView>(socket, 'GET', '/v1/status');
      return [
        ...pods.filter((pod) => pod.held).map(({ name }) => `${host}: pod ${name} is held`),
        ...flows
          .filter(({ state }) => state === 'held' || state === 'pending')
          .map(({ pod, state, migration }) => `${host}: a flow of ${pod} is ${state} for ${migration}`),
        // The source's is over when the workload runs again; a peer that was cut off may have to be told after that.
        ...Object.entries(openMigrations)
          .filter(([, count]) => count > 0)
          .map(([role, count]) => `${host}: ${count} migrations are open as ${role}`),
      ];
    }),
  );
  return found.flat();
}

/** Cgroups in which a process with this mark runs, neither frozen nor stopped. */
export function runningCopies(lab: string, mark: string): string[] {
  const root = cgroupRoot();
  const own = readdirSync(root).filter((name) => name.startsWith(cgroupPrefix(lab)));
  return own.filter((name) => {
    const events = text(join(root, name, 'cgroup.events'));
    if (!events.includes('populated 1') || events.includes('frozen 1')) return false;
    const pids = text(join(root, name, 'cgroup.procs'))
      .split('\n')
      .filter(Boolean);
    return pids.some((pid) => text(`/proc/${pid}/cmdline`).includes(mark) && runs(pid));
  });
}

/** PF_EXITING and PF_SIGNALED of linux/sched.h. */
const dyingFlags = 0x404;
const killPending = 1n << 8n;

/**
 * One that was killed while it was frozen leaves the freezer to die, and carries out nothing of its own: it was seen as running in
 * one of 300 kills.
 */
function runs(pid: string): boolean {
  const signals = [...text(`/proc/${pid}/status`).matchAll(/^(?:SigPnd|ShdPnd):\t(\w+)$/gm)];
  const stat = text(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const isDying =
    (Number(fields[6]) & dyingFlags) !== 0 ||
    signals.some(([, set = '0']) => (BigInt(`0x${set}`) & killPending) !== 0n);
  // Of one that has gone there is no state.
  return !isDying && !['T', 't', 'Z', 'X', ''].includes(fields[0] ?? '');
}

function text(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // it has gone
  }
}
