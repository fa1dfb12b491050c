/**
 * The engine collects what is young when its room is full, whenever that is: 1 ms, and at a switch a client waits for it.
 * So it is asked to while nobody waits: the workload stands still for far longer than that.
 */
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { native } from '../native.js';

type Collect = (options: { type: 'minor' | 'major' }) => void;

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
 * All that is not used any more: before an agent says that it is ready, since nobody waits for it then. What it has read and
 * planned at its start, the engine would keep room for, and the C library for what libbpf needed to load programs.
 */
export function collectAll(): void {
  collect ??= exposed();
  collect({ type: 'major' });
  native().trimMemory();
}

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

const youngSpace = 'new_space';
/** Enough for a switch of 10,000 flows to meet few collections. */
const modestBytes = 8_000_000;
const lookMs = 1_000;

/**
 * From now on what is young has no more room than this, for the same reason: with 10,000 services in use, a few hundred of
 * which are planned each second, it grew to 67 MB. Returns what ends it.
 */
export function keepYoungRoomModest(): () => void {
  const look = (): void => {
    const size =
      getHeapSpaceStatistics().find(({ space_name: name }) => name === youngSpace)?.space_size ?? 0;
    setFlagsFromString(`--semi-space-growth-factor=${size < modestBytes ? 2 : 1}`);
  };
  look();
  const timer = setInterval(look, lookMs).unref();
  return () => clearInterval(timer);
}

function exposed(): Collect {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as Collect;
}
