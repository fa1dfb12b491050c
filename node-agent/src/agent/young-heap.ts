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

function exposed(): Collect {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as Collect;
}
