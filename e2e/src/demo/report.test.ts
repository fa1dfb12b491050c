import { describe, expect, it } from '@jest/globals';
import {
  missedTimes,
  renderTable,
  toJson,
  verdict,
  type DemoResults,
  type MigrationResult,
} from './report.js';

const migration: MigrationResult = {
  from: 'site1',
  to: 'site2',
  connections: 200,
  survived: 200,
  resets: 0,
  wrongReplies: 0,
  freezeMs: 180.1234567,
  worstClientGapMs: 195,
  switchMs: 0.4,
};

function results(change: Partial<MigrationResult> = {}, rest: Partial<DemoResults> = {}): DemoResults {
  return {
    baseline: { from: 'site1', to: 'site2', connections: 200, survived: 0, resets: 12, freezeMs: 175 },
    migrations: [
      { ...migration, ...change },
      { ...migration, from: 'site2', to: 'site1' },
    ],
    recorderViolations: [],
    ...rest,
  };
}

describe('renderTable', () => {
  it('has a line per run, in columns', () => {
    const lines = renderTable(results());
    expect(lines).toHaveLength(5);
    expect(lines[2]).toMatch(/^without Serval +site1 -> site2 +200 +0 +12 +- +175 ms +never ends +-$/);
    expect(lines[3]).toMatch(/^with Serval, 1 +site1 -> site2 +200 +200 +0 +0 +180 ms +195 ms +0.4 ms$/);
    expect(lines[4]).toContain('site2 -> site1');
    expect(new Set(lines.map((line) => line.length)).size).toBe(1);
  });
});

describe('toJson', () => {
  it('has exactly the promised fields', () => {
    const extended = { ...migration, unexpected: 1 } as MigrationResult;
    expect(toJson({ ...results(), migrations: [extended] })).toEqual({
      baseline: { connections: 200, survived: 0 },
      migrations: [{ ...migration, freezeMs: 180.123 }],
    });
  });
});

describe('verdict', () => {
  it('finds nothing when every promise was kept, the limit included', () => {
    expect(verdict(results())).toEqual([]);
    expect(missedTimes(results({ freezeMs: 100, worstClientGapMs: 130 }))).toEqual([]);
  });

  it.each<[string, DemoResults, RegExp]>([
    [
      'a baseline that survives',
      results({}, { baseline: { ...results().baseline, survived: 3 } }),
      /3 connections/,
    ],
    [
      'a baseline without connections',
      results({}, { baseline: { ...results().baseline, connections: 0 } }),
      /nothing/,
    ],
    ['no migration', results({}, { migrations: [] }), /no migration/],
    ['no connections', results({ connections: 0, survived: 0 }), /nothing was shown/],
    ['a lost connection', results({ survived: 199 }), /199 of 200/],
    ['a reset', results({ resets: 1 }), /1 connections were reset/],
    ['a wrong reply', results({ wrongReplies: 2 }), /2 replies/],
    ['a switch that was not measured', results({ switchMs: Number.NaN }), /not measured/],
    [
      'a violation',
      results({}, { recorderViolations: ['a', 'b', 'c', 'd'] }),
      /4 violations: a; b; c; and 1 more/,
    ],
  ])('names %s', (_, given, words) => {
    expect(verdict(given)).toEqual([expect.stringMatching(words)]);
  });
});

describe('the times that were missed', () => {
  it.each<[string, DemoResults, RegExp]>([
    ['a long gap', results({ freezeMs: 100, worstClientGapMs: 130.5 }), /gap was 131 ms.*100 ms and 30 ms/],
    ['a gap that is no number', results({ worstClientGapMs: Number.NaN }), /gap was \?/],
  ])('name %s', (_, given, words) => {
    expect(missedTimes(given)).toEqual([expect.stringMatching(words)]);
  });
});
