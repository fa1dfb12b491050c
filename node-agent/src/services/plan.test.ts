import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { check } from './plan-check.fixture.js';
import type { Planned } from './plan.js';
import { here, load, plan, replica, replicasIn, sharesIn, type Known } from './services.fixture.js';
import { affinityValues, balanceValues, localityValues, whenEmptyValues } from '@serval/api';
import type { Measured, Replica, ServicePolicy } from './types.js';

const none = { ready: false };
const leaving = { ready: false, draining: true };

function weights({ plan: { replicas } }: Planned): number[] {
  return replicas.map(({ weight }) => Number(weight.toFixed(4)));
}

function reasons({ plan: { replicas } }: Planned): string[] {
  return replicas.map(({ reason }) => reason);
}

/** Each of the replicas with so many flows. */
function loads(
  replicas: readonly Replica[],
  flows: (replica: Replica, i: number) => number | undefined,
): Known {
  const known = new Map<string, Measured>();
  replicas.forEach((each, i) => {
    const established = flows(each, i);
    if (established !== undefined) known.set(each.address, load(established));
  });
  return known;
}

/** Plans once a second with the same loads. */
function planFor(
  seconds: number,
  replicas: readonly Replica[],
  policy: Partial<ServicePolicy>,
  known: Known,
): Planned {
  let planned = plan(replicas, policy, { known });
  for (let second = 1; second <= seconds; second++)
    planned = plan(replicas, policy, { known, now: second * 1_000, earlier: planned.state });
  return planned;
}

describe('rings', () => {
  it.each([
    [{ node: 1, zone: 2, region: 2, world: 2 }, [1, 0, 0, 0, 0, 0, 0]],
    [{ zone: 2, region: 2 }, [0.5, 0.5, 0, 0]],
    [{ region: 2, world: 2 }, [0.5, 0.5, 0, 0]],
    [{ world: 2 }, [0.5, 0.5]],
  ])('the nearest takes all while nothing is known of loads: %j', (counts, expected) => {
    expect(weights(plan(replicasIn(counts)))).toEqual(expected);
  });

  it('count a zone within its region only, and who is nowhere as farthest', () => {
    const twin = replica(1, 'zone', { region: 'other' });
    const nowhere: Replica = { address: '10.0.0.2', port: 80, ready: true, draining: false };
    const { plan: planned } = plan([twin, nowhere, replica(3, 'region')]);
    expect(planned.replicas.map(({ ring }) => ring)).toEqual(['world', 'world', 'region']);
  });

  it('say why', () => {
    expect(reasons(plan(replicasIn({ zone: 1, region: 1 })))).toEqual([
      'the nearest: zone takes all',
      'nearer ones take all',
    ]);
  });
});

