import { quantile } from './checks.js';
import { nowMs } from './protocol.js';

/** How late the event loop ran, ms. */
export interface LoopDelay {
  maxMs: number;
  p99Ms: number;
}

/** Watches how late this process's own event loop runs: a short timer compares when it fires with when it was due. */
export class EventLoopWatch {
  private timer: NodeJS.Timeout | undefined;
  private dueMs = 0;
  private looks: { atMs: number; lateMs: number }[] = [];

  /** @param periodMs time between two looks, ms */
  constructor(private readonly periodMs = 5) {}

  /** Begins to watch, or to watch anew. */
  begin(): void {
    this.stop();
    this.looks = [];
    this.arm();
  }

  /** Ends the watch: an overdue look counts too. */
  end(): LoopDelay {
    if (this.timer !== undefined) this.look();
    this.stop();
    const late = this.looks.map(({ lateMs }) => lateMs);
    return { maxMs: quantile(late, 1), p99Ms: quantile(late, 0.99) };
  }

  /** How late the loop ran at worst between two moments, ms of CLOCK_MONOTONIC; of the last watch. */
  during(startMs: number, endMs: number): number {
    const meanwhile = this.looks.filter(({ atMs, lateMs }) => atMs >= startMs && atMs - lateMs <= endMs);
    return quantile(
      meanwhile.map(({ lateMs }) => lateMs),
      1,
    );
  }

  private arm(): void {
    this.dueMs = nowMs() + this.periodMs;
    this.timer = setTimeout(() => {
      this.look();
      this.arm();
    }, this.periodMs);
    this.timer.unref();
  }

  private look(): void {
    const atMs = nowMs();
    this.looks.push({ atMs, lateMs: Math.max(0, atMs - this.dueMs) });
  }

  private stop(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }
}
