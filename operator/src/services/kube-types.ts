/** What is used of Kubernetes' own Service. */
import type { ObjectMeta } from '@serval/api';

export interface OwnerReference {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
  controller?: boolean;
  blockOwnerDeletion?: boolean;
}

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
