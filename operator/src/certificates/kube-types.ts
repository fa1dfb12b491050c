/** What is used of Kubernetes' own CertificateSigningRequest, Secret and ConfigMap. */
import type { ObjectMeta } from '@serval/api';

export interface RequestCondition {
  type: string;
  status: 'True' | 'False' | 'Unknown';
  reason?: string;
  message?: string;
  lastUpdateTime?: string;
  lastTransitionTime?: string;
}

export interface SigningRequest {
  metadata: ObjectMeta;
  spec: {
    /** PEM in base64 */
    request: string;
    signerName: string;
    expirationSeconds?: number;
    usages?: string[];
    /** who has made it, as the API server knows: nobody can write these */
    username?: string;
    extra?: Record<string, string[]>;
  };
  status?: {
    conditions?: RequestCondition[];
    /** PEM in base64 */
    certificate?: string;
  };
}

/** Of a Secret in base64, of a ConfigMap as it is. */
export interface DataObject {
  apiVersion: 'v1';
  kind: 'Secret' | 'ConfigMap';
  metadata: ObjectMeta;
  data?: Record<string, string>;
}
