/** Pure: what is made of nodes, pods and services, by number. */
import { apiVersion } from '@serval/api';

export const namespace = 'default';
const podsEach = 5;
/** Events happen to the first services alone: nobody else chooses their pods. */
export const eventful = 100;

export interface Sizes {
  pods: number;
  nodes: number;
}

export function nodeName(number: number): string {
  return `node-${number}`;
}

export function node(number: number): object {
  const labels = { 'topology.kubernetes.io/zone': zone(number) };
  return { metadata: { name: nodeName(number), labels } };
}

export function servalNode(number: number): object {
  const address = `198.18.${number >> 8}.${number & 255}`;
  const spec = { address: `${address}:7946`, hostAddresses: [address], podCIDRs: [], zone: zone(number) };
  return { apiVersion, kind: 'ServalNode', metadata: { name: nodeName(number) }, spec };
}

/** Five after one another serve alike. */
export function podName(number: number): string {
  return `app-${Math.floor(number / podsEach)}-${number % podsEach}`;
}

export function podAddress(number: number): string {
  return `10.${64 + (number >> 16)}.${(number >> 8) & 255}.${number & 255}`;
}

export function pod(number: number, { nodes }: Sizes): object {
  const labels = { app: `app-${Math.floor(number / podsEach)}` };
  const spec = { nodeName: nodeName(number % nodes), containers: [{ name: 'a', image: 'a' }] };
  return { metadata: { name: podName(number), labels }, spec };
}

export function podStatus(number: number, isReady: boolean): object {
  const ip = podAddress(number);
  const conditions = [{ type: 'Ready', status: isReady ? 'True' : 'False' }];
  return { status: { phase: 'Running', podIP: ip, podIPs: [{ ip }], conditions } };
}

export function serviceName(number: number): string {
  return `svc-${number}`;
}

/** The first pod of a service. */
export function firstPod(service: number): number {
  return service * podsEach;
}

export function service(number: number, sizes: Sizes): object {
  const selector = { app: `app-${appOf(number, sizes)}` };
  const spec = { selector, ports: [{ port: 80, targetPort: 8_080 }] };
  return { apiVersion, kind: 'ServalService', metadata: { name: serviceName(number) }, spec };
}

/** Where there are more services than pods for them, some share theirs. */
function appOf(number: number, { pods }: Sizes): number {
  const apps = Math.ceil(pods / podsEach);
  if (number < apps) return number;
  return apps <= eventful ? number : eventful + (number % (apps - eventful));
}

function zone(number: number): string {
  return `zone-${number % 3}`;
}
