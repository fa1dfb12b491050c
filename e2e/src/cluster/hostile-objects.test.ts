import { describe, expect, it } from '@jest/globals';
import { ServalError } from '@serval/api';
import { hostileObjects, type Expected } from './hostile-objects.js';
import { faultOfHandling, faultOfRefusal } from './hostile-verdict.js';

describe('hostile objects', () => {
  it('are the same with the same seed, and others with another', () => {
    const text = (seed: number): string => JSON.stringify([...hostileObjects(seed, 300)]);
    expect(text(7)).toBe(text(7));
    expect(text(7)).not.toBe(text(8));
  });

  it('come with all twists, good and bad, of both kinds', () => {
    const all = [...hostileObjects(1, 5_000)];
    const verdicts = new Set(all.map(({ kind, expected }) => `${kind} ${expected.verdict}`));
    expect(verdicts.size).toBe(6);
    expect(new Set(all.flatMap(({ expected }) => expected.twists)).size).toBeGreaterThan(80);
  });
});

const expected: Expected = { twists: [], verdict: 'refused', fields: ['spec.ports'], remedy: /remove one/ };
const refusal = (status: number, reason: string): ServalError =>
  new ServalError('ERR_BAD_INPUT', { subject: 'a', reason, remedy: 'b', details: { status } });

describe('a refusal', () => {
  it.each([
    ['helps', expected, refusal(422, 'spec.ports: twice; remove one'), undefined],
    ['is none', expected, new Error('broken'), /no answer/],
    ['is a bare 500', expected, refusal(500, 'spec.ports: remove one'), /helps nobody/],
    ['names nothing', expected, refusal(422, 'invalid: remove one'), /does not name spec.ports/],
    ['tells no remedy', expected, refusal(422, 'spec.ports: twice'), /does not tell what to do/],
    [
      'is wrong',
      { ...expected, verdict: 'accepted' as const },
      refusal(422, 'spec.ports: remove one'),
      /it is good/,
    ],
  ])('that %s', (_, what, error, fault) => {
    if (fault === undefined) expect(faultOfRefusal(what, error)).toBeUndefined();
    else expect(faultOfRefusal(what, error)).toMatch(fault);
  });
});

describe('an accepted one', () => {
  const condition = {
    type: 'Ready',
    status: 'True' as const,
    reason: 'Serving',
    message: 'one serves',
    observedGeneration: 2,
    lastTransitionTime: '',
  };
  const told = (change: object): string | undefined =>
    faultOfHandling(
      { ...expected, told: /Serving/ },
      { metadata: { generation: 2 }, status: { conditions: [{ ...condition, ...change }] } },
      'Ready',
    );

  it('has a condition that says why, of its generation', () => {
    expect(told({})).toBeUndefined();
    expect(told({ type: 'Other' })).toMatch(/no condition/);
    expect(told({ message: '' })).toMatch(/does not say why/);
    expect(told({ observedGeneration: 1 })).toMatch(/generation 1/);
    expect(told({ reason: 'NoReplicas', message: 'none' })).toMatch(/not Serving/);
  });
});
