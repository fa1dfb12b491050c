/** The demo's story: the same migration without Serval, then with it, there and back. */
import type { ServalMigration } from '@serval/api';
import { formatMs, renderTimeline } from '@serval/cli';
import { auditRecording, packetsTo, packetLine, type Recorder, type Recording } from '../lab/index.js';
import type { LoadProcess } from './load/process.js';
import type { CheckResult, WindowStats } from './load/protocol.js';
import { readMove, type Move } from './move.js';
import type { Progress } from './progress.js';
import type { BaselineResult, DemoResults, MigrationResult } from './report.js';
import type { World } from './world.js';

export interface ScenarioOptions {
  /** client connections in all */
  connections: number;
  /** time that the clients work undisturbed before each migration, ms */
  warmUpMs: number;
}

/** Longest wait for an answer until a connection counts as dead, ms. */
const answerMs = 3000;
const shownViolations = 5;

export async function runScenario(
  world: World,
  progress: Progress,
  options: ScenarioOptions,
): Promise<DemoResults> {
  progress.heading('Without Serval: the pod moves, its address changes');
  const baseline = await runBaseline(world, progress, options);
  progress.heading('With Serval');
  const recorder = await world.lab.recordFabric();
  const { moves, results } = await runMigrations(world, progress, options);
  const violations = await progress.run('audit what the fabric has seen', async (step) => {
    const found = await audit(world, recorder, moves);
    step.done(`${found.packets} packets, ${found.violations.length} objections`);
    return found.violations;
  });
  return { baseline, migrations: results, recorderViolations: violations };
}

async function startClients(world: World, server: string, options: ScenarioOptions): Promise<LoadProcess[]> {
  const half = Math.floor(options.connections / 2);
  const shares = [half, options.connections - half];
  const hosts = ['s2-h1', 's3-h1'];
  return Promise.all(
    shares.map((count, i) => world.startClients(`client-${i + 1}`, hosts[i] as string, server, count)),
  );
}

async function runBaseline(
  world: World,
  progress: Progress,
  options: ScenarioOptions,
): Promise<BaselineResult> {
  const source = await progress.run('redis-server in site 1', async () =>
    world.startRedis(await world.seat('s1-h1')),
  );
  const loads = await progress.run(
    `${options.connections} client connections from sites 2 and 3`,
    async () => {
      const started = await startClients(world, source.pod.address4, options);
      await pause(options.warmUpMs);
      return started;
    },
  );
  await Promise.all(loads.map((load) => load.beginWindow()));
  const moved = await progress.run('move it to site 2', () => world.moveWithoutServal(source, 's2-h1'));
  const checks = await progress.run(`ask every connection, ${answerMs / 1000} s of patience`, () =>
    Promise.all(loads.map((load) => load.check(answerMs))),
  );
  const windows = await Promise.all(loads.map((load) => load.endWindow()));
  await world.stopClients();
  await world.vacate(moved);
  const sum = total(checks, windows);
  progress.note(`${sum.survived} of ${sum.connections} connections survived`);
  return {
    from: source.pod.address4,
    to: moved.pod.address4,
    connections: sum.connections,
    survived: sum.survived,
    resets: sum.resets,
    freezeMs: moved.freezeMs,
  };
}

