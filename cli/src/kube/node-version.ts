/** Which Node can speak to an API server. */
import { ServalError } from '@serval/api';

/** As the HTTP client says (undici): with an older one it does not even load. */
export const neededNode = '22.19.0';

/** @param version as `process.versions.node` has it. @throws ServalError ERR_UNSUPPORTED where it is older */
export function requireNode(version: string): void {
  const [own, needed] = [version, neededNode].map((text) =>
    text.split('.').map((part) => parseInt(part, 10)),
  );
  const at = needed?.findIndex((part, i) => part !== own?.[i]) ?? -1;
  if (at < 0 || (own?.[at] ?? 0) > (needed?.[at] ?? 0)) return;
  throw new ServalError('ERR_UNSUPPORTED', {
    subject: `Node ${version}`,
    reason: `to speak to an API server kubectl-serval needs Node ${neededNode} or later`,
    remedy: 'Install that, or put it before the other one in PATH',
  });
}
