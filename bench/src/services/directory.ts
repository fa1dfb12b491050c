/** Services and their endpoints as resources in the folder that an agent reads. */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  apiVersion,
  discoveryVersion,
  serviceNameLabel,
  type EndpointSlice,
  type ServalService,
} from '@serval/api';
import { endpointPort, endpoints, hostOf, serviceName, servicePort, virtualIp, type Plan } from './plan.js';

export const zone = 'zone-1';

/** One file for each service with its slice, as one would write them by hand. */
export function writeServices(folder: string, plan: Plan): void {
  mkdirSync(folder, { recursive: true });
  for (let service = 0; service < plan.services; service++) writeService(folder, plan, service);
}

/** In one step, so that nobody reads half of it. JSON is YAML. */
export function writeService(folder: string, plan: Plan, service: number): void {
  const file = join(folder, `${serviceName(service)}.yaml`);
  const documents = [serviceResource(service), endpointSlice(plan, service)];
  writeFileSync(`${file}.new`, `${documents.map((each) => JSON.stringify(each)).join('\n---\n')}\n`);
  renameSync(`${file}.new`, file);
}

function serviceResource(service: number): ServalService {
  return {
    apiVersion,
    kind: 'ServalService',
    metadata: { namespace: 'default', name: serviceName(service) },
    spec: { virtualIPs: [virtualIp(service)], ports: [{ port: servicePort, protocol: 'TCP' }] },
  };
}

/** As Kubernetes' own controller would make it; its replicas are in the zone of the client. */
export function endpointSlice(plan: Plan, service: number): EndpointSlice {
  return {
    apiVersion: discoveryVersion,
    kind: 'EndpointSlice',
    metadata: {
      namespace: 'default',
      name: serviceName(service),
      labels: { [serviceNameLabel]: serviceName(service) },
    },
    addressType: 'IPv4',
    endpoints: endpoints(plan, service).map((address, replica) => ({
      addresses: [address],
      conditions: { ready: true, serving: true, terminating: false },
      nodeName: hostOf(plan, replica),
      zone,
    })),
    ports: [{ port: endpointPort, protocol: 'TCP' }],
  };
}