async function runMigrations(
  world: World,
  progress: Progress,
  options: ScenarioOptions,
): Promise<{ moves: Move[]; results: MigrationResult[] }> {
  await progress.run('move something small first: the agents have not run yet', () => world.rehearse());
  const running = await progress.run('redis-server in site 1', async () => {
    const workload = await world.startRedis(await world.seat('s1-h1'));
    await world.declare(workload);
    return workload;
  });
  const loads = await progress.run(`${options.connections} client connections from sites 2 and 3`, () =>
    startClients(world, running.pod.address4, options),
  );
  const moves: Move[] = [];
  const results: MigrationResult[] = [];
  let at = { host: 's1-h1', address: running.pod.address4 };
  for (const host of ['s2-h1', 's1-h1']) {
    await pause(options.warmUpMs);
    const known = new Set(world.lab.pods.map(({ name }) => name));
    await Promise.all(loads.map((load) => load.beginWindow()));
    const migration = await progress.run(`move it to ${host === 's2-h1' ? 'site 2' : 'site 1, back'}`, () =>
      world.migrate(at.host, host),
    );
    const checks = await progress.run('ask every connection', () =>
      Promise.all(loads.map((load) => load.check(answerMs))),
    );
    const windows = await Promise.all(loads.map((load) => load.endWindow()));
    const sum = total(checks, windows);
    if (process.env['SERVAL_DEMO_DEBUG']) console.error(JSON.stringify(windows, null, 1));
    const move = readMove(migration, at.address);
    for (const line of renderTimeline(move.timeline)) progress.note(line);
    progress.note(describeGap(move, migration, windows));
    const target = world.lab.pods.find(({ name }) => !known.has(name));
    const to = { host, address: target?.address4 ?? '?' };
    moves.push(move);
    results.push({
      from: at.address,
      to: to.address,
      connections: sum.connections,
      survived: sum.survived,
      resets: sum.resets,
      wrongReplies: sum.wrongReplies,
      freezeMs: round(move.freezeMs),
      worstClientGapMs: round(sum.worstGapMs),
      switchMs: round(move.switchMs),
    });
    at = to;
  }
  return { moves, results };
}

function describeGap(move: Move, { status }: ServalMigration, windows: readonly WindowStats[]): string {
  const longest = (of: (window: WindowStats) => number): number => Math.max(...windows.map(of));
  const wait = longest((window) => window.worstWaitMs);
  return (
    `${status?.flows ?? 0} flows moved, ${status?.replayed ?? 0} packets replayed; ` +
    `worst client gap ${formatMs(wait)}, that is the freeze and ${formatMs(wait - move.freezeMs)} ` +
    `(${formatMs(longest((window) => window.worstGapMs))} from reply to reply, the client's own pause included)`
  );
}

function total(checks: readonly CheckResult[], windows: readonly WindowStats[]) {
  const sum = <Entry>(entries: readonly Entry[], of: (entry: Entry) => number): number =>
    entries.reduce((all, entry) => all + of(entry), 0);
  return {
    connections: sum(checks, (check) => check.connections),
    survived: sum(checks, (check) => check.survived),
    resets: sum(windows, (window) => window.resets),
    wrongReplies: sum(windows, (window) => window.wrongReplies),
    // From when a request was due: a client's pause between two requests is none of the migration's.
    worstGapMs: Math.max(...windows.map((window) => window.worstWaitMs)),
  };
}

/** Rule 5, no tunnels, and nobody who runs Serval still sends to an address that was left. */
async function audit(
  world: World,
  recorder: Recorder,
  moves: readonly Move[],
): Promise<{ packets: number; violations: string[] }> {
  const recording = await recorder.stop();
  const objections = auditRecording(recording, world.lab.assignments).map((violation) =>
    [
      violation.kind,
      violation.reason,
      violation.packet === undefined ? '' : packetLine(violation.packet),
    ].join(' '),
  );
  const stale = moves.flatMap((move) => staleSends(recording, move));
  const all = [...objections, ...stale];
  return {
    packets: recording.packets.length,
    violations:
      all.length > shownViolations
        ? [...all.slice(0, shownViolations), `and ${all.length - shownViolations} more`]
        : all,
  };
}

function staleSends(recording: Recording, move: Move): string[] {
  return packetsTo(recording.packets, move.oldAddress, { after: move.switchedAt }).map(
    (packet) => `to an address that was left: ${packetLine(packet)}`,
  );
}

function round(ms: number): number {
  return Math.round(ms * 10) / 10;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
