/** What our own clients tell of each attempt, and what that comes to. */

/** One try to be told a name, as go/schedule.go has it. */
export interface Attempt {
  /** when it was begun, CLOCK_REALTIME, ms */
  at: number;
  /** how long connect() took, also where it failed, ms; 0 of an unconnected UDP socket */
  connectMs: number;
  /** from its beginning to the answer or the failure, ms */
  ms: number;
  /** who answered */
  name?: string;
  /** whom the replica sees */
  seen?: string;
  /** what getpeername() says; of an unconnected UDP socket, whom the answer is from. A mapped address stays mapped */
  peer?: string;
  /** what getsockname() says */
  local?: string;
  /** which step failed, and how */
  error?: string;
}

export interface Summary {
  attempts: number;
  failed: number;
  /** answers by the replica's name */
  counts: Record<string, number>;
  /** how often each error came */
  errors: Record<string, number>;
  /** of connect(), those that failed among them, ms; 0 without attempts */
  connectMs: { median: number; p99: number; worst: number };
  /** the longest attempt, ms */
  worstMs: number;
}

export function summarize(attempts: readonly Attempt[]): Summary {
  const times = attempts.map(({ connectMs }) => connectMs).sort((a, b) => a - b);
  const at = (share: number) => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0;
  return {
    attempts: attempts.length,
    failed: attempts.filter(({ error }) => error !== undefined).length,
    counts: tally(attempts.map(({ name }) => name)),
    errors: tally(attempts.map(({ error }) => error)),
    connectMs: { median: at(0.5), p99: at(0.99), worst: at(1) },
    worstMs: attempts.reduce((worst, { ms }) => Math.max(worst, ms), 0),
  };
}

function tally(words: ReadonlyArray<string | undefined>): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const word of words) if (word !== undefined) counts[word] = (counts[word] ?? 0) + 1;
  return counts;
}
