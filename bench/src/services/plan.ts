/**
 * Which services there are, and where: service i has a virtual IP of its own and replicas at addresses of their own. In
 * all variants the same, so that a client looks up as many names and reaches as many addresses.
 */

/** Nobody has an address in here. */
export const virtualRange = '10.96.0.0/12';
/** All of these answer, whether they are some service's or not. */
export const endpointRange = '10.128.0.0/14';
/** Pods of the clients' nodes, as a cluster's CIDR for pods would cover them. */
export const clientRange = '10.80.0.0/16';
export const servicePort = 80;
export const endpointPort = 8080;
export const replicasEach = 10;

/** Of which there can be so many: a replica's address is found by counting. */
export const maxServices = 20_000;
const firstVirtual = address(10, 96, 4, 0);
const firstEndpoint = address(10, 128, 0, 0);
const firstMarked = address(10, 131, 255, 1);

/** What the tables are to hold. */
export interface Plan {
  services: number;
  /** the first replica of the first service is this one instead: what "one endpoint changed" means */
  replaced?: string;
  /** the far hosts that have the replicas, in turn; default: all are on one, `far` */
  hosts?: readonly string[];
}

export const farHost = 'far';

/** The host of a service's replica. */
export function hostOf({ hosts = [farHost] }: Plan, replica: number): string {
  return hosts[replica % hosts.length] ?? farHost;
}

export function serviceName(service: number): string {
  return `service-${service}`;
}

export function virtualIp(service: number): string {
  return text(firstVirtual + service);
}

/** Addresses of a service's replicas. */
export function endpoints({ replaced }: Plan, service: number): string[] {
  const all = Array.from({ length: replicasEach }, (_, i) =>
    text(firstEndpoint + service * replicasEach + i),
  );
  if (service === 0 && replaced !== undefined) all[0] = replaced;
  return all;
}

/** `address:port`, one for each service: what clients connect to by its name. */
export function virtualTargets({ services }: Plan): string[] {
  return Array.from({ length: services }, (_, i) => `${virtualIp(i)}:${servicePort}`);
}

/** `address:port` of all replicas. */
export function endpointTargets(plan: Plan): string[] {
  return Array.from({ length: plan.services }, (_, i) => endpoints(plan, i))
    .flat()
    .map((each) => `${each}:${endpointPort}`);
}

/** A replica that tells its clients who it is, by the segment size that it asks for (see programs/connects.c). */
export interface Marked {
  address: string;
  mss: number;
}

/** In turn, each one is the replica that comes with the next change. */
export const markedReplicas: readonly Marked[] = Array.from({ length: 16 }, (_, i) => ({
  address: text(firstMarked + i),
  mss: 1200 - 32 * i,
}));

function address(...bytes: [number, number, number, number]): number {
  return bytes.reduce((sum, byte) => sum * 256 + byte, 0);
}

function text(number: number): string {
  return [24, 16, 8, 0].map((shift) => (number >>> shift) & 255).join('.');
}