describe('spill-over', () => {
  const rooms = replicasIn({ zone: 5, region: 10 });

  it('is none at even load, nor within the deadband', () => {
    for (const more of [1, 1.1]) {
      const known = loads(rooms, (_, i) => (i < 5 ? 1_000 * more : 1_000));
      expect(weights(planFor(30, rooms, {}, known)).slice(5)).toEqual(new Array(10).fill(0));
    }
  });

  it('begins with the first report of an overload, and grows while that stays', () => {
    const known = loads(rooms, (_, i) => (i < 5 ? 2_000 : 1_000));
    const kept = [0, 2, 5].map((seconds) =>
      weights(planFor(seconds, rooms, {}, known))
        .slice(0, 5)
        .reduce((sum, weight) => sum + weight, 0),
    );
    expect(kept[0]).toBeLessThan(1);
    expect(kept[1]).toBeLessThan(kept[0] as number);
    expect(kept[2]).toBeLessThan(kept[1] as number);
    expect(kept[2]).toBeGreaterThan(0.3);
    const planned = planFor(2, rooms, {}, known);
    expect(reasons(planned)[0]).toMatch(/^zone is loaded beyond its share: \d+ % spill over$/);
    expect(reasons(planned)[5]).toMatch(/^region takes \d+ %$/);
  });

  it('never empties a ring, and ends when the overload does', () => {
    const busy = loads(rooms, (_, i) => (i < 5 ? 100_000 : 1));
    let planned = planFor(60, rooms, {}, busy);
    const near = sharesIn(planned).slice(0, 5);
    expect(Math.min(...near)).toBeGreaterThan(0);
    const calm = loads(rooms, (_, i) => (i < 5 ? 500 : 1_000));
    for (let now = 61; now < 120; now++)
      planned = plan(rooms, {}, { known: calm, now: now * 1_000, earlier: planned.state });
    expect(weights(planned).slice(5)).toEqual(new Array(10).fill(0));
    expect(planned.dueAt).toBeUndefined();
  });

  it('ends by itself where loads are not reported any more', () => {
    let planned = planFor(
      20,
      rooms,
      {},
      loads(rooms, (_, i) => (i < 5 ? 5_000 : 1_000)),
    );
    expect(weights(planned)[5]).toBeGreaterThan(0);
    for (let turns = 0; planned.dueAt !== undefined && turns < 300; turns++)
      planned = plan(rooms, {}, { now: planned.dueAt, earlier: planned.state });
    expect(planned.dueAt).toBeUndefined();
    expect(weights(planned)[5]).toBe(0);
  });

  it('does not begin towards those of whom nothing is known', () => {
    const known = loads(rooms, (_, i) => (i < 5 ? 5_000 : undefined));
    expect(weights(planFor(20, rooms, {}, known))[5]).toBe(0);
  });

  it('keeps a node from drowning its only replica', () => {
    const local = replicasIn({ node: 1, zone: 9 });
    const known = loads(local, (_, i) => (i === 0 ? 500 : 100));
    const planned = planFor(8, local, {}, known);
    expect(weights(planned)[0]).toBeLessThan(0.4);
    expect(reasons(planned)[0]).toContain('node is loaded beyond its share');
  });

  it('goes node, zone, region: flows of an overloaded node stay in its zone', () => {
    const all = replicasIn({ node: 1, zone: 9, region: 20 });
    const known = loads(all, (_, i) => (i === 0 ? 500 : 100));
    expect(weights(planFor(5, all, {}, known)).slice(10)).toEqual(new Array(20).fill(0));
  });
});

describe('locality', () => {
  it('Require never leaves the zone, whatever the load', () => {
    const rooms = replicasIn({ zone: 2, region: 8 });
    const known = loads(rooms, (_, i) => (i < 2 ? 10_000 : 1));
    const planned = planFor(20, rooms, { locality: 'Require' }, known);
    expect(weights(planned)).toEqual([0.5, 0.5, ...new Array<number>(8).fill(0)]);
    expect(reasons(planned)[2]).toBe('not in this zone, and locality is Require');
    expect(plan(replicasIn({ region: 3 }), { locality: 'Require' }).plan).toMatchObject({ rule: 'DROP' });
  });

  it('Ignore takes all alike', () => {
    expect(weights(plan(replicasIn({ node: 1, zone: 1, world: 2 }), { locality: 'Ignore' }))).toEqual(
      new Array(4).fill(0.25),
    );
  });
});

