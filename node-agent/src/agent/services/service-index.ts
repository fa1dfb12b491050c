/**
 * What the resources say of services, kept together: each service with its slices, whichever of them came first, and who
 * serves at which virtual IP. Says which services a change concerns.
 */
import { virtualIPsOf, type EndpointSlice, type ServalNode, type ServalService } from '@serval/api';
import type { ResourceStore } from '@serval/kube-runtime';
import { serviceName, servicePoints, type ServicePoints } from '../../services/conflicts.js';
import { sliceOwner } from '../../services/replicas.js';

export interface IndexListener {
  /** this service has changed, or one of its slices */
  service(name: string): void;
  /** zone or region of this node have changed */
  node(name: string): void;
}

const none: ReadonlyMap<string, EndpointSlice> = new Map();

export class ServiceIndex {
  private readonly services = new Map<string, ServalService>();
  /** by service, whether or not that is there */
  private readonly slices = new Map<string, Map<string, EndpointSlice>>();
  /** by slice: its service */
  private readonly owners = new Map<string, string>();
  private readonly nodes = new Map<string, ServalNode['spec']>();
  private points = new Map<string, ServicePoints>();
  private virtualIPs = new Set<string>();
  private pointsAreOld = false;

  constructor(private readonly listener: IndexListener) {}

  /** What is there now is told before this returns. Returns what ends it. */
  follow(store: ResourceStore): () => void {
    const ends = [
      store.watch('ServalNode', ({ type, object }) => this.takeNode(type, object)),
      store.watch('ServalService', ({ type, object }) => this.takeService(type, object)),
      store.watch('EndpointSlice', ({ type, object }) => this.takeSlice(type, object)),
    ];
    return () => ends.forEach((end) => end());
  }

  names(): IterableIterator<string> {
    return this.services.keys();
  }

  service(name: string): ServalService | undefined {
    return this.services.get(name);
  }

  slicesOf(name: string): EndpointSlice[] {
    return [...(this.slices.get(name) ?? none).values()];
  }

  node(name: string): ServalNode['spec'] | undefined {
    return this.nodes.get(name);
  }

  pointsOf(name: string): ServicePoints | undefined {
    return this.points.get(name);
  }

  /** Who serves where, worked out anew where that may have changed; whoever has won or lost a place is told. */
  settle(): void {
    if (!this.pointsAreOld) return;
    this.pointsAreOld = false;
    const services = [...this.services.values()];
    this.virtualIPs = new Set(services.flatMap(virtualIPsOf));
    const replicas = this.replicasAtVirtualIPs();
    const points = servicePoints(services, (address) => replicas.has(address));
    const before = this.points;
    this.points = points;
    for (const [name, found] of points) if (!isSame(found, before.get(name))) this.listener.service(name);
  }

  /** Few or none: a virtual IP may not be a replica's own address. */
  private replicasAtVirtualIPs(): Set<string> {
    const found = new Set<string>();
    for (const slices of this.slices.values())
      for (const slice of slices.values()) for (const address of this.atVirtualIPs(slice)) found.add(address);
    return found;
  }

  private atVirtualIPs({ endpoints }: EndpointSlice): string[] {
    return endpoints.map(({ addresses }) => addresses[0] ?? '').filter((each) => this.virtualIPs.has(each));
  }

  private takeNode(type: string, { metadata, spec }: ServalNode): void {
    const before = this.nodes.get(metadata.name);
    if (type === 'deleted') this.nodes.delete(metadata.name);
    else this.nodes.set(metadata.name, spec);
    const isSamePlace = before?.zone === spec.zone && before?.region === spec.region;
    if (type === 'deleted' || !isSamePlace) this.listener.node(metadata.name);
  }

  private takeService(type: string, service: ServalService): void {
    const name = serviceName(service);
    const before = this.services.get(name);
    if (type === 'deleted') this.services.delete(name);
    else this.services.set(name, service);
    // In Kubernetes its status counts replicas: that is told of each that comes or goes, and nobody's place changes by it.
    if (type === 'deleted' || before === undefined || !servesAlike(before, service)) this.pointsAreOld = true;
    this.listener.service(name);
  }

  private takeSlice(type: string, slice: EndpointSlice): void {
    const key = `${slice.metadata.namespace ?? 'default'}/${slice.metadata.name}`;
    const before = this.owners.get(key);
    const owner = type === 'deleted' ? undefined : sliceOwner(slice);
    // Its label may have changed: whoever had it loses it.
    if (before !== undefined && before !== owner) this.drop(before, key);
    if (owner === undefined) this.owners.delete(key);
    else this.keep(owner, key, slice);
  }

  private keep(owner: string, key: string, slice: EndpointSlice): void {
    this.owners.set(key, owner);
    const slices = this.slices.get(owner);
    this.noteReplicas(slices?.get(key), slice);
    if (slices === undefined) this.slices.set(owner, new Map([[key, slice]]));
    else slices.set(key, slice);
    this.listener.service(owner);
  }

  /** A virtual IP that is, or was, a replica's address is served by others than before. */
  private noteReplicas(...slices: Array<EndpointSlice | undefined>): void {
    if (slices.some((slice) => slice !== undefined && this.atVirtualIPs(slice).length > 0))
      this.pointsAreOld = true;
  }

  private drop(owner: string, key: string): void {
    const slices = this.slices.get(owner);
    this.noteReplicas(slices?.get(key));
    slices?.delete(key);
    if (slices?.size === 0) this.slices.delete(owner);
    this.listener.service(owner);
  }
}

function isSame(a: ServicePoints, b: ServicePoints | undefined): boolean {
  const text = ({ points, problems }: ServicePoints): string => JSON.stringify([points, problems]);
  return b !== undefined && text(a) === text(b);
}

/** At the same places, and as old. */
function servesAlike(one: ServalService, other: ServalService): boolean {
  const text = (service: ServalService): string =>
    JSON.stringify([virtualIPsOf(service), service.spec.ports, service.metadata.creationTimestamp]);
  return text(one) === text(other);
}
