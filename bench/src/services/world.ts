/**
 * Client pods on nodes of their own, one for each way to reach a service, all of the same shape: pod, node, far side. The
 * far side is the same for all of them: every replica of every service is there. Rules of one way are in its own node only.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { spawn, type ChildProcess } from 'node:child_process';
import { ServalError } from '@serval/api';
import { inside, run, stop } from '../shell.js';
import type { Workspace } from '../workspace.js';
import { endpointPort, endpointRange, markedReplicas, virtualRange, type Marked } from './plan.js';

const source = new URL('../../src/services/programs/connects.c', import.meta.url).pathname;
/** The clients' is the other one. */
const serverCpu = 1;
const patienceMs = 10_000;

export interface Place {
  /** paths of network namespaces */
  pod: string;
  node: string;
  /** the pod's own, the node's towards the far side, the far side's towards the node */
  podAddress: string;
  nodeAddress: string;
  farAddress: string;
}

export interface World {
  workspace: Workspace;
  /** path of the far side's network namespace */
  far: string;
  /** the compiled programs/connects.c */
  program: string;
  /** @param label unique in the world, of lower-case letters and digits */
  place(label: string): Promise<Place>;
}

export async function buildWorld(workspace: Workspace): Promise<World> {
  const program = await compile(workspace);
  const far = await workspace.netns('far');
  await setUp(far, [`route add local ${endpointRange} dev lo`]);
  await startServer(workspace, far, program, markedReplicas);
  let places = 0;
  return { workspace, far, program, place: (label) => makePlace(workspace, far, label, ++places) };
}

export async function compile({ folder }: Workspace): Promise<string> {
  const program = join(folder, 'connects');
  if (!existsSync(program)) await run(['gcc', '-O2', '-Wall', '-Wextra', '-pthread', source, '-o', program]);
  return program;
}

/** @param index unique among those of one far side */
export async function makePlace(
  workspace: Workspace,
  far: string,
  label: string,
  index: number,
): Promise<Place> {
  const pod = await workspace.netns(`${label}-pod`);
  const node = await workspace.netns(`${label}-node`);
  const [podAddress, nodeAddress, farAddress] = [
    `10.80.${index}.2`,
    `10.81.${index}.1`,
    `10.81.${index}.2`,
  ] as const;
  const cable = (end: string, device: string): string =>
    `link add ${end} netns ${nameOf(node)} type veth peer name ${device}`;
  await run(
    ['ip', '-batch', '-'],
    `${cable('pod', 'eth0')} netns ${nameOf(pod)}\n${cable('eth0', `to${index}`)} netns ${nameOf(far)}\n`,
  );
  await setUp(node, [
    ...up('pod', `10.80.${index}.1/24`),
    ...up('eth0', `${nodeAddress}/24`),
    `route add default via ${farAddress}`,
    // Who meets no rule on the way gets nowhere, and is no entry of conntrack's.
    `route add unreachable ${virtualRange}`,
  ]);
  await setUp(pod, [...up('eth0', `${podAddress}/24`), `route add default via 10.80.${index}.1`]);
  await setUp(far, [
    ...up(`to${index}`, `${farAddress}/24`),
    `route add 10.80.${index}.0/24 via ${nodeAddress}`,
  ]);
  await sysctl(node, { 'ipv4/ip_forward': '1' });
  // All of a client's connections go to few addresses where there are few services.
  await sysctl(pod, { 'ipv4/ip_local_port_range': '1024 65535' });
  return { pod, node, podAddress, nodeAddress, farAddress };
}

export function nameOf(netns: string): string {
  return netns.split('/').at(-1) ?? '';
}

export function up(device: string, address: string): string[] {
  return [`link set ${device} up`, `addr add ${address} dev ${device}`];
}

export async function setUp(netns: string, lines: readonly string[]): Promise<void> {
  await run(inside(netns, ['ip', '-batch', '-']), `${lines.join('\n')}\n`);
}

export async function sysctl(netns: string, values: Record<string, string>): Promise<void> {
  for (const [file, value] of Object.entries(values))
    await run(inside(netns, ['sh', '-c', `echo "${value}" > /proc/sys/net/${file}`]));
}

/** Whoever connects to an address of this namespace gets an answer. */
export async function startServer(
  workspace: Workspace,
  netns: string,
  program: string,
  marked: readonly Marked[],
): Promise<void> {
  await sysctl(netns, { 'core/somaxconn': '65535' });
  const marks = marked.map(({ address, mss }) => `${address}=${mss}`).join(',');
  const command = [program, 'server', String(endpointPort), marks];
  const [file = '', ...args] = inside(netns, command, serverCpu);
  const child = spawn(file, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  workspace.atEnd(() => stop(child));
  let words = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (words += text));
  await listening(netns, marked.length + 1, child, () => words);
}

async function listening(
  netns: string,
  expected: number,
  child: ChildProcess,
  words: () => string,
): Promise<void> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    const open = await run(inside(netns, ['cat', '/proc/net/tcp']));
    // State 0A: it listens.
    if (open.split('\n').filter((row) => / 0A /.test(row.slice(0, 40))).length === expected) return;
    if (child.exitCode !== null || performance.now() > deadline)
      throw new ServalError('ERR_KERNEL', {
        subject: "the replicas' server",
        reason: words().trim() || `it does not listen on port ${endpointPort}`,
        remedy: 'Run bench/src/services/programs/connects.c by hand',
      });
    await delay(20);
  }
}
