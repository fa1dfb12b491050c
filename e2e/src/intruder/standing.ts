/** What an intruder must not change at an agent, what the agent has counted, and what it has written down. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FlowView, PodView, StatusView } from '@serval/api';
import { ask, metricsPort, type AgentProcess } from '../fleet/index.js';

/** Pods, flows with their states, and open migrations. Two of them are equal where nothing was held or moved between. */
export async function standingOf(agent: AgentProcess): Promise<object> {
  const [pods, rules, { openMigrations }] = await Promise.all([
    ask<PodView[]>(agent.socket, 'GET', '/v1/pods'),
    rulesOf(agent),
    ask<StatusView>(agent.socket, 'GET', '/v1/status'),
  ]);
  return {
    pods: pods.map(({ name, netns, attached, held, epoch }) => ({ name, netns, attached, held, epoch })),
    rules,
    openMigrations,
    images: readdirSync(agent.folders.images).sort(),
  };
}

/** A text for each, without its counters. */
export async function rulesOf(agent: AgentProcess): Promise<string[]> {
  const flows = await ask<FlowView[]>(agent.socket, 'GET', '/v1/flows');
  return flows
    .map(({ flowId, pod, state, migration, identity, wire }) =>
      JSON.stringify({ flowId, pod, state, migration, identity, wire }),
    )
    .sort();
}

/** A line of /metrics without its value, e.g. `serval_signalling_errors_total{code="ERR_LIMIT"}`; 0 where it is missing. */
export async function counted(agent: AgentProcess, line: string): Promise<number> {
  const url = `http://${agent.host.address4}:${metricsPort}/metrics`;
  const script = `process.stdout.write(await (await fetch(${JSON.stringify(url)})).text())`;
  const text = await agent.host.run(process.execPath, ['--input-type=module', '-e', script]);
  const found = text.split('\n').find((row) => row.startsWith(`${line} `));
  return found === undefined ? 0 : Number(found.slice(line.length + 1));
}

/** Of a migration, as its target and its peers have it written down. */
export interface MigrationRecord {
  migration: string;
  source: string;
  epoch: number;
  workload: { name: string; uid: string };
  sequence: number;
}

/** The one of the last move from there, as whoever breaks into that host would find it. */
export function recordOf<More = object>(
  agent: AgentProcess,
  role: 'target' | 'peer',
  source: string,
): (MigrationRecord & More) | undefined {
  const folder = join(agent.folders.home, 'state');
  const records = readdirSync(folder)
    .filter((file) => file.startsWith(`${role}-`))
    .map((file) => readFileSync(join(folder, file), 'utf8').split('\n'))
    .filter((lines) => lines.length > 1)
    .map(([header = '', ...rest]) => {
      const { sequence, bytes } = JSON.parse(header) as { sequence: number; bytes: number };
      const text = Buffer.from(rest.join('\n')).subarray(0, bytes).toString();
      return { written: sequence, value: JSON.parse(text) as MigrationRecord & More };
    });
  const own = records.filter(({ value }) => value.source === source);
  own.sort((a, b) => b.value.epoch - a.value.epoch || b.written - a.written);
  return own[0]?.value;
}
