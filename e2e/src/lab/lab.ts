import { randomInt } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ServalError } from '@serval/api';
import { createCgroup } from '@serval/node-agent';
import {
  planLab,
  podAddresses,
  podIndexOf,
  limits,
  type LabPlan,
  type PodAddresses,
} from './address-plan.js';
import { endAssignments, infrastructureAssignments, podAssignments } from './assignments.js';
import { describeLab } from './describe.js';
import { Host, Router, Site } from './hosts.js';
import { canonicalAddress } from './ip-address.js';
import { ipBatch, namespaceName, namespacePath } from './namespaces.js';
import { connectPod, dismantlePod, hostInterfaceOf, Pod, startPod } from './pods.js';
import { requireRoot, run, tool } from './processes.js';
import { Recorder, startRecorder, type RecordPoint, type RecorderOptions } from './recorder.js';
import { keepAtExit, removeAtExit, removeLab, removeStaleLabs } from './removal.js';
import {
  cgroupPrefix,
  createState,
  readState,
  requireId,
  saveState,
  type Assignment,
  type LabSpec,
  type LabState,
  type PodState,
} from './state.js';
import { creationLines, cutLines, mendLines, nodeNames, nodeSetups } from './topology.js';

export interface PodSpec {
  /** unique in the lab; lower-case letters, digits and dashes */
  name: string;
  /** name of a host */
  host: string;
  /** last number of the addresses, 2 to 254; without it the next one that was not used for longest */
  index?: number;
  /** this IPv4 address (and the IPv6 address of the same index) instead: to give an old address to a new pod */
  address4?: string;
}

/** A running lab. Only one process at a time may create and remove pods in it. */
export class Lab {
  readonly id: string;
  readonly core: Router;
  readonly sites: readonly Site[];
  readonly #state: LabState;
  readonly #pods = new Map<string, Pod>();

  /** Labs come from `createLab` and `openLab`. */
  constructor(plan: LabPlan, state: LabState) {
    this.id = state.id;
    this.core = new Router(state.id, plan.core);
    this.sites = plan.sites.map((site) => new Site(state.id, site));
    this.#state = state;
    for (const pod of state.pods) this.#attach(pod);
  }

  get hosts(): readonly Host[] {
    return this.sites.flatMap((site) => site.hosts);
  }

  get pods(): readonly Pod[] {
    return this.#state.pods.map(({ name }) => this.#pods.get(name)).filter((pod) => pod !== undefined);
  }

  /** Every address that was ever given out in the lab. */
  get assignments(): readonly Assignment[] {
    return this.#state.assignments;
  }

  /** @throws ServalError ERR_NOT_FOUND with the names of the known hosts */
  host(name: string): Host {
    return this.hosts.find((host) => host.name === name) ?? notFound('host', name, this.hosts);
  }

  /** @throws ServalError ERR_NOT_FOUND with the names of the known pods */
  pod(name: string): Pod {
    return this.#pods.get(name) ?? notFound('pod', name, this.pods);
  }

  /** Who had an address, when, in the order of time. */
  assigned(address: string): Assignment[] {
    const wanted = canonicalAddress(address);
    return this.#state.assignments.filter((entry) => entry.address === wanted);
  }