describe('balance', () => {
  const four = replicasIn({ zone: 4 });

  it('LeastLoad gives less to who has more, once chance can not be why', () => {
    const slight = planFor(
      10,
      four,
      {},
      loads(four, (_, i) => (i === 0 ? 105 : 100)),
    );
    expect(weights(slight)).toEqual(new Array(4).fill(0.25));
    const strong = planFor(
      10,
      four,
      {},
      loads(four, (_, i) => (i === 0 ? 300 : 100)),
    );
    const [first = 1, second = 0] = weights(strong);
    expect(first).toBeLessThan(second / 2);
    expect(reasons(strong)[0]).toContain('more loaded than others');
    expect(sharesIn(strong)[0]).toBeCloseTo(first, 1);
  });

  it('LeastLoad takes one of whom nothing is known for one like the others', () => {
    const known = loads(four, (_, i) => (i === 0 ? undefined : 1_000));
    expect(weights(planFor(10, four, {}, known))).toEqual(new Array(4).fill(0.25));
  });

  it('LeastLoad gives an idle one twice its share at most', () => {
    for (const count of [4, 20]) {
      const rooms = replicasIn({ zone: count });
      const known = loads(rooms, (_, i) => (i === 0 ? 0 : 1_000));
      const [idle = 0, ...others] = weights(planFor(60, rooms, {}, known));
      expect(idle).toBeGreaterThan(1.4 / count);
      expect(idle).toBeLessThan(2.001 / count);
      expect(Math.min(...others)).toBeCloseTo(Math.max(...others));
    }
  });

  it('LeastLoad gives less to who fails some connects, or answers late', () => {
    const rtt = (rttUs: number): Measured => ({ seen: { rttUs, connections: 100, failures: 0 } });
    const late = new Map(four.map(({ address }, i) => [address, rtt(i === 0 ? 5_000 : 100)]));
    const [first = 1, second = 0] = weights(plan(four, {}, { known: late }));
    expect(first).toBeLessThan(second * 0.75);
    const failing = new Map(
      four.map(({ address }, i) => [
        address,
        { seen: { rttUs: 0, connections: 100, failures: i === 0 ? 50 : 0 } },
      ]),
    );
    const trusted = plan(four, {}, { known: failing });
    expect(weights(trusted)[0]).toBeLessThan((weights(trusted)[1] as number) * 0.5);
    expect(reasons(trusted)[0]).toContain('33 % of its connects fail');
  });

  it('RoundRobin takes each once in turn, whatever the load', () => {
    const planned = planFor(
      10,
      four,
      { balance: 'RoundRobin' },
      loads(four, (_, i) => i * 1_000),
    );
    expect([...planned.plan.choices].sort()).toEqual([0, 1, 2, 3]);
  });

  it.each([[{ balance: 'Hash' }], [{ affinity: 'Client' }]] as const)(
    '%j depends on who is there, and on nothing else',
    (policy) => {
      const rooms = replicasIn({ node: 1, zone: 5, region: 6 });
      const known = loads(rooms, (_, i) => (i < 3 ? 9_000 : 1));
      const before = plan(rooms, policy);
      const after = plan(rooms, policy, { known, now: 1_000, earlier: before.state });
      expect(after.plan.choices).toBe(before.plan.choices);
      // Node and zone are one.
      expect(weights(before).map((weight) => weight > 0)).toEqual(rooms.map((_, i) => i < 6));
      expect(plan(rooms, policy, { place: { ...here, node: 'near' } }).plan.choices).toEqual(
        before.plan.choices,
      );
      const fewer = rooms.filter((_, i) => i !== 2);
      const { plan: without } = plan(fewer, policy, { now: 2_000, earlier: after.state });
      const moved = before.plan.choices.filter(
        (choice, slot) => choice !== 2 && rooms[choice] !== fewer[without.choices[slot] as number],
      );
      expect(moved.length / before.plan.choices.length).toBeLessThan(0.04);
    },
  );

  it('Hash leaves the clients of a moved workload where they are', () => {
    const before = plan(four, { balance: 'Hash' });
    const moved = four.map((each, i) =>
      i === 1 ? { ...each, address: '10.9.9.9', identity: each.address, node: 'elsewhere' } : each,
    );
    const after = plan(moved, { balance: 'Hash' }, { now: 1_000, earlier: before.state });
    expect(after.plan.choices).toEqual(before.plan.choices);
    expect(after.plan.replicas[1]?.address).toBe('10.9.9.9');
  });
});

