/**
 * TCP throughput and request-response latency across a router, one variant after the other within each round. The client
 * and all that the kernel does in its name (veth hands packets on within the sender's context) run on one CPU, the
 * server on the other.
 */
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { ServalError } from '@serval/api';
import { rotated } from '../rotated.js';
import { inside, run, start, stop } from '../shell.js';
import { medianRatio, rounded, roundedSpread, spread, type Spread } from '../statistics.js';
import type { Workspace } from '../workspace.js';
import { Bursts, burstServer } from './bursts.js';
import {
  latencyPort,
  makeVariants,
  throughputPort,
  variants,
  type Variant,
  type VariantName,
} from './variants.js';

const clientCpu = 0;
const serverCpu = 1;
const manyStreams = 8;
/**
 * A virtual machine drifts by several percent within seconds: bursts are short, so that those that are compared stand
 * close together, and many. With five transfers of 2 s each the same path differed by 5 % from itself from run to run,
 * with fifty of 0.4 s each, by an iperf3 of its own, still by 2 %.
 */
const burstBytes = 128 << 20;
const burstsPerRound = 80;
/**
 * How fast a connection is depends a little on where its buffers happen to lie, for as long as it lives: with one per path
 * the ratio of a run was off by up to 2 % however many bursts it had. So each path gets new ones, and new clients, often.
 */
const burstsPerConnection = 20;
const roundTrips = 20_000;
const pingPong = new URL('ping-pong.js', import.meta.url).pathname;

type Compared = Exclude<VariantName, 'native'>;
export type Ratios = Record<Compared, number>;

export interface NetworkResult {
  /** of native, one stream; higher is better */
  throughputRatio: Ratios & { eightStreams: Ratios };
  /** of native's median round trip; lower is better */
  latencyRatio: Ratios & { p99: Ratios };
  gigabitsPerSecond: Record<'oneStream' | 'eightStreams', Record<VariantName, Spread>>;
  roundTripMicroseconds: Record<'median' | 'p99', Record<VariantName, Spread>>;
}

type Measure = 'oneStream' | 'eightStreams' | 'median' | 'p99';
type Samples = Record<Measure, Record<VariantName, number[]>>;

export async function measureNetwork(
  workspace: Workspace,
  rounds: number,
  progress: (line: string) => void,
): Promise<NetworkResult> {
  const { datapath } = await workspace.datapath({ slots: 1 << 15 });
  const made = await makeVariants(workspace, datapath);
  for (const variant of made) await startServers(workspace, variant);
  progress(`network: ${made.length} paths are ready`);
  const samples = emptySamples();
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < burstsPerRound; turn += burstsPerConnection)
      await sendBursts(workspace, made, samples, round * burstsPerRound + turn);
    for (const variant of made) await variant.verify();
    for (const variant of rotated(made, round)) {
      const { median, p99 } = await latency(variant);
      samples.median[variant.name].push(median);
      samples.p99[variant.name].push(p99);
    }
    progress(`network: round ${round + 1} of ${rounds}`);
  }
  return results(samples);
}

async function sendBursts(
  workspace: Workspace,
  made: readonly Variant[],
  samples: Samples,
  firstTurn: number,
): Promise<void> {
  const ways: Way[] = [];
  for (const variant of made) ways.push(await open(workspace, variant));
  for (let turn = firstTurn; turn < firstTurn + burstsPerConnection; turn++) {
    const order = rotated(ways, turn);
    for (const { name, one } of order) samples.oneStream[name].push(await one.send(burstBytes));
    for (const { name, many } of order) samples.eightStreams[name].push(await many.send(burstBytes));
  }
  for (const { one, many } of ways) await Promise.all([one.close(), many.close()]);
}

function emptySamples(): Samples {
  const each = (): Record<VariantName, number[]> =>
    Object.fromEntries(variants.map((name): [string, number[]] => [name, []])) as Record<
      VariantName,
      number[]
    >;
  return { oneStream: each(), eightStreams: each(), median: each(), p99: each() };
}

interface Way {
  name: VariantName;
  one: Bursts;
  many: Bursts;
}

/** Its connections are established and have grown their windows. */
async function open(workspace: Workspace, variant: Variant): Promise<Way> {
  const one = await Bursts.connect(workspace, variant, 1, clientCpu);
  const many = await Bursts.connect(workspace, variant, manyStreams, clientCpu);
  for (const bursts of [one, many]) await bursts.send(burstBytes);
  return { name: variant.name, one, many };
}

async function startServers(workspace: Workspace, { name, server }: Variant): Promise<void> {
  const commands = [
    { port: throughputPort, command: burstServer },
    { port: latencyPort, command: [process.execPath, pingPong, 'server', String(latencyPort)] },
  ];
  for (const { port, command } of commands) {
    const child = start(inside(server, command, serverCpu));
    workspace.atEnd(() => stop(child));
    const deadline = Date.now() + 10_000;
    while (!listens(child.pid, port)) {
      if (Date.now() > deadline || child.exitCode !== null)
        throw new ServalError('ERR_KERNEL', {
          subject: command.join(' '),
          reason: `the server of "${name}" does not listen on port ${port}`,
          remedy: 'Run it by hand; `npm run bootstrap -- --for bench` installs what is missing',
        });
      await delay(20);
    }
  }
}

/** Whether a socket of this process's network namespace listens on the port (state 0A). */
function listens(pid: number | undefined, port: number): boolean {
  const hex = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return ['tcp', 'tcp6'].some((table) => {
    const path = `/proc/${pid}/net/${table}`;
    if (pid === undefined || !existsSync(path)) return false;
    const rows = readFileSync(path, 'utf8').split('\n');
    return rows.some((row) => new RegExp(`${hex} [0-9A-F]+:0000 0A `).test(row));
  });
}

async function latency(variant: Variant): Promise<{ median: number; p99: number }> {
  const command = [
    process.execPath,
    pingPong,
    'client',
    variant.target,
    String(latencyPort),
    String(roundTrips),
  ];
  const output = await run(inside(variant.client, command, clientCpu));
  await variant.verify();
  return JSON.parse(output) as { median: number; p99: number };
}

function results(samples: Samples): NetworkResult {
  const ratios = (measure: Measure): Ratios => {
    const { native } = samples[measure];
    const of = (name: Compared): number => rounded(medianRatio(samples[measure][name], native), 3);
    return {
      attached: of('attached'),
      translated: of('translated'),
      nftDnat: of('nftDnat'),
      vxlan: of('vxlan'),
    };
  };
  const spreads = (measure: Measure): Record<VariantName, Spread> =>
    Object.fromEntries(
      variants.map((name) => [name, roundedSpread(spread(samples[measure][name]), 2)]),
    ) as Record<VariantName, Spread>;
  return {
    throughputRatio: { ...ratios('oneStream'), eightStreams: ratios('eightStreams') },
    latencyRatio: { ...ratios('median'), p99: ratios('p99') },
    gigabitsPerSecond: { oneStream: spreads('oneStream'), eightStreams: spreads('eightStreams') },
    roundTripMicroseconds: { median: spreads('median'), p99: spreads('p99') },
  };
}
