/** kube-proxy itself, on the client's node. */
import { join } from 'node:path';
import { writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { ServalError } from '@serval/api';
import { clientRange, virtualTargets, type Plan } from '../plan.js';
import { residentMb } from '../resident.js';
import { iptablesTools, nftTools, withPath } from '../rule-tools.js';
import type { Variant } from '../variant.js';
import type { World } from '../world.js';
import type { ControlPlane, Logged } from './control-plane.js';

const modes = {
  nftables: { way: 'kubeProxyNft', label: 'nft' },
  iptables: { way: 'kubeProxyIptables', label: 'iptables' },
} as const;
export type Mode = keyof typeof modes;

/** If it finds something wrong with its configuration or the kernel, it ends within this time, ms. */
const earlyMs = 1_500;

export async function kubeProxyVariant(world: World, control: ControlPlane, mode: Mode): Promise<Variant> {
  const { way, label } = modes[mode];
  const place = await world.place(label);
  const name = `node-${label}`;
  const kubeconfig = await control.addNode(name, place);
  const config = join(world.workspace.folder, `kube-proxy-${label}.yaml`);
  writeFileSync(config, JSON.stringify(configuration(name, mode, kubeconfig)));
  const tools = await (mode === 'nftables' ? nftTools() : iptablesTools(world.workspace, place.node));
  let running: Logged | undefined;
  const clear = async (): Promise<void> => {
    if (running === undefined) return;
    await running.end();
    running = undefined;
    await tools.clear(place.node);
  };
  return {
    way,
    by: `kube-proxy ${control.binaries.version} in its ${mode} mode, with ${tools.version}`,
    place,
    targets: virtualTargets,
    prepare: (plan: Plan) => control.ensure(plan),
    program: async () => {
      const began = performance.now();
      const command = [join(control.binaries.folder, 'kube-proxy'), `--config=${config}`];
      running = control.start(place.node, `kube-proxy-${label}`, withPath(tools.path, command));
      await stays(running);
      return began;
    },
    change: async (_before, after) => {
      const told = performance.now();
      await control.change(after);
      return told;
    },
    memory: () => {
      const pid = running?.child.pid;
      return Promise.resolve(pid === undefined ? {} : { processMb: residentMb(pid) });
    },
    processId: () => running?.child.pid,
    clear,
  };
}

function configuration(node: string, mode: Mode, kubeconfig: string): object {
  return {
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    mode,
    hostnameOverride: node,
    clientConnection: { kubeconfig },
    detectLocalMode: 'ClusterCIDR',
    clusterCIDR: clientRange,
    healthzBindAddress: '127.0.0.1:10256',
    metricsBindAddress: '127.0.0.1:10249',
    // The machine's own limits are none of its business here.
    conntrack: { maxPerCore: 0 },
    oomScoreAdj: 0,
  };
}

async function stays({ child, name, ...its }: Logged): Promise<void> {
  const deadline = performance.now() + earlyMs;
  while (performance.now() < deadline) {
    if (child.exitCode !== null || child.signalCode !== null)
      throw new ServalError('ERR_KERNEL', {
        subject: name,
        reason: `it ends at once: ${its.lastWords()}`,
        remedy: 'See what it says, or compare with rules of the same shape: --peers shape',
      });
    await delay(50);
  }
}
