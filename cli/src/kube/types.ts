/** Kubernetes' own objects, as far as they are used here. */
import type { Condition, ObjectMeta } from '@serval/api';

export interface KubeThing {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
}

export interface Pod extends KubeThing {
  spec?: {
    nodeName?: string;
    containers?: Array<{ name: string; image?: string }>;
  };
  status?: {
    phase?: string;
    conditions?: PodCondition[];
    containerStatuses?: Array<{
      name: string;
      restartCount: number;
      state?: { waiting?: { reason?: string; message?: string } };
    }>;
  };
}

export type PodCondition = Pick<Condition, 'type' | 'status'> & { reason?: string; message?: string };

export interface Node extends KubeThing {
  spec?: { unschedulable?: boolean; podCIDRs?: string[] };
  status?: {
    conditions?: PodCondition[];
    addresses?: Array<{ type: string; address: string }>;
    nodeInfo?: NodeInfo;
  };
}

export interface NodeInfo {
  kernelVersion: string;
  osImage: string;
  containerRuntimeVersion: string;
  kubeletVersion: string;
  operatingSystem: string;
  architecture: string;
}

/** A Deployment or a DaemonSet. */
export interface Workload extends KubeThing {
  spec?: {
    replicas?: number;
    template?: {
      spec?: {
        containers?: Array<{ name: string; image?: string }>;
        nodeSelector?: Record<string, string>;
      };
    };
  };
  status?: {
    readyReplicas?: number;
    desiredNumberScheduled?: number;
    numberReady?: number;
  };
}

export interface Crd extends KubeThing {
  spec?: {
    versions?: Array<{
      name: string;
      served: boolean;
      storage: boolean;
      schema?: { openAPIV3Schema?: Schema };
    }>;
  };
  status?: { conditions?: PodCondition[] };
}

/** As much of a JSON schema as is compared. */
export interface Schema {
  properties?: Readonly<Record<string, Schema>>;
  items?: Schema;
  additionalProperties?: Schema | boolean;
  enum?: readonly unknown[];
}

export interface SigningRequest extends KubeThing {
  spec?: { signerName?: string; username?: string };
  status?: { conditions?: PodCondition[]; certificate?: string };
}

export interface LeaseObject extends KubeThing {
  spec?: { holderIdentity?: string | null; renewTime?: string | null; leaseDurationSeconds?: number | null };
}
