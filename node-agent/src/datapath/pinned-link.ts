/** Links that are pinned: what is attached by them outlives the agent that did it. */
import { existsSync, rmSync } from 'node:fs';
import { native, type BpfLink, type BpfProgram } from '../native.js';

/** Detach it, and unpin it. Fine where there is none. */
export function detachLink(pin: string): void {
  if (!existsSync(pin)) return;
  withLink(pin, (link) => link.detach());
  rmSync(pin);
}

/** Another program under the same link, without a gap. */
export function updateLink(pin: string, program: BpfProgram): void {
  withLink(pin, (link) => link.update(program));
}

function withLink(pin: string, work: (link: BpfLink) => void): void {
  const link = native().openPinnedLink(pin);
  try {
    work(link);
  } finally {
    link.close();
  }
}
