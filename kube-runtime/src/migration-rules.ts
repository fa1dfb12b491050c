/** Pure: what a ServalMigration needs in directory mode, where there is no scheduler and a workload is a ServalPod. */
import type { ServalMigration } from '@serval/api';
import type { Validator } from './validate.js';

/** @param value a ServalMigration that fits its schema */
export const migrationProblems: Validator = (value) => {
  const { workload, targetNode } = (value as ServalMigration).spec;
  return [
    ...(targetNode === undefined
      ? [
          {
            field: 'spec.targetNode',
            reason: 'it is missing, and without Kubernetes there is no scheduler to choose a node',
            remedy: 'Name a ServalNode',
          },
        ]
      : []),
    ...(workload.kind === undefined || workload.kind === 'Pod'
      ? []
      : [
          {
            field: 'spec.workload.kind',
            reason: `a ${workload.kind} is KubeVirt's, and there is no KubeVirt without Kubernetes`,
            remedy: 'Declare its launcher as a ServalPod, leave the kind out, and say mover: external',
          },
        ]),
  ];
};
