/** Pure: what samples of a client say about a move. Times in ms of one clock. */

/** How far something had come at a time: never less than before. */
export interface Progressed {
  at: number;
  bytes: number;
}

/** Longest time in which nothing came further, between samples that begin at `from`. */
export function longestStandstill(samples: readonly Progressed[], from: number): number {
  let longest = 0;
  let last: Progressed | undefined;
  for (const sample of samples) {
    if (sample.at < from) continue;
    if (last !== undefined && sample.bytes === last.bytes) continue;
    if (last !== undefined) longest = Math.max(longest, sample.at - last.at);
    last = sample;
  }
  const end = samples.at(-1);
  return last === undefined || end === undefined ? longest : Math.max(longest, end.at - last.at);
}

/** A rate is taken over so long: shorter ones differ by more than 10 % from each other all the time. */
const windowMs = 50;
const baseMs = 1_000;

export interface Freeze {
  frozenAt: number;
  resumedAt: number;
}

/**
 * From the end of the freeze to the first moment from which on a window carries at least the share of what the second
 * before the freeze carried in the same time. Infinite where there is none.
 */
export function recoveryMs(samples: readonly Progressed[], freeze: Freeze, share = 0.9): number {
  const { frozenAt, resumedAt } = freeze;
  const before = bytesAt(samples, frozenAt) - bytesAt(samples, frozenAt - baseMs);
  const wanted = (share * before * windowMs) / baseMs;
  const starts = samples.map(({ at }) => at).filter((at) => at > resumedAt);
  const end = samples.at(-1)?.at ?? -Infinity;
  for (const start of [resumedAt, ...starts]) {
    if (start + windowMs > end) break;
    if (bytesAt(samples, start + windowMs) - bytesAt(samples, start) >= wanted) return start - resumedAt;
  }
  return Infinity;
}

/** Between two samples as if it had gone on evenly. */
function bytesAt(samples: readonly Progressed[], at: number): number {
  let low = 0;
  let high = samples.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((samples[middle] as Progressed).at < at) low = middle + 1;
    else high = middle;
  }
  const after = samples[low];
  const before = samples[low - 1];
  if (after === undefined) return 0;
  if (before === undefined || after.at <= at) return after.bytes;
  return before.bytes + ((after.bytes - before.bytes) * (at - before.at)) / (after.at - before.at);
}

export interface Wait {
  begun: number;
  ended: number;
}

/** Longest part of a wait that the freeze does not explain. */
export function longestBeyondFreeze(waits: readonly Wait[], { frozenAt, resumedAt }: Freeze): number {
  return Math.max(
    0,
    ...waits.map(({ begun, ended }) => {
      const frozen = Math.max(0, Math.min(ended, resumedAt) - Math.max(begun, frozenAt));
      return ended - begun - frozen;
    }),
  );
}

/**
 * From the switch to the end of the waits that lay in the freeze, or in a part of it; the longest. 0 where they ended earlier:
 * the peers are told while the workload resumes. Undefined where there was none.
 */
export function newcomerMs(
  waits: readonly Wait[],
  { frozenAt, resumedAt, switchedAt }: Freeze & { switchedAt: number },
): number | undefined {
  const waited = waits.filter(({ begun, ended }) => begun < resumedAt && ended > frozenAt);
  if (waited.length === 0) return undefined;
  return Math.max(...waited.map(({ ended }) => Math.max(0, ended - switchedAt)));
}
