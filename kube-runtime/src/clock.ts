/** What time it is, and to be called later. Tests hand in one of their own. */

export interface Clock {
  /** ms, of a clock that nobody steps: to measure by */
  now(): number;
  /** what people and other machines read; never to measure by */
  date(): Date;
  /** Calls once, after so many ms; what it returns takes that back. A wait of more than 24 days ends then. */
  after(ms: number, call: () => void): () => void;
}

/** With more, a timer of Node fires at once. */
const longestMs = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => performance.now(),
  date: () => new Date(),
  after: (ms, call) => {
    const timer = setTimeout(call, Math.min(ms, longestMs));
    return () => clearTimeout(timer);
  },
};
