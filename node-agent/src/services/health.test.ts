import { describe, expect, it } from '@jest/globals';
import { healthShare, nextHealth, reliability, type Health, type HealthEvent } from './health.js';

/** Counters go on from event to event, as a kernel's do. */
class Watched {
  health: Health | undefined;
  now = 0;
  private readonly seen = { rttUs: 0, connections: 0, failures: 0 };

  after(
    ms: number,
    {
      connections = 0,
      failures = 0,
      ...more
    }: Partial<HealthEvent> & { connections?: number; failures?: number } = {},
  ) {
    this.now += ms;
    this.seen.connections += connections;
    this.seen.failures += failures;
    this.health = nextHealth(this.health, {
      now: this.now,
      seen: { ...this.seen },
      jitter: () => 0,
      ...more,
    });
    return this;
  }

  get state(): string {
    return this.health?.state ?? 'good';
  }

  get share(): number {
    return healthShare(this.health, this.now);
  }
}

describe('health of a replica', () => {
  it('has nothing to remember of whom nobody met', () => {
    expect(nextHealth(undefined, { now: 5, jitter: () => 0 })).toBeUndefined();
    expect(new Watched().after(1_000).health).toBeUndefined();
  });

  it('falls silent after two failures in a row', () => {
    const one = new Watched().after(0, { connections: 5 }).after(1_000, { failures: 1 });
    expect(one.state).toBe('good');
    expect(one.after(1_000, { failures: 1 }).state).toBe('silent');
    expect(one.share).toBe(0);
  });

  it('stays good where connections succeed in between, and is trusted less', () => {
    const one = new Watched().after(0);
    for (let i = 0; i < 5; i++) one.after(1_000, { connections: 10, failures: 10 });
    expect(one.state).toBe('good');
    expect(reliability(one.health as Health)).toBeLessThan(0.35);
    for (let i = 0; i < 40; i++) one.after(1_000, { connections: 10 });
    expect(reliability(one.health as Health)).toBeGreaterThan(0.9);
  });

  it('is tried again after a second, and comes back bit by bit within ten', () => {
    const one = new Watched().after(0, { failures: 2 });
    expect(one.after(999).state).toBe('silent');
    expect(one.after(1).state).toBe('easing');
    const shares = Array.from({ length: 10 }, () => one.after(1_000, { connections: 1 }).share);
    expect(shares[0]).toBeCloseTo(0.19);
    expect(shares).toEqual([...shares].sort());
    expect(one.state).toBe('good');
    expect(one.share).toBe(1);
  });

  it('waits twice as long each time that it fails at once, and half a minute at most', () => {
    const one = new Watched().after(0, { failures: 2 });
    const waits: number[] = [];
    for (let i = 0; i < 7; i++) {
      const wait = (one.health as Health).at - one.now;
      waits.push(wait);
      one.after(wait);
      expect(one.state).toBe('easing');
      one.after(100, { failures: 1 });
    }
    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
  });

  it('forgets how often it failed with the first answer, and not before', () => {
    const fell = new Watched().after(0, { failures: 2 }).after(1_000).after(10_000);
    expect(fell.state).toBe('good');
    expect(fell.after(1_000, { failures: 2 }).health).toMatchObject({ state: 'silent', strikes: 2 });
    fell.after(2_000).after(1_000, { connections: 1 });
    expect(fell.health).toMatchObject({ state: 'easing', strikes: 0 });
  });

  it('is tried at different moments by different nodes', () => {
    const at = (jitter: number) => new Watched().after(0, { failures: 2, jitter: () => jitter }).health?.at;
    expect([at(0), at(0.5)]).toEqual([1_000, 1_100]);
  });

  it('is eased in early where somebody who had no choice got an answer', () => {
    expect(new Watched().after(0, { failures: 2 }).after(10, { connections: 1 }).state).toBe('easing');
  });

  it("is dead by its host's word, and eased in when that is taken back", () => {
    const one = new Watched().after(0, { dead: true });
    expect([one.state, one.share]).toEqual(['dead', 0]);
    expect(one.after(60_000, { dead: true }).state).toBe('dead');
    expect(one.after(1_000).state).toBe('easing');
  });

  it('is not blamed while its workload is moved', () => {
    const one = new Watched().after(0, { connections: 1 }).after(1_000, { failures: 9, moving: true });
    expect(one.state).toBe('good');
    expect(one.after(1_000, { failures: 1 }).state).toBe('good');
  });

  it('takes counters that begin anew for news', () => {
    const one = new Watched().after(0, { connections: 100, failures: 1 });
    one.health = nextHealth(one.health, {
      now: 1,
      seen: { rttUs: 0, connections: 0, failures: 2 },
      jitter: () => 0,
    });
    expect(one.state).toBe('silent');
  });
});
