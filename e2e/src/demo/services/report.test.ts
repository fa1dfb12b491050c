import { describe, expect, it } from '@jest/globals';
import { observed } from './observed.fixture.js';
import {
  renderPromises,
  renderServed,
  servicesJson,
  servicesMissedTimes,
  servicesVerdict,
} from './report.js';
import { tally, type ServicesResult } from './tally.js';

const kept = tally(observed);

describe('the tables', () => {
  it('have a line for each step and site, and a column for each replica', () => {
    const lines = renderServed(kept);
    expect(lines).toHaveLength(2 + 4 * 2);
    expect(lines[0]).toMatch(
      /^new flows +clients in +web-1, s1 +web-2, s2 +web-3, s2 +failed +slowest connect$/,
    );
    expect(lines[2]).toMatch(/^1 even +s1 +2 +0 +0 +0 +3.0 ms$/);
    expect(lines[3]).toMatch(/^ +s2 +0 +2 +1$/);
  });

  it('say what is promised beside what was measured', () => {
    const lines = renderPromises({ ...kept, failedConnects: 2 });
    expect(lines).toContainEqual(expect.stringMatching(/^failed connects +0 +2 of 10$/));
    expect(lines).toContainEqual(
      expect.stringMatching(/^connections lost with web-3 +its own +1 of 1, within 4.0 ms$/),
    );
  });
});

describe('the JSON', () => {
  it('has figures, and violations as a number', () => {
    const recorded = { ...kept.recorded, violations: ['a', 'b'] };
    const json = servicesJson({ ...kept, slowestConnectMs: 1.23456, recorded });
    expect(json.recorded).toEqual({ openings: 9, virtualIp: 0, packets: 20, violations: 2 });
    expect(json.slowestConnectMs).toBe(1.235);
    expect(json.steps[0]).toMatchObject({
      name: 'even',
      served: [{ clients: 's1', replicas: { 'web-1': 2 } }, {}],
    });
  });
});

describe('the verdict', () => {
  it('finds nothing when every promise was kept', () => {
    expect(servicesVerdict(kept)).toEqual([]);
    expect(servicesMissedTimes(kept)).toEqual([]);
  });

  it.each<[string, Partial<ServicesResult>, RegExp]>([
    ['nobody who connects', { connects: 0 }, /nobody connected/],
    ['nobody served in the first step', { even: { flows: 0, elsewhere: 0 } }, /nobody was served/],
    ['a kill that hit nobody', { killed: { ...kept.killed, held: 0, lost: 0 } }, /web-3 held no connection/],
    ['a move that nobody could notice', { moved: { ...kept.moved, held: 0 } }, /web-2 held no connection/],
    ['a recorder that saw nothing', { recorded: { ...kept.recorded, openings: 0 } }, /recorder saw no/],
    ['a failed connect', { failedConnects: 1 }, /1 of 10 connects failed/],
    ['a question without an answer', { unanswered: 1 }, /1 connections were made and not answered/],
    ['a flow that left its site', { even: { flows: 5, elsewhere: 1 } }, /1 of 5 flows left/],
    ['a connection lost by the move', { moved: { ...kept.moved, lost: 1 } }, /1 of 1 connections were lost/],
    ['a connection lost elsewhere', { lostElsewhere: 1 }, /1 connections to other replicas/],
    ['a virtual IP on the wire', { recorded: { ...kept.recorded, virtualIp: 3 } }, /3 packets named/],
    [
      'what the audit objects to',
      { recorded: { ...kept.recorded, violations: ['a', 'b', 'c', 'd'] } },
      /4 violations: a; b; c; and 1 more/,
    ],
  ])('names %s', (_, change, words) => {
    expect(servicesVerdict({ ...kept, ...change })).toEqual([expect.stringMatching(words)]);
    expect(servicesMissedTimes({ ...kept, ...change })).toEqual([]);
  });

  it.each<[string, Partial<ServicesResult>, RegExp]>([
    ['a slow connect', { slowestConnectMs: 300 }, /slowest connect took 300 ms/],
    ['a connect that is no number', { slowestConnectMs: NaN }, /took \?/],
    [
      'a crowd that stays',
      { crowded: { site: 's1', flows: 7, elsewhere: 0 } },
      /none of 7 new flows left s1/,
    ],
    ['connections that hang', { killed: { ...kept.killed, lost: 0 } }, /0 of 1 connections to web-3/],
  ])('keeps apart %s', (_, change, words) => {
    expect(servicesMissedTimes({ ...kept, ...change })).toEqual([expect.stringMatching(words)]);
    expect(servicesVerdict({ ...kept, ...change })).toEqual([]);
  });
});