describe('who may be chosen', () => {
  it('drains: none to who is leaving, unless nothing else is left', () => {
    const rooms = [replica(1), replica(2, 'zone', leaving)];
    expect(weights(plan(rooms))).toEqual([1, 0]);
    expect(reasons(plan(rooms))[1]).toContain('terminating');
    const last = plan([replica(1, 'zone', none), replica(2, 'zone', leaving)]);
    expect(weights(last)).toEqual([0, 1]);
    expect(last.plan.rule).toBe('FORWARD');
    expect(reasons(last)).toEqual(['not ready', 'terminating, but nothing else is left']);
  });

  it('moves: others take over; DELAY while there are none', () => {
    const rooms = [replica(1), replica(2)];
    const moving = load(5, { moving: true });
    const one = plan(rooms, {}, { known: new Map([['10.0.0.1', moving]]) });
    expect([one.plan.rule, weights(one)]).toEqual(['FORWARD', [0, 1]]);
    expect(reasons(one)[0]).toContain('being moved');
    const both = plan(rooms, {}, { known: new Map(rooms.map(({ address }) => [address, moving])) });
    expect([both.plan.rule, weights(both)]).toEqual(['DELAY', [0.5, 0.5]]);
    expect(new Set(both.plan.choices)).toEqual(new Set([0, 1]));
  });

  it('moves: a far one that stands is better than a near one that moves', () => {
    const rooms = [replica(1), replica(2, 'world')];
    const known = new Map([['10.0.0.1', load(5, { moving: true })]]);
    expect(weights(plan(rooms, {}, { known }))).toEqual([0, 1]);
    expect(plan(rooms, { locality: 'Require' }, { known }).plan.rule).toBe('DELAY');
  });

  it('is nobody: DROP, or DELAY where the policy waits', () => {
    for (const rooms of [[], [replica(1, 'zone', none)]]) {
      expect(plan(rooms).plan).toMatchObject({ rule: 'DROP', choices: new Uint32Array(0) });
      expect(plan(rooms, { whenEmpty: 'Wait' }).plan).toMatchObject({
        rule: 'DELAY',
        choices: new Uint32Array(0),
      });
    }
  });

  it('is on this node only: DEMUX', () => {
    expect(plan(replicasIn({ node: 2, zone: 2 })).plan.rule).toBe('DEMUX');
    expect(plan(replicasIn({ zone: 2 })).plan.rule).toBe('FORWARD');
  });

  it('was silent: nothing more, and eased in later', () => {
    const rooms = replicasIn({ zone: 4 });
    const known = (failures: number): Known =>
      new Map([['10.0.0.0', { seen: { rttUs: 0, connections: 0, failures } }]]);
    let planned = plan(rooms, {}, { known: known(0) });
    planned = plan(rooms, {}, { known: known(2), now: 100, earlier: planned.state });
    expect(planned.plan.replicas[0]).toMatchObject({
      weight: 0,
      health: 'silent',
      reason: 'it does not answer',
    });
    expect(planned.dueAt).toBeGreaterThanOrEqual(1_100);
    expect(sharesIn(planned)[0]).toBe(0);
    const eased: number[] = [];
    while (planned.dueAt !== undefined) {
      planned = plan(rooms, {}, { known: known(2), now: planned.dueAt, earlier: planned.state });
      eased.push(planned.plan.replicas[0]?.weight ?? NaN);
    }
    expect(eased).toHaveLength(11);
    expect(eased[0]).toBeCloseTo(0.1 / 3.1);
    expect(eased.at(-1)).toBe(0.25);
    expect(eased).toEqual([...eased].sort());
  });

  it('is silent altogether: better tried than dropped; dead ones are not', () => {
    const rooms = replicasIn({ zone: 2 });
    const seen = { rttUs: 0, connections: 0, failures: 2 };
    const all = plan(rooms, {}, { known: new Map(rooms.map(({ address }) => [address, { seen }])) });
    expect([all.plan.rule, weights(all)]).toEqual(['FORWARD', [0.5, 0.5]]);
    const ending = [replica(1, 'zone', leaving), replica(2, 'zone')];
    const known = new Map(ending.map(({ address }) => [address, { seen }]));
    expect(weights(plan(ending, {}, { known }))).toEqual([0, 1]);
    const dead = plan(rooms, {}, { known: new Map(rooms.map(({ address }) => [address, { dead: true }])) });
    expect(dead.plan.rule).toBe('DROP');
    expect(dead.plan.replicas[0]).toMatchObject({ health: 'dead', reason: 'its host says that it is gone' });
  });

  it('newcomers are eased in, but not where all are new, nor who has its share already', () => {
    const old = replicasIn({ zone: 3 });
    const all = [...old, replica(9)];
    expect(weights(plan(all))).toEqual(new Array(4).fill(0.25));
    const before = plan(old);
    const after = plan(all, {}, { now: 1_000, earlier: before.state });
    expect(after.plan.replicas[3]).toMatchObject({ health: 'easing' });
    expect(weights(after)[3]).toBeCloseTo(0.1 / 3.1, 3);
    const known = loads(all, () => 100);
    expect(weights(plan(all, {}, { now: 1_000, known, earlier: before.state }))).toEqual(
      new Array(4).fill(0.25),
    );
  });

  it('where the only near one is eased in, others take the rest', () => {
    const far = replicasIn({ region: 3 });
    const before = plan(far);
    const planned = plan([...far, replica(9)], {}, { now: 1_000, earlier: before.state });
    expect(weights(planned)).toEqual([0.3, 0.3, 0.3, 0.1]);
  });
});

