/**
 * Who makes the pod that waits for a workload. On plain hosts it is a command of the administrator's (as CNI plugins are
 * commands); in Kubernetes it is the kubelet.
 */
import { spawn } from 'node:child_process';
import { ServalError } from '@serval/api';
import type { TargetAddresses, WorkloadName } from '../protocol/messages.js';
import type { AgentPod } from './pods.js';

/** A pod that waits: its namespaces, its addresses, and an empty cgroup of its own. */
export interface Sandbox {
  /** namespaced name of the pod, where it is not the workload's: in Kubernetes two pods never have one name */
  pod?: string;
  netns: string;
  interfaces: string[];
  addresses: TargetAddresses;
  /** holds the pod's namespaces; absent where the mover needs none (external) */
  pausePid?: number;
  cgroup?: string;
}

export interface SandboxMaker {
  /** Asked again for the same migration it gives the same pod. @throws ServalError ERR_MOVER */
  create(migration: string, workload: WorkloadName): Promise<Sandbox>;
  /** The move is given up. Takes the pod with everything in it away, its network first. Fine where there is none. */
  remove(sandbox: Sandbox): Promise<void>;
  /** The workload has left it for good. Resolves when the pod's network is gone. Fine where there is none. */
  leave(sandbox: Sandbox): Promise<void>;
}

export interface SandboxCommands {
  create: readonly string[];
  remove: readonly string[];
}

const timeoutMs = 30_000;

/** The commands get a JSON object on standard input; `create` answers with a Sandbox in JSON. */
export function commandSandboxes(commands: SandboxCommands): SandboxMaker {
  const remove = async (sandbox: Sandbox): Promise<void> => {
    await hook(commands.remove, sandbox);
  };
  return {
    async create(migration, workload) {
      const answer = await hook(commands.create, { migration, workload });
      return readSandbox(commands.create, answer);
    },
    remove,
    leave: remove,
  };
}

function readSandbox(command: readonly string[], text: string): Sandbox {
  let sandbox: Partial<Sandbox>;
  try {
    sandbox = JSON.parse(text) as Partial<Sandbox>;
  } catch (cause) {
    throw bad(command, `it printed no JSON: ${text.slice(0, 80)}`, cause);
  }
  const { netns, interfaces, addresses } = sandbox;
  if (typeof netns !== 'string' || !netns.startsWith('/')) throw bad(command, 'netns is no absolute path');
  if (!Array.isArray(interfaces) || interfaces.length === 0) throw bad(command, 'interfaces are missing');
  if (addresses?.ipv4 === undefined && addresses?.ipv6 === undefined)
    throw bad(command, 'addresses.ipv4 and addresses.ipv6 are both missing');
  return sandbox as Sandbox;
}

async function hook(command: readonly string[], input: unknown): Promise<string> {
  const [program, ...args] = command;
  if (program === undefined) throw bad(command, 'no command is configured');
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], timeout: timeoutMs });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  child.stdin.on('error', () => undefined); // it may end without reading
  child.stdin.end(JSON.stringify(input));
  const code = await new Promise<number | string>((resolve) => {
    child.on('error', (error) => resolve(error.message));
    child.on('close', (status, signal) => resolve(status ?? signal ?? 'unknown'));
  });
  if (code !== 0) throw bad(command, `it ended with ${code}: ${stderr.trim().slice(-300)}`);
  return stdout;
}

function bad(command: readonly string[], reason: string, cause?: unknown): ServalError {
  return new ServalError('ERR_MOVER', {
    subject: `sandbox command "${command.join(' ')}"`,
    reason,
    remedy: 'Run it by hand with a JSON object on standard input; see docs/agent.md for what it must answer',
    cause,
  });
}

/** As this node knows the pod: by the workload's name, where it has none of its own. */
export function nameOf({ pod }: Sandbox, workload: string): string {
  return pod ?? workload;
}

/** A pod that is declared, with or without a process in it, as the sandbox that it is. */
export function sandboxOf({ netns, interfaces, addresses, workload }: AgentPod): Sandbox {
  const { pausePid, cgroup } = workload?.process ?? {};
  const ipv4 = addresses.find((address) => !address.includes(':'));
  const ipv6 = addresses.find((address) => address.includes(':'));
  return {
    netns,
    interfaces,
    addresses: { ...(ipv4 === undefined ? {} : { ipv4 }), ...(ipv6 === undefined ? {} : { ipv6 }) },
    ...(pausePid === undefined ? {} : { pausePid }),
    ...(cgroup === undefined ? {} : { cgroup }),
  };
}
