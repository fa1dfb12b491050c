/** Short bursts of connections, one way after the other within each turn, so that what is compared stands close together. */
import type { Progress } from '../bench.js';
import { rotated } from '../rotated.js';
import { Connector } from './connector.js';
import type { Plan } from './plan.js';
import type { Variant, Way } from './variant.js';
import type { World } from './world.js';

/** A virtual machine drifts within seconds: many short bursts, not few long ones. */
const burstMs = 40;
const turnsPerRound = 20;
const threads = 4;
/** Of a client that connects one after the other; the server is on the other one. */
const clientCpu = 0;

/** One value for each turn. */
export interface Samples {
  /** the burst's median of what connect() took, us */
  connectUs: number[];
  /** its 99th percentile */
  connectP99Us: number[];
  connectionsPerSecond: number[];
}

export type SamplesByWay = Partial<Record<Way, Samples>>;

export async function measureBursts(
  world: World,
  variants: readonly Variant[],
  plan: Plan,
  rounds: number,
  progress: Progress,
): Promise<SamplesByWay> {
  const samples = new Map<Way, Samples>(
    variants.map(({ way }) => [way, { connectUs: [], connectP99Us: [], connectionsPerSecond: [] }]),
  );
  for (let round = 0; round < rounds; round++) {
    const clients: Client[] = [];
    // New processes each round: how fast one is depends a little on where its memory happens to lie.
    for (const variant of variants) clients.push(await open(world, variant, plan));
    for (let turn = 0; turn < turnsPerRound; turn++)
      await oneTurn(rotated(clients, round * turnsPerRound + turn), samples);
    for (const { one, many } of clients) await Promise.all([one.close(), many.close()]);
    progress(`${plan.services} services: round ${round + 1} of ${rounds}`);
  }
  return Object.fromEntries(samples);
}

interface Client {
  way: Way;
  /** connects one after the other, on one CPU */
  one: Connector;
  /** connects with several threads, anywhere */
  many: Connector;
}

async function open(world: World, variant: Variant, plan: Plan): Promise<Client> {
  const { way, place } = variant;
  const list = variant.targets(plan);
  const one = await Connector.start(world, place.pod, list, clientCpu);
  const many = await Connector.start(world, place.pod, list);
  await one.latency(burstMs);
  await many.rate(burstMs, threads);
  return { way, one, many };
}

async function oneTurn(order: readonly Client[], samples: ReadonlyMap<Way, Samples>): Promise<void> {
  for (const { way, one } of order) {
    const { median, p99 } = await one.latency(burstMs);
    samples.get(way)?.connectUs.push(median);
    samples.get(way)?.connectP99Us.push(p99);
  }
  for (const { way, many } of order)
    samples.get(way)?.connectionsPerSecond.push(await many.rate(burstMs, threads));
}
