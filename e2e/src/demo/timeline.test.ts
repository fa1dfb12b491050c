import { describe, expect, it } from '@jest/globals';
import { renderTimeline, type Phase } from './timeline.js';

const phases: Phase[] = [
  { name: 'prepare', startMs: 1000, durationMs: 100 },
  { name: 'hold', startMs: 1100, durationMs: 1 },
  { name: 'dump', startMs: 1100, durationMs: 50, frozen: true },
  { name: 'restore', startMs: 1150, durationMs: 50, frozen: true },
];

describe('renderTimeline', () => {
  it('draws each phase where and as long as it was', () => {
    expect(renderTimeline(phases, { width: 50 })).toEqual([
      'prepare |------------            | +0.0 ms  100 ms',
      'hold    |            -           | +100 ms  1.0 ms',
      'dump    |            ######      | +100 ms   50 ms',
      'restore |                  ######| +150 ms   50 ms',
      '         0                 200 ms',
      '         # workload frozen',
    ]);
  });

  it('keeps every line within the width', () => {
    for (const width of [40, 60, 80, 120]) {
      const lines = renderTimeline(phases, { width });
      expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(width);
    }
  });

  it('gives the shortest phase a column, also at the very end', () => {
    const lines = renderTimeline([
      { name: 'long', startMs: 0, durationMs: 10_000 },
      { name: 'commit', startMs: 10_000, durationMs: 0 },
    ]);
    expect(lines[1]).toMatch(/ -\|/);
  });

  it('marks frozen phases, and explains the mark only when it is used', () => {
    const bar = (line: string | undefined): string => line?.split('|')[1] ?? '';
    const lines = renderTimeline(phases);
    expect(bar(lines[0])).not.toContain('#');
    expect(bar(lines[2])).toMatch(/^ +#+ +$/);
    expect(lines.at(-1)).toContain('# workload frozen');
    expect(renderTimeline(phases.slice(0, 2)).join()).not.toContain('frozen');
  });

  it('draws nothing, and something without length', () => {
    expect(renderTimeline([])).toEqual(['(no phases)']);
    expect(renderTimeline([{ name: 'now', startMs: 5, durationMs: 0 }])[0]).toContain('|-');
  });
});
