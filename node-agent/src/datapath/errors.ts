/** From the addon's errno to an error that names the thing, the reason and the remedy. */
import { ServalError, type ErrorCode } from '@serval/api';
import { isNativeError, type NativeError } from '../native.js';

type Explanation = readonly [ErrorCode, reason: string, remedy: string];

/** What an errno means in a given place; `*` is the rest. */
const explanations: Record<string, Explanation> = {
  EPERM: [
    'ERR_NO_PERMISSION',
    'the kernel does not allow it',
    'Run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_SYS_ADMIN',
  ],
  EACCES: [
    'ERR_NO_PERMISSION',
    'the kernel does not allow it',
    'Run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_SYS_ADMIN',
  ],
  ENODEV: [
    'ERR_NOT_FOUND',
    'there is no such device',
    'Check the name of the device in this network namespace (`ip link`)',
  ],
  ENOSPC: [
    'ERR_TABLE_FULL',
    'the flow table has no room left',
    'Raise the number of slots when the data plane is made, or move fewer flows',
  ],
  E2BIG: [
    'ERR_TABLE_FULL',
    'the map has no room left',
    'Raise the number of slots when the data plane is made, or move fewer flows',
  ],
  ENOMEM: ['ERR_KERNEL', 'the kernel has no memory left', 'Lower the number of slots, or free memory'],
  EEXIST: ['ERR_CONFLICT', 'it exists already', 'Choose another name, or remove the old one'],
  EBUSY: ['ERR_CONFLICT', 'something else holds it', 'Find who holds it and end that first'],
};

const namespaceGone: Explanation = [
  'ERR_NETNS_GONE',
  'the network namespace is gone',
  'The pod has ended: remove it from the data plane',
];
const badObject: Explanation = [
  'ERR_BAD_OBJECT',
  'it is no BPF object that this kernel takes',
  'Build it again with `npm run bootstrap`; where the verifier speaks, see details.verifierLog',
];
const unsupported: Explanation = [
  'ERR_UNSUPPORTED',
  'this kernel lacks something that the programs need',
  'Use kernel 5.15 or later with BTF; `details` names the operation',
];

function explain(error: NativeError): Explanation {
  const load = /^bpf_object|^bpf_prog_load/.test(error.operation);
  if (/^setns/.test(error.operation) || /^open\(.*netns/.test(error.operation)) {
    if (error.code === 'ENOENT' || error.code === 'EINVAL') return namespaceGone;
  }
  if (load && !['EPERM', 'ENOMEM'].includes(error.code)) return badObject;
  const known = explanations[error.code];
  if (known !== undefined) return known;
  if (['EOPNOTSUPP', 'ENOTSUP', 'ENOSYS', 'EINVAL', 'EPROTONOSUPPORT'].includes(error.code))
    return unsupported;
  return ['ERR_KERNEL', `the kernel refused it (${error.code})`, 'See details for the operation'];
}

/** A failed system call: of the addon, or of Node's own file system. */
function systemCall(thrown: unknown): NativeError | undefined {
  if (isNativeError(thrown)) return thrown;
  const { code, errno, syscall, path } = thrown as NodeJS.ErrnoException;
  if (code === undefined || errno === undefined || syscall === undefined) return undefined;
  return Object.assign(new Error((thrown as Error).message), {
    code,
    errno: Math.abs(errno),
    operation: `${syscall}(${path ?? ''})`,
  });
}

/** Turn a failed system call into a ServalError about `subject`; other errors pass. */
export function servalError(thrown: unknown, subject: string): unknown {
  const error = systemCall(thrown);
  if (error === undefined) return thrown;
  const [code, reason, remedy] = explain(error);
  return new ServalError(code, {
    subject,
    reason: `${reason} (${error.operation}: ${error.code})`,
    remedy,
    cause: thrown,
    details: {
      errno: error.errno,
      operation: error.operation,
      ...(error.verifierLog === undefined ? {} : { verifierLog: error.verifierLog }),
    },
  });
}

/** Run native work and explain its failure. */
export async function explained<Result>(
  subject: string,
  work: () => Result | Promise<Result>,
): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw servalError(error, subject);
  }
}
