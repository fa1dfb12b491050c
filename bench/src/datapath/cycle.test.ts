import { describe, expect, it } from '@jest/globals';
import { circle, columns, cycleTuple, shuffled, unknownTuple } from './cycle.js';
import { frame, portsOf } from './frames.js';

describe('the rules of the packet benchmark', () => {
  it.each(columns)('go round in a circle (%s)', (column) => {
    const rules = circle(column, 2, 4);
    rules.forEach((rule, i) => expect(rule.wire).toEqual(rules[(i + 1) % 4]?.identity));
    const keys = Array.from({ length: 100_000 }, (_, i) => JSON.stringify(cycleTuple(column, i)));
    expect(new Set(keys).size).toBe(100_000);
    expect(keys).not.toContain(JSON.stringify(unknownTuple(column, 1)));
  });

  it('are shuffled without loss', () => {
    expect(shuffled([1, 2, 3, 4]).sort()).toEqual([1, 2, 3, 4]);
  });

  it('are met by frames with those ports', () => {
    for (const column of columns)
      expect(portsOf(frame('tcp', cycleTuple(column, 70_000)))).toEqual({ local: 12_000, remote: 6380 });
  });
});
