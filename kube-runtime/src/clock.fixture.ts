/** A clock that goes on only when a test says so. */
import { setImmediate as turn } from 'node:timers/promises';
import type { Clock } from './clock.js';

interface Timer {
  at: number;
  call: () => void;
}

export class FakeClock implements Clock {
  private time = 0;
  private readonly timers = new Set<Timer>();

  now(): number {
    return this.time;
  }

  date(): Date {
    return new Date(Date.UTC(2026, 0, 1) + this.time);
  }

  after(ms: number, call: () => void): () => void {
    const timer = { at: this.time + ms, call };
    this.timers.add(timer);
    return () => this.timers.delete(timer);
  }

  /** How many calls are still to come. */
  get pending(): number {
    return this.timers.size;
  }

  /** Lets so much time go by; what is due is called in its order, each when all that came of the one before has settled. */
  async advance(ms: number): Promise<void> {
    const end = this.time + ms;
    await settled();
    for (;;) {
      const next = [...this.timers].sort((a, b) => a.at - b.at)[0];
      if (next === undefined || next.at > end) break;
      this.time = Math.max(this.time, next.at);
      this.timers.delete(next);
      next.call();
      await settled();
    }
    this.time = end;
  }

  /** As after a pause of the whole process: the time is another, and no timer has been called yet. */
  jump(ms: number): void {
    this.time += ms;
  }
}

/** All that can happen without time going by has happened, as far as it needs no more than some turns. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 4; i++) await turn();
}
