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
  private late: number[] = [];

  /** @param periodMs time between two looks, ms */
  constructor(private readonly periodMs = 5) {}

  /** Begins to watch, or to watch anew. */
  begin(): void {
    this.stop();
    this.late = [];
    this.arm();
  }

  /** Ends the watch: an overdue look counts too. */
  end(): LoopDelay {
    if (this.timer !== undefined) this.look();
    this.stop();
    return { maxMs: quantile(this.late, 1), p99Ms: quantile(this.late, 0.99) };
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
    this.late.push(Math.max(0, nowMs() - this.dueMs));
  }

  private stop(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }
}
