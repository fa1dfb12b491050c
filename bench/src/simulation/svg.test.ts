import { describe, expect, it } from '@jest/globals';
import { svg, type Panel } from './svg.js';

const panel: Panel = {
  title: 'a < b & c',
  times: [0, 10, 20],
  series: [{ look: 'a', label: 'zone a', values: [0, 1, 5] }],
  band: { label: 'all', low: [0, 0, 0], high: [1, 2, 1] },
  eventAt: 10,
  from: 0,
  to: 2,
  ticks: [0, 2],
  format: String,
};

describe('plots', () => {
  it('put each value where it belongs, and what is beyond the axis at its edge', () => {
    const text = svg('title', [[panel]]);
    expect(text).toContain('<path class="line a" d="M0.0 150.0L150.0 75.0L300.0 0.0"/>');
    expect(text).toContain('<line class="event" x1="150.0" x2="150.0"');
  });

  it('are well-formed', () => {
    const text = svg('<title> & more', [[panel, panel], [panel]]);
    expect(text).toContain('a &lt; b &amp; c');
    const open: string[] = [];
    for (const [, close, name = '', empty] of text.matchAll(/<(\/?)([a-z]+)[^>]*?(\/?)>/g))
      if (close === '/') expect(open.pop()).toBe(name);
      else if (empty !== '/') open.push(name);
    expect(open).toEqual([]);
    expect(text).not.toContain('NaN');
  });

  it('name each series once', () => {
    expect(svg('', [[panel, panel]]).match(/>zone a</g)).toHaveLength(1);
  });
});
