import { describe, expect, it } from '@jest/globals';
import { formatRanges, parseRanges, pieces } from './reserved-ports.js';

describe('ranges of ports', () => {
  it('are read as the kernel writes them', () => {
    expect(parseRanges('\n')).toEqual(new Set());
    expect(parseRanges('22,8000-8002\n')).toEqual(new Set([22, 8000, 8001, 8002]));
  });

  it('are written in order, neighbours in one', () => {
    expect(formatRanges([8002, 22, 8000, 8001, 22, 65535])).toEqual(['22', '8000-8002', '65535']);
    expect(formatRanges([])).toEqual([]);
  });

  it('go in pieces that one write takes, and an empty list clears it', () => {
    expect(pieces([])).toEqual(['\n']);
    const many = formatRanges(Array.from({ length: 10_000 }, (_, i) => 33_000 + 3 * i));
    const written = pieces(many);
    expect(written.every((piece) => piece.length <= 4095)).toBe(true);
    expect(written.flatMap((piece) => piece.trim().split(','))).toEqual(many);
  });
});
