/**
 * The agent's Kubernetes mode, put together. Loaded when it is asked for: the client library takes 90 MB, which a host without
 * Kubernetes should not pay.
 */
import { networkInterfaces, release } from 'node:os';
import { join } from 'node:path';
import { apiVersion, type ServalNode } from '@serval/api';
import type { Logger, ResourceStore } from '@serval/kube-runtime';
import { KubeClient, KubernetesStore } from '@serval/kube-runtime/kubernetes';
import type { Capability } from '../agent/capabilities.js';
import type { AgentConfig } from '../agent/config.js';
import type { AgentPod } from '../agent/pods.js';
import type { SandboxMaker } from '../agent/sandbox.js';
import { salLimit } from '../datapath/abi.generated.js';
import { Arrivals, type ArrivalStore } from './arrivals.js';
import { keepCertificate, type KeptCertificate } from './certificate.js';
import { hostDevices } from './host-devices.js';
import { LocalPods } from './local-pods.js';
import { NodeStore } from './node-store.js';
import { PodPlaces } from './pod-places.js';
import { Registration } from './registration.js';
import { kubernetesSandboxes } from './sandboxes.js';

export {
  keepCertificate,
  type CertificateOptions,
  type CertificateTimes,
  type KeptCertificate,
} from './certificate.js';
export { filesOfNode } from './certificate-rules.js';
export { MigrationFollower } from './migration-follower.js';
export { sourcePart, TargetSteps } from './steps.js';

export interface KubernetesParts {
  store: NodeStore;
  sandboxes: SandboxMaker;
  /** resolves when the pod is to go: before that the kubelet would start its containers anew */
  mayGo: (pod: AgentPod) => Promise<void>;
  /** Keeps this node's ServalNode. Resolves when it is there. */
  register: (facts: { agentVersion: string; capabilities: () => Capability[] }) => Promise<Registration>;
  close(): Promise<void>;
}

/** To an API server. */
export interface Connection {
  client: KubeClient;
  /** This node's certificate, where it is to be asked for; resolves when there is one that can be used. */
  keepCertificate(log: Logger): Promise<KeptCertificate | undefined>;
  open(options: KubernetesOptions): Promise<KubernetesParts>;
}

export function connect(
  { node, stateDir, kubernetes = { proc: '/proc' } }: AgentConfig,
  version: string,
): Connection {
  const client = KubeClient.load(`serval-agent/${version}`, kubernetes.kubeconfig);
  const { certificates } = kubernetes;
  return {
    client,
    keepCertificate(log) {
      if (certificates === undefined) return Promise.resolve(undefined);
      const { namespace: caNamespace, signer } = certificates;
      return keepCertificate({
        ...{ client, node, caNamespace, log },
        dir: join(stateDir, 'pki'),
        ...(signer === undefined ? {} : { signerName: signer }),
      });
    },
    open: (options) => openKubernetes(client, options),
  };
}

export interface KubernetesOptions {
  config: AgentConfig;
  state: ArrivalStore;
  /** what was found on stable storage */
  records: ReadonlyMap<string, unknown>;
  log: Logger;
}

/** EndpointSlices of Services that the operator keeps. */
const ownSlices = 'serval.io/service=true';

/** Resolves when everything was listed once, however long the API server takes. */
async function openKubernetes(client: KubeClient, options: KubernetesOptions): Promise<KubernetesParts> {
  const { config, state, records, log } = options;
  const { node, signalling, kubernetes = { proc: '/proc' } } = config;
  log.info('asking the API server what there is');
  const places = new PodPlaces({ proc: kubernetes.proc, ownPids: kubernetes.proc === '/proc' });
  const [cluster, pods] = await Promise.all([
    KubernetesStore.open({
      client,
      kinds: {
        ServalNode: {},
        ServalService: {},
        ServalMigration: {},
        EndpointSlice: { labelSelector: ownSlices },
      },
      fieldManager: `serval-agent-${node}`.slice(0, 128),
      onError: (kind, error) => log.warn({ err: error, kind }, 'a watch broke; it is begun again'),
      onHandlerError: (kind, error) => log.error({ err: error, kind }, 'a change could not be taken in'),
    }),
    LocalPods.open({
      client,
      node,
      find: (wanted) => places.find(wanted),
      arrivals: new Arrivals(state, records),
      log,
    }),
  ]);
  const store = new NodeStore(cluster, pods);
  // Which pod a migration goes to may be known later than the pod.
  cluster.watch('ServalMigration', () => pods.wake());
  const closing = new AbortController();
  return {
    store,
    sandboxes: kubernetesSandboxes({ node, store, pods }),
    mayGo: async ({ name, netns }) => {
      await pods.until(() => isGoing(pods, name, netns) || undefined, closing.signal);
    },
    register: ({ agentVersion, capabilities }) =>
      Registration.start({
        client,
        store,
        node,
        port: signalling.port,
        facts: () => ({ agentVersion, kernelVersion: release(), capabilities: capabilities() }),
        onSpec: (own) => void declareHost(pods, store, own),
        log,
      }),
    async close() {
      closing.abort();
      await store.close();
    },
  };
}

function isGoing(pods: LocalPods, name: string, netns: string): boolean {
  const object = pods.object(name);
  const known = pods.get(name);
  return (
    object === undefined || object.metadata.deletionTimestamp !== undefined || known?.spec.netns !== netns
  );
}

/** The node's own processes, and those of pods in its network: one pod to the agent, since their flows are told apart by nothing. */
async function declareHost(pods: LocalPods, store: ResourceStore, own: ServalNode): Promise<void> {
  const { name } = own.metadata;
  const devices = await hostDevices();
  const local = Object.values(networkInterfaces()).flatMap((addresses = []) =>
    addresses
      .filter(({ internal, address }) => !internal && !address.startsWith('fe80:'))
      .map(({ address }) => address),
  );
  if (devices.length === 0 || store.get('ServalNode', name) === undefined) return;
  pods.declare({
    apiVersion,
    kind: 'ServalPod',
    metadata: { namespace: 'host', name },
    spec: {
      node: name,
      netns: '/proc/self/ns/net',
      interfaces: devices.slice(0, salLimit.DEVICES_MAX),
      addresses: [...new Set([...own.spec.hostAddresses, ...local])],
      hostNetwork: true,
    },
  });
}
