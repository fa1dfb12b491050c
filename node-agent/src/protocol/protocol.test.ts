/** Whole data centres of agents, with everything going wrong at random: what must never happen, and how it must end. */
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { roleViews } from './agent.js';
import { noFaults, SimAgents, type Faults } from './sim-agents.fixture.js';

/** More by an environment variable: SERVAL_PROTOCOL_RUNS=20000. */
const runs = Number(process.env['SERVAL_PROTOCOL_RUNS'] ?? 400);
/** A failure is made smaller for as long; a machine that is too slow for the runs does not pass. */
const limits = { interruptAfterTimeLimit: 120_000 + runs * 100, markInterruptAsFailure: true };

/** By now everything goes wrong; from then on messages get through, and all agents live. */
const faultsEndMs = 40_000;

interface Scenario {
  seed: number;
  nodes: number;
  /** where each workload is */
  workloads: number[];
  flows: Array<[number, number]>;
  moves: Array<{ workload: number; to: number; atMs: number; cancelAfterMs: number | undefined }>;
  changes: Array<{ move: number; afterMs: number; kind: 'open' | 'end'; one: number; other: number }>;
  crashes: Array<{ node: number; atMs: number; effects: number; downMs: number }>;
  cuts: Array<{ node: number; atMs: number; forMs: number }>;
  faults: Faults;
}

const index = fc.nat(59);
const ms = (max: number): fc.Arbitrary<number> => fc.noBias(fc.integer({ min: 0, max }));
/** Most things happen at about the same time: that is when they meet. */
const soon = fc.oneof({ weight: 5, arbitrary: ms(150) }, { weight: 2, arbitrary: ms(20_000) });
const down = fc.oneof(
  { weight: 3, arbitrary: ms(500) },
  { weight: 1, arbitrary: fc.constantFrom(5_000, 35_000) },
);

const peaceful = {
  seed: fc.noBias(fc.integer()),
  nodes: fc.integer({ min: 3, max: 6 }),
  workloads: fc.array(index, { minLength: 2, maxLength: 6 }),
  flows: fc.array(fc.tuple(index, index), { maxLength: 14 }),
  moves: fc.array(
    fc.record({
      workload: index,
      to: index,
      atMs: soon,
      cancelAfterMs: fc.constant<number | undefined>(undefined),
    }),
    { minLength: 1, maxLength: 8 },
  ),
  /** soon after some move has begun */
  changes: fc.array(
    fc.record({
      move: index,
      afterMs: ms(250),
      kind: fc.constantFrom('open' as const, 'end' as const),
      one: index,
      other: index,
    }),
    { maxLength: 25 },
  ),
  crashes: fc.constant<Scenario['crashes']>([]),
  cuts: fc.constant<Scenario['cuts']>([]),
  faults: fc.constant<Faults>({ ...noFaults, slowWork: 5 }),
};

const eventful = {
  ...peaceful,
  moves: fc.array(
    fc.record({
      workload: index,
      to: index,
      atMs: soon,
      cancelAfterMs: fc.oneof(
        { weight: 9, arbitrary: fc.constant<number | undefined>(undefined) },
        { weight: 1, arbitrary: ms(400) },
      ),
    }),
    { minLength: 1, maxLength: 8 },
  ),
  crashes: fc.array(fc.record({ node: index, atMs: soon, effects: fc.noBias(fc.nat(60)), downMs: down }), {
    maxLength: 4,
  }),
  cuts: fc.array(fc.record({ node: index, atMs: soon, forMs: down }), { maxLength: 3 }),
  faults: fc.record({
    loss: fc.constantFrom(0, 5, 25),
    double: fc.constantFrom(0, 20),
    slow: fc.constantFrom(0, 5),
    slowWork: fc.constantFrom(0, 5),
    forge: fc.constantFrom(0, 10),
    workFails: fc.constantFrom(0, 0, 3),
  }),
};

