/**
 * The engine collects what is young when its room is full, whenever that is: 1 ms, and at a switch a client waits for it.
 * So it is asked to while nobody waits: the workload stands still for far longer than that.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

type Collect = (options: { type: 'minor' }) => void;

let collect: Collect | undefined;

/** After what has to go out now: a reply, a process to be started. */
export function collectYoungSoon(): void {
  setTimeout(() => {
    collect ??= exposed();
    collect({ type: 'minor' });
  }, soonMs).unref();
}

const soonMs = 5;

/**
 * For work that makes much that stays, as reading 10,000 services: the engine makes room for what is young as long as so
 * much survives, and never gives it back. That was 85 of 130 MB; without it the work takes no longer.
 */
export async function withSmallYoungRoom<Result>(work: () => Promise<Result>): Promise<Result> {
  setFlagsFromString('--semi-space-growth-factor=1');
  try {
    return await work();
  } finally {
    setFlagsFromString('--semi-space-growth-factor=2');
  }
}

function exposed(): Collect {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as Collect;
}
