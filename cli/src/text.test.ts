import { describe, expect, it } from '@jest/globals';
import { formatMs, formatPercent } from './text.js';

describe('a duration for people', () => {
  it.each([
    [0.26, '0.3 ms'],
    [9.96, '10 ms'],
    [712.4, '712 ms'],
    [12_345, '12.3 s'],
    [Number.NaN, '?'],
  ])('%p is %p', (ms, text) => {
    expect(formatMs(ms)).toBe(text);
  });
});

describe('a part for people', () => {
  it.each([
    [0, '0 %'],
    [0.0004, '<0.1 %'],
    [0.0824, '8.2 %'],
    [0.0996, '10 %'],
    [1, '100 %'],
    [Number.NaN, '?'],
  ])('%p is %p', (part, text) => {
    expect(formatPercent(part)).toBe(text);
  });
});
