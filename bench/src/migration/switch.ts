/**
 * Established connections that say nothing, switched without a mover: the `external` one is told that its part is done. The
 * sockets stay where they are, so that the same ones can be switched again once the target has found that its flows have no
 * sockets, and has told the peers.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { ServalError, type FrozenView, type ServalMigration } from '@serval/api';
import { ask, type Pod } from '@serval/e2e';
import type { Progress } from '../bench.js';
import { percentiles, type Percentiles } from '../statistics.js';
import { clientHosts, python, Stage, withStage, workloadHosts } from './stage.js';

const program = new URL('../../src/migration/programs/many-flows.py', import.meta.url).pathname;
const port = 7000;
const patienceMs = 60_000;

export interface Switched {
  flows: number;
  peers: number;
  /** median, from the first RSYN to the last acknowledgement */
  ms: number;
  spread: Percentiles;
  n: number;
  /** medians of what else it took, by the phases of the timeline, ms */
  phasesMs: Record<string, number>;
}

export async function measureSwitch(
  flows: number,
  rounds: number,
  progress: Progress,
  onStage: (stage: Stage) => void,
): Promise<Switched> {
  // Rules of a flow need two slots, and those of the round before may not be gone yet.
  const stage = await Stage.build(1 << Math.ceil(Math.log2(flows * 4)));
  onStage(stage);
  return withStage(stage, async () => {
    const server = await connect(stage, flows);
    progress(`switch: ${flows.toLocaleString('en')} connections are established`);
    const statuses: Status[] = [];
    for (let round = 1; round <= rounds; round++) {
      const status = await switchOnce(stage, server, `many-${round}`, flows);
      statuses.push(status);
      const phases = (status.timeline ?? []).map(
        ({ name, durationMs }) => `${name} ${durationMs.toFixed(0)}`,
      );
      progress(
        `switch: ${flows.toLocaleString('en')} flows, round ${round} of ${rounds}: ${status.switchMs} ms (${phases.join(', ')} ms)`,
      );
    }
    const spread = percentiles(
      statuses.map(({ switchMs }) => switchMs ?? NaN),
      1,
    );
    return {
      flows,
      peers: clientHosts.length,
      ms: spread.p50,
      spread,
      n: rounds,
      phasesMs: phasesOf(statuses),
    };
  });
}

type Status = NonNullable<ServalMigration['status']>;

function phasesOf(statuses: readonly Status[]): Record<string, number> {
  const names = statuses[0]?.timeline?.map(({ name }) => name) ?? [];
  const durations = (name: string): number[] =>
    statuses.flatMap(({ timeline = [] }) =>
      timeline.filter((phase) => phase.name === name).map(({ durationMs }) => durationMs),
    );
  return Object.fromEntries(names.map((name) => [name, percentiles(durations(name), 1).p50]));
}

/** Half of the connections from each client host. */
async function connect(stage: Stage, flows: number): Promise<Pod> {
  const server = await stage.lab.createPod({ name: 'server', host: workloadHosts[0] });
  const accepting = stage.watch(server, [python, program, 'server', String(port), String(flows)]);
  // A namespace has its own limit, and connects come faster than they are accepted.
  await server.run('sysctl', ['-q', '-w', 'net.core.somaxconn=4096', 'net.ipv4.tcp_max_syn_backlog=16384']);
  await accepting.said((lines) => lines.includes('listening'));
  const clients = await Promise.all(clientHosts.map((host) => stage.clientPod(host)));
  const share = String(flows / clientHosts.length);
  const opening = clients.map((pod) =>
    stage.watch(pod, [python, program, 'client', server.address4, String(port), share]),
  );
  await Promise.all(opening.map((each) => each.said((lines) => lines.includes('ready'))));
  return server;
}

async function switchOnce(stage: Stage, server: Pod, name: string, flows: number): Promise<Status> {
  const { fleet } = stage;
  const [source, target] = [fleet.agent(workloadHosts[0]), fleet.agent(workloadHosts[1])];
  const workload = `bench/${name}`;
  await source.declarePod(workload, {
    netns: server.netns,
    interfaces: [server.interface],
    addresses: [server.address4, server.address6],
    mover: 'external',
    // Another workload each time, though the sockets are the same.
    uid: name,
  });
  const { metadata } = await source.migrate({ workload, targetNode: workloadHosts[1] });
  const { migration } = await ask<FrozenView>(
    source.socket,
    'POST',
    `/v1/migrations/${metadata.name}/freeze`,
  );
  await ask(target.socket, 'POST', `/v1/migrations/${migration}/restored`);
  const { status } = await source.ended(metadata.name);
  if (status?.switchMs === undefined || status.flows !== flows)
    throw new ServalError('ERR_STATE_MISMATCH', {
      subject: `migration ${metadata.name}`,
      reason: `it was to switch ${flows} flows: ${JSON.stringify(status)}`,
      remedy: `Read ${source.log}`,
    });
  await flowsGone(stage);
  target.undeclare('ServalPod', { namespace: 'bench', name });
  return status;
}

/** The target looks every few seconds which of its flows still have a socket: none has one. */
async function flowsGone({ fleet }: Stage): Promise<void> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    const pods = await Promise.all([...fleet.agents.values()].map((agent) => agent.pods()));
    const left = pods.map((ofHost) => ofHost.reduce((sum, { flows }) => sum + flows, 0));
    if (left.every((count) => count === 0)) return;
    if (performance.now() > deadline)
      throw new ServalError('ERR_STATE_MISMATCH', {
        subject: 'flows without sockets',
        reason: `${left.join(', ')} still have rules on the hosts`,
        remedy: "Read the agents' logs",
      });
    await delay(250);
  }
}
