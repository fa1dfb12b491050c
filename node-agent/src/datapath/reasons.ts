/** Names and meanings of the drop reasons, for metrics and messages. Numbers are those of serval_abi.h. */
import { salReason } from './abi.generated.js';
import type { DropCount, DropReason } from './types.js';

export const dropReasons = Object.keys(salReason).filter((name): name is DropReason => name !== 'NONE');

/** Those that are given to sockets and to guests of services, not to flows with a rule. */
export const serviceReasons: readonly DropReason[] = ['NO_REPLICA', 'DELAYED', 'GUEST_FRAGMENT'];

/** A count for every reason, at zero. */
export function noDrops(): Record<DropReason, DropCount> {
  return Object.fromEntries(dropReasons.map((name) => [name, { packets: 0n, bytes: 0n }])) as Record<
    DropReason,
    DropCount
  >;
}