describe('tables', () => {
  it('stay the same object while nothing changes enough', () => {
    const rooms = replicasIn({ zone: 10 });
    const before = plan(rooms, {}, { known: loads(rooms, () => 100) });
    const known = loads(rooms, (_, i) => 100 + (i % 3) * 5);
    const after = plan([...rooms], {}, { known, now: 1_000, earlier: before.state });
    expect(after.plan.choices).toBe(before.plan.choices);
    const gone = rooms.map((each, i) => (i === 3 ? { ...each, ready: false } : each));
    const { choices } = plan(gone, {}, { known, now: 2_000, earlier: after.state }).plan;
    expect(choices).not.toBe(before.plan.choices);
    expect(choices.includes(3)).toBe(false);
  });

  it('are right for any replicas, policy, loads and history', () => {
    const rooms = ['node', 'zone', 'region', 'world'] as const;
    const states = fc.record({
      room: fc.constantFrom(...rooms),
      ready: fc.boolean(),
      draining: fc.boolean(),
      flows: fc.option(fc.nat(5_000), { nil: undefined }),
      moving: fc.boolean(),
      failures: fc.nat(5),
      connections: fc.nat(5),
      dead: fc.boolean(),
    });
    const steps = fc.array(fc.array(states, { maxLength: 12 }), { minLength: 1, maxLength: 6 });
    const policies = fc.record({
      locality: fc.constantFrom(...localityValues),
      balance: fc.constantFrom(...balanceValues),
      affinity: fc.constantFrom(...affinityValues),
      whenEmpty: fc.constantFrom(...whenEmptyValues),
    });
    fc.assert(
      fc.property(steps, policies, (history, policy) => {
        let earlier: Planned | undefined;
        for (const [step, states] of history.entries()) {
          const replicas = states.map(({ room, ready, draining }, i) =>
            replica(i, room, { ready, draining: draining && !ready }),
          );
          const known = new Map<string, Measured>();
          states.forEach(({ flows, moving, failures, connections, dead }, i) =>
            known.set(replicas[i]!.address, {
              load: flows === undefined ? undefined : { established: flows, backlog: 0, moving },
              seen: { rttUs: 0, connections, failures },
              dead,
            }),
          );
          const options = { known, now: step * 1_000, ...(earlier && { earlier: earlier.state }) };
          const planned = plan(replicas, policy, options);
          check(planned, policy);
          earlier = planned;
        }
      }),
      { numRuns: 500 },
    );
  });
});
