/** Pure: which network plugin the cluster has, and what of Serval does not go well with it. */
import type { Node, Workload } from '../types.js';
import { ok, warn, type Finding } from './finding.js';

export interface NetworkFacts {
  daemonSets: readonly Workload[];
  nodes: readonly Node[];
  /** Cilium's own settings; undefined where they may not be read */
  ciliumConfig?: Readonly<Record<string, string>>;
  /** Calico's eBPF data plane is on; undefined where nobody says */
  calicoEbpf?: boolean;
}

interface Plugin {
  name: string;
  /** of its DaemonSet */
  daemonSet: RegExp;
  /** begins annotations that it puts on nodes */
  annotation?: string;
  judge: (facts: NetworkFacts) => Omit<Finding, 'name'>;
}

const fits = (why: string) => () => ({ result: 'ok' as const, why });

const plugins: readonly Plugin[] = [
  { name: 'Cilium', daemonSet: /^(cilium|anetd)$/, judge: cilium },
  { name: 'Calico', daemonSet: /^(calico-node|canal)$/, annotation: 'projectcalico.org/', judge: calico },
  {
    name: 'Flannel',
    daemonSet: /^(kube-flannel|canal$)/,
    annotation: 'flannel.alpha.coreos.com/',
    judge: fits('it forwards by address, and moved pods send from the address that it gave them'),
  },
  {
    name: 'OVN-Kubernetes',
    daemonSet: /^ovnkube-node/,
    annotation: 'k8s.ovn.org/',
    judge: fits(
      'its port security lets a pod send only from its own addresses: moved pods do. Its policies judge by the new address',
    ),
  },
  {
    name: 'Kube-OVN',
    daemonSet: /^kube-ovn-cni$/,
    annotation: 'ovn.kubernetes.io/',
    judge: fits('its port security lets a pod send only from its own addresses: moved pods do'),
  },
  {
    name: 'kube-router',
    daemonSet: /^kube-router$/,
    annotation: 'kube-router.io/',
    judge: fits(
      'it routes by address. Services with its direct server return are tunnelled: their flows do not move',
    ),
  },
  {
    name: 'Antrea',
    daemonSet: /^antrea-agent$/,
    annotation: 'node.antrea.io/',
    judge: fits('its spoof guard lets a pod send only from its own addresses: moved pods do'),
  },
  {
    name: 'AWS VPC CNI',
    daemonSet: /^aws-node$/,
    annotation: 'vpc.amazonaws.com/',
    judge: fits(
      'addresses belong to network interfaces of the VPC: moved pods have one of their new node. Security groups judge by that',
    ),
  },
  {
    name: 'Azure CNI',
    daemonSet: /^azure-cns/,
    judge: fits('moved pods have an address of their new node, which is all that the network sees'),
  },
  { name: 'kindnet', daemonSet: /^kindnet$/, judge: fits('it routes by address') },
  { name: 'Weave Net', daemonSet: /^weave-net$/, judge: weave },
];

export function networkFindings(facts: NetworkFacts): Finding[] {
  const found = plugins.filter((plugin) => isThere(plugin, facts));
  const findings = found.map((plugin) => ({ name: `network plugin ${plugin.name}`, ...plugin.judge(facts) }));
  return [...(found.length === 0 ? [unknown] : findings), proxy(facts)];
}

const unknown = warn(
  'network plugin',
  'none that is known was found by its DaemonSet, nor by annotations of nodes',
  'See that it lets pods send from their own addresses, and that nothing else hooks connect() at the root of the cgroups',
);

function isThere({ daemonSet, annotation }: Plugin, { daemonSets, nodes }: NetworkFacts): boolean {
  if (daemonSets.some(({ metadata }) => daemonSet.test(metadata.name))) return true;
  // Some run outside of the cluster's own objects; Flannel's and Calico's annotations outlive them, so DaemonSets go first.
  if (annotation === undefined || daemonSets.length > 0) return false;
  return nodes.some(({ metadata }) =>
    Object.keys(metadata.annotations ?? {}).some((key) => key.startsWith(annotation)),
  );
}

function cilium({ ciliumConfig: config = {} }: NetworkFacts): Omit<Finding, 'name'> {
  const replaces = /^(true|strict)$/.test(config['kube-proxy-replacement'] ?? '');
  const isHostOnly = config['bpf-lb-sock-hostns-only'] === 'true';
  const isOff = Object.keys(config).length > 0 && !replaces && config['bpf-lb-sock'] !== 'true';
  const routing = "its eBPF host routing is no hindrance, since programs are at the pod's own eth0";
  if (isOff || isHostOnly)
    return { result: 'ok', why: `its socket load balancer leaves pods alone; ${routing}` };
  const known = Object.keys(config).length > 0 ? 'is on' : 'may be on';
  return {
    result: 'warn',
    why: `its socket load balancer ${known} and hooks the same calls (connect, sendmsg): Serval's programs have to run before it, or ServalServices are served like ordinary Services; ${routing}`,
    remedy:
      'Set socketLB.hostNamespaceOnly=true in Cilium, or see after installing that each node has the capability services: kubectl serval status -o wide',
  };
}

function calico({ calicoEbpf }: NetworkFacts): Omit<Finding, 'name'> {
  if (calicoEbpf === true)
    return {
      result: 'warn',
      why: "its eBPF data plane translates at connect() too: Serval's programs have to run before it, or ServalServices are served like ordinary Services",
      remedy: 'Set bpfConnectTimeLoadBalancing: Disabled in its FelixConfiguration',
    };
  return {
    result: 'ok',
    why: 'its strict reverse path filter lets a pod send only from its own addresses: moved pods do. Its policies judge by the new address',
  };
}

function weave(): Omit<Finding, 'name'> {
  return {
    result: 'warn',
    why: 'nobody looks after it any more, and nobody has tried it with Serval',
    remedy: 'Change to another one',
  };
}

function proxy({ daemonSets, ciliumConfig }: NetworkFacts): Finding {
  const name = 'services without Serval';
  if (daemonSets.some(({ metadata }) => metadata.name.startsWith('kube-proxy')))
    return ok(name, 'kube-proxy serves whoever has no agent, and processes outside of pods');
  if (/^(true|strict)$/.test(ciliumConfig?.['kube-proxy-replacement'] ?? ''))
    return ok(name, 'Cilium serves whoever has no agent, in place of kube-proxy');
  return warn(
    name,
    'no kube-proxy was found: whoever has no agent reaches no Service, unless something else serves them',
    'See that Services work in this cluster as they are',
  );
}