  /**
   * Creates a pod; when this resolves it can send and receive.
   * @throws ServalError ERR_CONFLICT when the name or the address is taken; ERR_TABLE_FULL when the host has no
   *   address left; ERR_NOT_FOUND for an unknown host; ERR_BAD_INPUT for a bad name or address
   */
  async createPod(spec: PodSpec): Promise<Pod> {
    const host = this.host(spec.host);
    requirePodName(spec.name);
    if (this.#state.pods.some((pod) => pod.name === spec.name))
      throw taken(`pod ${spec.name}`, 'a pod of that name exists');
    const addresses = this.#allocate(host, spec);
    const state = this.#register(spec.name, host, addresses);
    try {
      await connectPod(host, state, addresses);
      this.#state.assignments.push(...podAssignments(spec.name, host.plan, addresses, Date.now()));
      state.pause = await startPod(host.plan, namespacePath(state.namespace), addresses);
      saveState(this.#state);
      return this.#attach(state);
    } catch (error) {
      await this.#removePod(state).catch(() => undefined); // the first error is the one to tell
      throw error;
    }
  }

  /** Listens at these points; when this resolves everything that passes from now on is recorded. */
  async record(points: readonly RecordPoint[], options?: RecorderOptions): Promise<Recorder> {
    return await startRecorder(this.#state.folder, points, options);
  }

  /** Listens where each host's packets enter its site's router: shows every packet that a host sends, once. */
  async recordFabric(options?: RecorderOptions): Promise<Recorder> {
    const points = this.sites.flatMap((site) =>
      site.hosts.map((host): RecordPoint => {
        return { at: site.router, interface: host.plan.routerInterface, direction: 'in', behind: host.name };
      }),
    );
    return await this.record(points, options);
  }

  /** Pulls a host's cable: what it sends and what is sent to it is lost, and nobody says so. */
  async cut(host: string): Promise<void> {
    const { plan } = this.host(host);
    await ipBatch(cutLines(plan), this.#routerOf(plan.site).netns);
  }

  /** Puts back the cable of a host that was cut. */
  async mend(host: string): Promise<void> {
    const { plan } = this.host(host);
    await ipBatch(mendLines(plan), this.#routerOf(plan.site).netns);
  }

  /**
   * Mounts a file system of the lab's own, gone with the lab; pods that are created later see it at the same path.
   * @returns where it is mounted
   */
  async mount(type: 'bpf' | 'tmpfs', name: string): Promise<string> {
    const path = join(this.#state.folder, name);
    mkdirSync(path, { recursive: true, mode: 0o700 });
    await run(tool('mount'), ['-t', type, `lab${this.id}`, path]);
    return path;
  }

  /** Makes a cgroup (version 2) of the lab's own, gone with the lab. @returns its path */
  cgroup(name: string): string {
    return createCgroup(`${cgroupPrefix(this.id)}${name}`);
  }

  /** The lab as a tree of text. */
  describe(): string {
    return describeLab(this);
  }

  /** Lets the lab live on when this process ends, until somebody removes it. */
  detach(): void {
    this.#state.owner = null;
    saveState(this.#state);
    keepAtExit(this.id);
  }

  /** Removes everything: processes, namespaces, files. May be repeated. Blocks the event loop for some 50 ms. */
  remove(): void {
    keepAtExit(this.id);
    this.#pods.clear();
    try {
      removeLab(this.id);
    } catch (error) {
      if (!(error instanceof ServalError && error.code === 'ERR_NOT_FOUND')) throw error; // removed already
    }
  }

  #routerOf(site: string): Router {
    return (this.sites.find(({ name }) => name === site) ?? notFound('site', site, this.sites)).router;
  }

  #allocate(host: Host, spec: PodSpec): PodAddresses {
    const used = new Set(this.#state.pods.filter((pod) => pod.host === host.name).map((pod) => pod.index));
    const wanted = spec.address4 === undefined ? spec.index : podIndexOf(host.plan, spec.address4);
    const index = wanted ?? nextIndex(used, this.#state.lastIndex[host.name]);
    if (index === undefined) {
      throw new ServalError('ERR_TABLE_FULL', {
        subject: `pod subnet ${host.podSubnet4} of ${host.name}`,
        reason: 'all addresses are in use',
        remedy: 'Remove pods, or use another host',
      });
    }
    if (used.has(index)) throw taken(`pod index ${index} on ${host.name}`, 'another pod has that address');
    return podAddresses(host.plan, index);
  }

  /** Writes down what is about to be made. */
  #register(name: string, host: Host, { index }: PodAddresses): PodState {
    const namespace = namespaceName(this.id, `${host.name}-${name}`);
    const hostInterface = hostInterfaceOf(name);
    const state: PodState = { name, host: host.name, index, namespace, hostInterface, pause: null };
    this.#state.pods.push(state);
    this.#state.namespaces.push(namespace);
    this.#state.lastIndex[host.name] = index;
    saveState(this.#state);
    return state;
  }

  #attach(state: PodState): Pod {
    const host = this.host(state.host);
    const remove = () => this.#removePod(state);
    const addresses = podAddresses(host.plan, state.index);
    const pod = new Pod(
      host,
      addresses,
      state,
      namespacePath(state.namespace),
      state.pause?.pid ?? 0,
      remove,
    );
    this.#pods.set(state.name, pod);
    return pod;
  }

  async #removePod(state: PodState): Promise<void> {
    if (!this.#state.pods.includes(state)) return;
    await dismantlePod(this.host(state.host), state);
    if (!this.#state.pods.includes(state)) return; // removed twice at once
    endAssignments(this.#state.assignments, state.name, Date.now() + 1); // + 1: the clock's fraction was cut off
    this.#state.pods = this.#state.pods.filter((pod) => pod !== state);
    this.#state.namespaces = this.#state.namespaces.filter((name) => name !== state.namespace);
    this.#pods.delete(state.name);
    saveState(this.#state);
  }
}

/**
 * Builds a lab, after removing those that dead processes left behind. It is removed when this process ends.
 * @param options.id 1 to 12 lower-case letters and digits; random without it
 * @throws ServalError ERR_NO_PERMISSION without root; ERR_UNSUPPORTED when a tool is missing; ERR_CONFLICT when the
 *   id is taken; ERR_BAD_INPUT for an impossible shape; ERR_KERNEL when the kernel refuses
 */
export async function createLab(spec: LabSpec = {}, options: { id?: string } = {}): Promise<Lab> {
  requireRoot();
  ['ip', 'nsenter', 'unshare', 'setsid', 'mount', 'env', 'sleep', 'sh', 'bash'].forEach(tool);
  const full = { sites: 3, hostsPerSite: 1, podsPerHost: 0, reversePathFilter: 'strict' as const, ...spec };
  const plan = planLab(full);
  requirePodCount(full.podsPerHost);
  removeStaleLabs(); // a failure there belongs to those labs
  const id = options.id ?? randomId();
  requireUnusedNamespaces(id);
  const state = createState(
    id,
    full,
    nodeNames(plan).map((node) => namespaceName(id, node)),
  );
  removeAtExit(id);
  try {
    return await build(plan, state);
  } catch (error) {
    keepAtExit(id);
    removeLab(id);
    throw error;
  }
}

/**
 * A lab that runs already, whoever made it. It does not end with this process.
 * @throws ServalError ERR_NOT_FOUND with the known ids
 */
export function openLab(id: string): Lab {
  requireRoot();
  const state = readState(id);
  return new Lab(planLab(state.spec), state);
}

async function build(plan: LabPlan, state: LabState): Promise<Lab> {
  const namespaceOf = (node: string) => namespaceName(state.id, node);
  await ipBatch(creationLines(plan, namespaceOf));
  state.assignments.push(...infrastructureAssignments(plan, Date.now()));
  const setups = nodeSetups(plan, state.spec.reversePathFilter);
  const enter = (node: string) => [`--net=${namespacePath(namespaceOf(node))}`, tool('sh'), '-e'];
  await allOf(setups.map(({ node, script }) => run(tool('nsenter'), enter(node), { input: script })));
  saveState(state);
  const lab = new Lab(plan, state);
  const places = Array.from({ length: state.spec.podsPerHost }).flatMap(() =>
    lab.hosts.map((host) => host.name),
  );
  await allOf(places.map((host, index) => lab.createPod({ name: `p${index + 1}`, host })));
  return lab;
}

/** Waits for all of them also when one fails: what fails is taken apart next, and nobody may still be building. */
async function allOf(works: readonly Promise<unknown>[]): Promise<void> {
  const failed = (await Promise.allSettled(works)).find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}

/** The next free index after the last one, as CNI's host-local does: an address rests before it is used again. */
function nextIndex(used: ReadonlySet<number>, last: number = limits.firstPod - 1): number | undefined {
  const count = limits.lastPod - limits.firstPod + 1;
  const order = Array.from(
    { length: count },
    (_, step) => limits.firstPod + ((last + 1 - limits.firstPod + step) % count),
  );
  return order.find((index) => !used.has(index));
}

function randomId(): string {
  return Array.from({ length: 5 }, () => randomInt(36).toString(36)).join('');
}

function requireUnusedNamespaces(id: string): void {
  requireId(id);
  const folder = '/run/netns';
  const foreign = existsSync(folder)
    ? readdirSync(folder).filter((name) => name.startsWith(`lab${id}-`))
    : [];
  if (foreign.length > 0)
    throw taken(`lab ${id}`, `there are namespaces of that name: ${foreign.join(', ')}`);
}

function requirePodName(name: string): void {
  if (/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(name)) return;
  throw new ServalError('ERR_BAD_INPUT', {
    subject: `pod name "${name}"`,
    reason: 'a pod has a name of lower-case letters, digits and dashes, up to 63',
    remedy: 'Choose another name',
  });
}

function requirePodCount(count: number): void {
  if (Number.isInteger(count) && count >= 0 && count <= limits.lastPod - limits.firstPod + 1) return;
  throw new ServalError('ERR_BAD_INPUT', {
    subject: `number of pods per host (${count})`,
    reason: `a host has 0 to ${limits.lastPod - limits.firstPod + 1}`,
    remedy: 'Give a whole number in that range',
  });
}

function taken(subject: string, reason: string): ServalError {
  return new ServalError('ERR_CONFLICT', {
    subject,
    reason,
    remedy: 'Choose another one, or remove the old one',
  });
}

function notFound(kind: string, name: string, known: readonly { name: string }[]): never {
  const names = known.map((thing) => thing.name).join(', ');
  throw new ServalError('ERR_NOT_FOUND', {
    subject: `${kind} ${name}`,
    reason: names === '' ? `the lab has no ${kind}` : `the lab has ${names}`,
    remedy: `Name one that exists`,
  });
}
