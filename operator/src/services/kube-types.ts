/** What is used of Kubernetes' own Service. */
import type { ObjectMeta } from '@serval/api';
import type { OwnerReference } from '../kube-types.js';

export interface KubeServicePort {
  name?: string;
  port: number;
  protocol?: 'TCP' | 'UDP' | 'SCTP';
  targetPort?: number | string;
}

export interface KubeService {
  apiVersion: 'v1';
  kind: 'Service';
  metadata: ObjectMeta & { ownerReferences?: OwnerReference[] };
  spec: {
    type?: 'ClusterIP' | 'NodePort' | 'LoadBalancer' | 'ExternalName';
    clusterIP?: string;
    /** `None` of a headless one */
    clusterIPs?: string[];
    ipFamilyPolicy?: 'SingleStack' | 'PreferDualStack' | 'RequireDualStack';
    selector?: Record<string, string>;
    ports?: KubeServicePort[];
  };
}
