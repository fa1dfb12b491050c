/** What everything else in an agent stands on: its certificate, its state, its resources, the data plane. */
import { mkdir } from 'node:fs/promises';
import { ServalError } from '@serval/api';
import { DirectoryStore, NodeDirectory, type Logger, type ResourceStore } from '@serval/kube-runtime';
import { EbpfDatapath } from '../datapath/ebpf.js';
import type { Connection, KubernetesParts } from '../kubernetes/index.js';
import {
  Credentials,
  randomly,
  seeded,
  SignallingClient,
  type ClientOptions,
  type CredentialFiles,
} from '../signalling/index.js';
import type { AgentConfig } from './config.js';
import { StateStore } from './store.js';
import { withSmallYoungRoom } from './young-heap.js';

export type Closer = () => unknown;

export interface Ground {
  state: StateStore;
  records: ReadonlyMap<string, unknown>;
  resources: Resources;
  store: ResourceStore;
  nodes: NodeDirectory;
  datapath: EbpfDatapath;
  credentials: Credentials;
  client: SignallingClient;
  /** when this node's certificate ends, ms since 1970; absent where it is not asked for */
  certifiedUntil?: () => number;
}

interface Resources {
  store: ResourceStore;
  /** how many can not be used */
  problems: () => number;
  /** absent in directory mode */
  kubernetes?: KubernetesParts;
}

export async function openGround(
  config: AgentConfig,
  version: string,
  log: Logger,
  closers: Closer[],
): Promise<Ground> {
  await mkdir(config.imagesDir, { recursive: true, mode: 0o700 });
  const api = await connect(config, version);
  if (api !== undefined) closers.push(() => api.client.close());
  const kept = await api?.keepCertificate(log);
  if (kept !== undefined) closers.push(() => kept.close());
  const credentials = loadCredentials(config, kept?.files ?? config.certificates);
  credentials.watch((error) => log.error({ err: error }, 'certificates can not be used'));
  closers.push(() => credentials.close());
  const state = await StateStore.open(config.stateDir, {
    onProblem: (problem) => log.error(problem, 'a record of the state was set aside'),
  });
  const records = state.load();
  const resources = await withSmallYoungRoom(() => openResources(config, api, { state, records, log }));
  const { store } = resources;
  const nodes = new NodeDirectory();
  closers.push(() => (resources.kubernetes ?? store).close(), nodes.follow(store));
  const { bpffs, slots } = config;
  const { choices, replicas } = config.services;
  const datapath = await EbpfDatapath.open({ bpffs, slots, choices, replicas });
  closers.push(() => datapath.close());
  const client = new SignallingClient({ credentials, ...interferenceOf(config, log) });
  closers.push(() => client.close());
  return {
    ...{ state, records, resources, store, nodes, datapath, credentials, client },
    ...(kept === undefined ? {} : { certifiedUntil: () => kept.expiresAt() }),
  };
}

async function openResources(
  config: AgentConfig,
  api: Connection | undefined,
  parts: { state: StateStore; records: ReadonlyMap<string, unknown>; log: Logger },
): Promise<Resources> {
  if (api !== undefined) {
    const kubernetes = await api.open({ config, ...parts });
    return { store: kubernetes.store, problems: () => kubernetes.store.problems, kubernetes };
  }
  const store = await DirectoryStore.open({
    directory: config.directory,
    onProblem: (problem) => parts.log.warn(problem, 'a resource can not be used'),
  });
  return { store, problems: () => store.problems };
}

/**
 * Of the client alone: requests pass the client of one agent and their replies come back to it, so that with all agents told
 * the same each message is met exactly once.
 */
function interferenceOf({ interference }: AgentConfig, log: Logger): Pick<ClientOptions, 'interfere'> {
  if (interference === undefined) return {};
  log.warn({ interference }, 'messages are lost, doubled and delayed on purpose: this is for tests only');
  return { interfere: randomly(interference, seeded(interference.seed)) };
}

/** Loaded when it is asked for: see kubernetes/index.ts. */
async function connect(config: AgentConfig, version: string): Promise<Connection | undefined> {
  if (config.kubernetes === undefined) return undefined;
  return (await import('../kubernetes/index.js')).connect(config, version);
}

/** @throws ServalError ERR_WRONG_NODE where they are another node's; what Credentials.load throws */
function loadCredentials({ node }: AgentConfig, files: CredentialFiles | undefined): Credentials {
  // The configuration was refused without.
  if (files === undefined) throw new TypeError('no certificates');
  const credentials = Credentials.load(files);
  const certified = credentials.current.node;
  if (certified === node) return credentials;
  credentials.close();
  throw new ServalError('ERR_WRONG_NODE', {
    subject: files.cert,
    reason: `it was issued to ${certified}, and this is ${node}`,
    remedy: `Issue one: servald certs issue DIR ${node}`,
  });
}
