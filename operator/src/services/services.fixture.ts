/** Services for the tests of what is decided about them. */
import {
  apiVersion,
  discoveryVersion,
  serviceNameLabel,
  type EndpointSlice,
  type ServalService,
} from '@serval/api';
import type { KubeService } from './kube-types.js';

export function servalService(
  spec: Partial<ServalService['spec']> = {},
  status?: ServalService['status'],
): ServalService {
  return {
    apiVersion,
    kind: 'ServalService',
    metadata: { name: 'web', namespace: 'shop', uid: 'u1', generation: 3 },
    spec: { selector: { app: 'web' }, ports: [{ name: 'http', port: 80, protocol: 'TCP' }], ...spec },
    ...(status === undefined ? {} : { status }),
  };
}

export function kubeService(
  spec: Partial<KubeService['spec']> = {},
  metadata: Partial<KubeService['metadata']> = {},
): KubeService {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace: 'shop', ...metadata },
    spec: {
      type: 'ClusterIP',
      clusterIPs: ['10.96.0.7'],
      selector: { app: 'web' },
      ports: [{ name: 'http', port: 80, protocol: 'TCP', targetPort: 80 }],
      ...spec,
    },
  };
}

/** One slice with an endpoint for each word: `10.1.0.1/zone`, `!` before those that are not ready. */
export function slice(name: string, ...endpoints: string[]): EndpointSlice {
  return {
    apiVersion: discoveryVersion,
    kind: 'EndpointSlice',
    metadata: { name, namespace: 'shop', labels: { [serviceNameLabel]: 'web' } },
    addressType: 'IPv4',
    endpoints: endpoints.map((word) => {
      const [address = '', zone] = word.replace('!', '').split('/');
      return {
        addresses: [address],
        conditions: { ready: !word.startsWith('!') },
        ...(zone === undefined ? {} : { zone }),
      };
    }),
    ports: [{ name: 'http', port: 8080 }],
  };
}
