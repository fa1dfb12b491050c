/** Services of a lab: declared to every agent, as an operator would make them known, with their replicas in pods. */
import { serviceNameLabel, discoveryVersion, type EndpointSlice, type ServalServiceSpec } from '@serval/api';
import type { Pod } from '../lab/index.js';
import type { Fleet } from './fleet.js';

export interface ReplicaOf {
  pod: Pod;
  /** default: taking connections */
  ready?: boolean;
  /** ended, but still serving what it has */
  terminating?: boolean;
}

export class LabService {
  constructor(
    private readonly fleet: Fleet,
    /** `namespace/name` */
    readonly name: string,
    private readonly spec: ServalServiceSpec,
    /** of the replicas */
    private readonly targetPort: number,
  ) {}

  /** Declares it, and these as its replicas: all of them, and no others. */
  set(replicas: readonly ReplicaOf[]): void {
    const [namespace = '', name = ''] = this.name.split('/');
    for (const agent of this.fleet.agents.values()) {
      agent.declare('ServalService', { namespace, name }, this.spec);
      for (const family of ['IPv4', 'IPv6'] as const) {
        const slice = this.slice(family, replicas);
        agent.declareWhole(slice);
      }
    }
  }

  /** Takes it back. */
  remove(): void {
    const [namespace = '', name = ''] = this.name.split('/');
    for (const agent of this.fleet.agents.values()) {
      agent.undeclare('ServalService', { namespace, name });
      for (const family of ['IPv4', 'IPv6'])
        agent.undeclare('EndpointSlice', { namespace, name: `${name}-${family.toLowerCase()}` });
    }
  }

  private slice(family: 'IPv4' | 'IPv6', replicas: readonly ReplicaOf[]): EndpointSlice {
    const [namespace = '', name = ''] = this.name.split('/');
    return {
      apiVersion: discoveryVersion,
      kind: 'EndpointSlice',
      metadata: { namespace, name: `${name}-${family.toLowerCase()}`, labels: { [serviceNameLabel]: name } },
      addressType: family,
      endpoints: replicas.map(({ pod, ready = true, terminating = false }) => ({
        addresses: [family === 'IPv4' ? pod.address4 : pod.address6],
        conditions: { ready: ready && !terminating, serving: ready, terminating },
        nodeName: pod.host.name,
        zone: pod.host.site,
      })),
      ports: this.spec.ports.map(({ name: port, protocol = 'TCP' }) => ({
        ...(port === undefined ? {} : { name: port }),
        port: this.targetPort,
        protocol,
      })),
    };
  }
}
