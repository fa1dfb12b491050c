import { describe, expect, it } from '@jest/globals';
import { decide, freeSpec, heldSpec, observe, type Lease, type LeaseSpec } from './lease-rules.js';

const self = { identity: 'me', leaseMs: 15_000 };
const at = new Date('2026-01-02T03:04:05.678Z');
const lease = (spec: LeaseSpec, resourceVersion = '1'): Lease => ({
  metadata: { name: 'x', namespace: 'y', resourceVersion },
  spec,
});
/** By this its holder has renewed it just now, or not for years: nobody believes it. */
const [fresh, stale] = [
  { renewTime: '2999-01-01T00:00:00.000000Z' },
  { renewTime: '1999-01-01T00:00:00.000000Z' },
];

describe('what to do about a lease', () => {
  it.each([
    { name: 'make one where there is none', seen: undefined, isGone: true, does: 'create' },
    { name: 'take one that is free', seen: { holderIdentity: '' }, does: 'take' },
    { name: 'take one that says nothing', seen: {}, does: 'take' },
    { name: 'renew the own', seen: { holderIdentity: 'me' }, does: 'renew' },
    { name: 'renew the own, however old', seen: { holderIdentity: 'me' }, age: 1e6, does: 'renew' },
    {
      name: 'make the own again while it leads',
      seen: { holderIdentity: 'me' },
      isGone: true,
      leads: true,
      age: 1e6,
      does: 'create',
    },
    {
      name: 'leave one that was its own: another may have taken it before it was deleted',
      seen: { holderIdentity: 'me' },
      isGone: true,
      age: 1_000,
      waits: 14_000,
    },
    {
      name: 'leave one that was seen to change just now',
      seen: { holderIdentity: 'b', ...stale },
      waits: 15_000,
    },
    { name: 'leave one to its last moment', seen: { holderIdentity: 'b' }, age: 14_999, waits: 1 },
    {
      name: 'take one over that does not change',
      seen: { holderIdentity: 'b', ...fresh },
      age: 15_000,
      does: 'take',
    },
    {
      name: 'leave one as long as its holder counts on, where that is longer',
      seen: { holderIdentity: 'b', leaseDurationSeconds: 60 },
      age: 15_000,
      waits: 45_000,
    },
    {
      name: 'leave one as long as we do, where its holder says less',
      seen: { holderIdentity: 'b', leaseDurationSeconds: 1 },
      age: 1_000,
      waits: 14_000,
    },
    {
      name: 'leave one whose object was deleted: its holder may not know yet',
      seen: { holderIdentity: 'b' },
      isGone: true,
      age: 1_000,
      waits: 14_000,
    },
    {
      name: 'make one again whose time is over',
      seen: { holderIdentity: 'b' },
      isGone: true,
      age: 15_000,
      does: 'create',
    },
    {
      name: 'leave one that was free, for the same reason',
      seen: { holderIdentity: '' },
      isGone: true,
      age: 1_000,
      waits: 14_000,
    },
  ])('is to $name', ({ seen, isGone = false, leads = false, age = 0, does, waits }) => {
    const observed = { lease: seen && lease(seen), isGone, since: 1_000 };
    const expected = does === undefined ? { do: 'wait', ms: waits } : { do: does };
    expect(decide(observed, 1_000 + age, self, leads)).toEqual(expected);
  });
});

describe('what was seen of a lease', () => {
  const first = observe(undefined, lease({ holderIdentity: 'b' }), 10);

  it('is as old as the first look that showed it so', () => {
    expect(first.since).toBe(10);
    expect(observe(first, lease({ holderIdentity: 'b' }), 20).since).toBe(10);
    expect(observe(first, lease({ holderIdentity: 'b' }, '2'), 20).since).toBe(20);
  });

  it('stays known when the object goes, which is a change, once', () => {
    const gone = observe(first, undefined, 20);
    expect(gone).toEqual({ ...first, isGone: true, since: 20 });
    expect(observe(gone, undefined, 30)).toEqual(gone);
    expect(observe(gone, lease({ holderIdentity: 'b' }), 40)).toEqual({ ...first, since: 40 });
  });

  it('is nothing where there never was one', () => {
    expect(observe(undefined, undefined, 5)).toEqual({ lease: undefined, isGone: true, since: 5 });
  });
});

describe('what is written into a lease', () => {
  it('counts who came after another, and says how long it holds', () => {
    const others = { holderIdentity: 'b', leaseTransitions: 4, strategy: 'kept', acquireTime: 'then' };
    expect(heldSpec(lease(others), { identity: 'me', leaseMs: 1_500 }, at)).toEqual({
      holderIdentity: 'me',
      leaseDurationSeconds: 2,
      acquireTime: '2026-01-02T03:04:05.678000Z',
      renewTime: '2026-01-02T03:04:05.678000Z',
      leaseTransitions: 5,
      strategy: 'kept',
    });
  });

  it('keeps the count and the beginning when it is renewed', () => {
    const own = { holderIdentity: 'me', leaseTransitions: 4, acquireTime: 'then' };
    expect(heldSpec(lease(own), self, at)).toMatchObject({ leaseTransitions: 4, acquireTime: 'then' });
    expect(heldSpec(undefined, self, at)).toMatchObject({ leaseTransitions: 0 });
  });

  it('is no holder when it is given up', () => {
    const own = { holderIdentity: 'me', leaseTransitions: 4, leaseDurationSeconds: 15 };
    expect(freeSpec(lease(own), at)).toMatchObject({ holderIdentity: '', leaseTransitions: 4 });
  });
});
