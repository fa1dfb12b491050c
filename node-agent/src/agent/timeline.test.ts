import { describe, expect, it } from '@jest/globals';
import { timing, type Span } from './timeline.js';

const span = (name: string, startMs: number, durationMs: number): Span => ({ name, startMs, durationMs });
const report = { resumeMs: 2, switchMs: 3, replayed: 5 };

describe('the timeline of a move', () => {
  it('counts from the start, and the freeze until the target has resumed', () => {
    const spans = [
      span('prepareTarget', 100, 20),
      span('freeze', 150, 4),
      span('dump', 154, 30),
      span('release', 220, 9),
    ];
    const { timeline, freezeMs } = timing(spans, 100, report);
    expect(timeline).toEqual([
      { name: 'target pod', startMs: 0, durationMs: 20, frozen: false },
      { name: 'freeze', startMs: 50, durationMs: 4, frozen: true },
      { name: 'dump', startMs: 54, durationMs: 30, frozen: true },
      { name: 'resume', startMs: 120, durationMs: 2, frozen: true },
      { name: 'switch', startMs: 122, durationMs: 3, frozen: false },
    ]);
    expect(freezeMs).toBe(72);
  });

  it('shows what was asked of several nodes at once as one step, and only the last round of it', () => {
    const spans = [span('hold', 10, 3), span('hold', 50, 2), span('hold', 51, 4), span('hold', 50.5, 1)];
    expect(timing(spans, 0, undefined).timeline).toEqual([
      { name: 'hold', startMs: 50, durationMs: 5, frozen: false },
    ]);
  });

  it('knows no freeze where the workload never resumed at the target', () => {
    expect(timing([span('freeze', 1, 1)], 0, undefined).freezeMs).toBeUndefined();
  });
});
