/** Pure judges of what a connection hears: replies, numbered messages, pops, and the silences between them. */

/** A reply as the client library gives it: an integer, a string, nil, or an error reply of the server. */
export type Reply = string | number | null | Error;

/** A reply that was not the one that was due. */
export interface Mismatch {
  command: string;
  expected: string;
  got: string;
}

/** One command of a pipeline, as ioredis takes it. */
export type PlannedCommand = ['set', string, string] | ['get', string] | ['incr', string];

/** A reply in words, strings quoted, so that 1 and "1" differ. */
export function describeReply(reply: Reply | undefined): string {
  if (reply === undefined) return 'nothing';
  if (reply instanceof Error) return `error ${reply.message}`;
  return JSON.stringify(reply);
}

interface Planned {
  command: PlannedCommand;
  /** undefined: not known, as the counter's value after a wrong reply */
  expected: Reply | undefined;
}

/**
 * Plans the pipelines of one connection and judges their replies. Each value names connection and round, the
 * counter rises by one per INCR, and one read is of the round before, so a lost, doubled, swapped or foreign reply
 * differs from the one that is due.
 */
export class PipelineCheck {
  /** commands and replies of one round */
  static readonly commandsPerRound = 4;
  private round = 0;
  private counter = 0;
  private previous: string | null = null;
  private planned: Planned[] = [];

  /**
   * @param connection id that goes into every value
   * @param keyPrefix prefix of keys that nobody else writes; they must not exist yet
   * @param valueBytes size to which values are padded, bytes
   */
  constructor(
    private readonly connection: string,
    private readonly keyPrefix: string,
    private readonly valueBytes: number,
  ) {}

  /** The commands of the next round; to be followed by {@link check}. */
  plan(): PlannedCommand[] {
    this.round += 1;
    const [key, counter] = [`${this.keyPrefix}:v`, `${this.keyPrefix}:n`];
    const value = `${this.connection}/${this.round}`.padEnd(this.valueBytes, '.');
    this.planned = [
      { command: ['get', key], expected: this.previous },
      { command: ['set', key, value], expected: 'OK' },
      { command: ['get', key], expected: value },
      { command: ['incr', counter], expected: this.counter + 1 },
    ];
    this.previous = value;
    this.counter += 1;
    return this.planned.map(({ command }) => command);
  }

  /** Judges the replies of the round that was planned last; after a wrong count the server's is taken over. */
  check(replies: readonly Reply[]): Mismatch[] {
    const wrong: Mismatch[] = [];
    this.planned.forEach(({ command, expected }, index) => {
      const got = replies[index];
      if (got === expected) return;
      wrong.push({
        command: command.slice(0, 2).join(' '),
        expected: describeReply(expected),
        got: describeReply(got),
      });
    });
    for (const extra of replies.slice(this.planned.length)) {
      wrong.push({ command: 'none', expected: 'nothing', got: describeReply(extra) });
    }
    const counted = replies[3];
    if (typeof counted === 'number') this.counter = counted;
    return wrong;
  }
}

/** Judges a stream of messages numbered from 1: each must come once and in order. */
export class SequenceCheck {
  /** highest number that came */
  last = 0;

  /** Judges one message; a message that is not a number is wrong and changes nothing. */
  receive(text: string): Mismatch[] {
    const number = Number(text);
    const due = this.last + 1;
    if (number === due) {
      this.last = number;
      return [];
    }
    const mismatch = { command: 'message', expected: String(due), got: text };
    if (!Number.isSafeInteger(number) || number < due) return [mismatch];
    this.last = number;
    return Array.from({ length: number - due }, (_, index) => ({
      ...mismatch,
      expected: String(due + index),
    }));
  }

  /** Says which messages up to `number` never came, and no longer waits for them. */
  settle(number: number): Mismatch[] {
    const missing: Mismatch[] = [];
    for (let due = this.last + 1; due <= number; due += 1) {
      missing.push({ command: 'message', expected: String(due), got: 'nothing' });
    }
    this.last = Math.max(this.last, number);
    return missing;
  }
}

/** Judges a blocked list reader: what was pushed must be popped exactly once and in order, and nothing else. */
export class DeliveryCheck {
  private pushes = 0;
  private readonly due: string[] = [];

  /** @param label goes into every value that is pushed */
  constructor(private readonly label: string) {}

  /** Names the next value to push. */
  push(): string {
    this.pushes += 1;
    const value = `${this.label}/${this.pushes}`;
    this.due.push(value);
    return value;
  }

  /** Judges what came out; a second delivery of the same value is wrong. */
  pop(value: string): Mismatch[] {
    const due = this.due.shift();
    if (value === due) return [];
    return [{ command: 'blpop', expected: due ?? 'nothing', got: describeReply(value) }];
  }
}

/** A silence, ms of the clock that the meter is given. */
export interface Silence {
  startMs: number;
  endMs: number;
}

/** What a meter saw in a window, ms. */
export interface Meter {
  /** longest silence; null when replies are not due continuously or none was due in the window */
  worst: Silence | null;
  /** longest time between a request and its reply */
  waitMs: number;
}

/**
 * Measures the silences of one connection in a window. A silence counts at its full length when it ends in the
 * window, so it may have begun before; one that is still open when the window or the connection ends counts up to
 * then. Times are of any monotonic clock, ms.
 */
export class GapMeter {
  private worst: Silence | null = null;
  private waitMs = 0;
  private lastMs: number | null = null;
  private asked: number[] = [];
  private closed = false;

  /** @param steady whether replies or messages are due all the time; an idle connection is silent by design */
  constructor(private readonly steady: boolean) {}

  /** From now on silence is a gap (steady connections). */
  start(now: number): void {
    this.lastMs = now;
  }

  /** A request leaves. */
  request(now: number): void {
    this.asked.push(now);
  }

  /** The reply to the oldest open request came. */
  reply(now: number): void {
    const asked = this.asked.shift();
    if (asked !== undefined) this.waitMs = Math.max(this.waitMs, now - asked);
    this.arrival(now);
  }

  /** Something came that was not asked for, as a published message. */
  arrival(now: number): void {
    this.silence(now);
    if (this.lastMs !== null) this.lastMs = now;
  }

  /** The connection is gone: silence up to now counts, and none after. */
  close(now: number): void {
    if (this.closed) return;
    this.silence(now);
    this.closed = true;
  }

  /** Begins a window: forgets what was seen before, but not since when it is silent. */
  begin(): void {
    this.worst = null;
    this.waitMs = 0;
  }

  /** Ends a window. */
  end(now: number): Meter {
    if (!this.closed) {
      this.silence(now);
      const oldest = this.asked[0];
      if (oldest !== undefined) this.waitMs = Math.max(this.waitMs, now - oldest);
    }
    return { worst: this.worst, waitMs: this.waitMs };
  }

  private silence(now: number): void {
    if (!this.steady || this.closed || this.lastMs === null) return;
    if (this.worst === null || now - this.lastMs > this.worst.endMs - this.worst.startMs) {
      this.worst = { startMs: this.lastMs, endMs: now };
    }
  }
}

/** The value below which the share `q` (0 to 1) of the values lies, by nearest rank; 0 when there are none. */
export function quantile(values: readonly number[], q: number): number {
  if (values.length === 0) return 0;
  const sorted = [...values].sort((x, y) => x - y);
  const rank = Math.min(sorted.length, Math.max(1, Math.ceil(q * sorted.length)));
  return sorted[rank - 1] ?? 0;
}