function play(scenario: Scenario): SimAgents {
  const names = Array.from({ length: scenario.nodes }, (_, number) => `n${number}`);
  const nameOf = (number: number): string => names[number % names.length] as string;
  const uidOf = (number: number): string => `w${number % scenario.workloads.length}`;
  const sim = new SimAgents(scenario.seed, names, scenario.faults);
  const { world } = sim;
  for (const [number, node] of scenario.workloads.entries())
    world.addPod(nameOf(node), uidOf(number), 'live');
  const open = (one: number, other: number): void => {
    if (uidOf(one) !== uidOf(other)) world.open(uidOf(one), uidOf(other));
  };
  for (const [one, other] of scenario.flows) open(one, other);
  for (const [number, move] of scenario.moves.entries())
    sim.at(move.atMs, () => start(sim, number, uidOf(move.workload), nameOf(move.to), move.cancelAfterMs));
  for (const { move, afterMs, kind, one, other } of scenario.changes) {
    const { workload = 0, atMs = 0 } = scenario.moves[move % scenario.moves.length] ?? {};
    const [from, to] = one % 2 === 0 ? [workload, other] : [other, workload];
    sim.at(atMs + afterMs, () => (kind === 'open' ? open(from, to) : endFlow(sim, one)));
  }
  for (const { node, atMs, effects, downMs } of scenario.crashes)
    sim.at(atMs, () => Object.assign(sim.node(nameOf(node)), { crashAfter: effects, downMs }));
  for (const { node, atMs, forMs } of scenario.cuts)
    sim.at(atMs, () => Object.assign(sim.node(nameOf(node)), { cutUntil: atMs + forMs }));
  sim.at(faultsEndMs, () => {
    sim.faults = noFaults;
    for (const node of sim.nodes.values()) {
      Object.assign(node, { crashAfter: undefined, cutUntil: 0 });
      sim.boot(node);
    }
  });
  sim.run();
  return sim;
}

/** Where the workload is alive. Ids are in no order, as who goes first depends on them. */
function start(sim: SimAgents, number: number, uid: string, target: string, cancelAfterMs?: number): void {
  const pod = sim.world.live(uid);
  if (pod === undefined || sim.node(pod.node).agent === undefined) return;
  const migration = ((number * 7 + 3) % 16).toString(16).padStart(16, '0');
  const node = sim.node(pod.node);
  sim.world.moves.set(migration, { uid, source: pod, rules: new Map(), released: false, owned: false });
  sim.dispatch(node, {
    type: 'start',
    migration,
    epoch: number + 1 + Math.round(sim.time),
    workload: { name: `default/${uid}`, uid },
    target,
    mover: 'criu',
    image: {},
    addresses: [pod.address],
  });
  if (cancelAfterMs !== undefined)
    sim.at(sim.time + cancelAfterMs, () => sim.dispatch(node, { type: 'cancel', migration }));
}

function endFlow(sim: SimAgents, number: number): void {
  const { world } = sim;
  const flows = world.flows.filter((flow) => flow.open);
  const flow = flows[number % Math.max(1, flows.length)];
  if (flow === undefined) return;
  for (const [end, uid] of flow.uids.entries()) {
    const pod = world.live(uid);
    const port = flow.ports[end] as number;
    const peer = pod?.view.get(port);
    if (pod?.migration === undefined || peer === undefined) continue;
    const here = { address: pod.address, port };
    const over = {
      protocol: 'tcp' as const,
      now: here,
      next: here,
      peer: { address: peer, port: world.otherPort(port) },
    };
    sim.at(sim.time, () =>
      sim.dispatch(sim.node(pod.node), {
        type: 'flowsEnded',
        migration: pod.migration as string,
        flows: [over],
      }),
    );
  }
  world.end(flow);
}

/** Nothing but the last word on each migration is left anywhere. */
function checkRecords(sim: SimAgents): void {
  for (const { name, agent, disk } of sim.nodes.values()) {
    const states = agent === undefined ? [] : roleViews(agent);
    for (const { migration, phase } of states)
      if (phase !== 'done' && phase !== 'switched')
        sim.world.violate(`${migration} is ${phase} at ${name} in the end`);
    for (const [key, text] of disk)
      if (!/"phase":"(done|switched)"/.test(text))
        sim.world.violate(`${key} is on the disk of ${name} in the end`);
  }
}

function violations(scenario: Scenario): { violations: string[]; story: string[] } {
  const sim = play(scenario);
  if (sim.world.violations.length === 0) {
    sim.world.checkRest();
    checkRecords(sim);
  }
  return { violations: sim.world.violations, story: sim.world.violations.length === 0 ? [] : sim.outcomes };
}

describe('agents of a data centre', () => {
  it('move everything where nothing goes wrong', () => {
    let [begun, moved] = [0, 0];
    fc.assert(
      fc.property(fc.record(peaceful), (scenario) => {
        const sim = play(scenario);
        sim.world.checkRest();
        checkRecords(sim);
        expect(sim.world.violations).toEqual([]);
        // Refused starts (no such place, moving already) leave no trace in the phases.
        const started = [...sim.world.moves.keys()].filter((id) =>
          sim.outcomes.includes(`${id} source preparing`),
        );
        begun += started.length;
        moved += started.filter((id) => sim.world.moves.get(id)?.owned === true).length;
      }),
      { numRuns: runs, ...limits },
    );
    expect(begun).toBeGreaterThan(0);
    expect(moved / begun).toBeGreaterThan(0.99);
  });

  it('keep every workload and every flow whatever goes wrong', () => {
    fc.assert(
      fc.property(fc.record(eventful), (scenario) => {
        expect(violations(scenario)).toEqual({ violations: [], story: [] });
      }),
      { numRuns: runs * 3, ...limits },
    );
  });
});
