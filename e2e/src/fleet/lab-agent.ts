/** An agent on a host of a lab: its folders, and what its configuration has to say there. */
import { join } from 'node:path';
import { defaultCriuPath } from '@serval/node-agent';
import type { Host, Lab } from '../lab/index.js';
import { AgentProcess } from './agent-process.js';

export const signallingPort = 7443;
export const metricsPort = 9464;

export interface LabAgentOptions {
  /** with room for a folder for each host */
  home: string;
  /** where its resources come from, its certificates, and whatever else than the default */
  config: Record<string, unknown>;
  env?: NodeJS.ProcessEnv;
  /** default: in its home */
  state?: string;
}

/** Not started yet. */
export async function labAgent(
  lab: Lab,
  host: Host,
  { home, config, env = {}, state }: LabAgentOptions,
): Promise<AgentProcess> {
  const folder = join(home, host.name);
  const folders = {
    home: folder,
    state: state ?? join(folder, 'state'),
    bpffs: await lab.mount('bpf', `bpf-${host.name}`),
    // Of its own, since another host's memory is none of its: a test can make it small.
    images: await lab.mount('tmpfs', join('images', host.name)),
  };
  const own = {
    slots: 8192,
    criu: defaultCriuPath(),
    signalling: { address: host.address4, port: signallingPort },
    metrics: { address: host.address4, port: metricsPort },
  };
  return new AgentProcess(host, folders, { ...own, ...config }, env);
}
