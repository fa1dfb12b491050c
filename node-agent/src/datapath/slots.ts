/** Reading published slots: which belong to a pod or a migration, and what they mean as flows. */
import type { FlowTable } from '../native.js';
import { salDirection, salKey, salScope, salSlot, type SalSlot } from './abi.generated.js';
import { decodeProtocol, decodeState, decodeTuple } from './rules.js';
import type { FlowStatus, RuleSelector } from './types.js';

const at = {
  pod: salSlot.offset.match + salKey.offset.scope + salScope.offset.pod,
  direction: salSlot.offset.match + salKey.offset.scope + salScope.offset.direction,
};

/** Published slots of a pod, egress before ingress: the order in which they may be taken out. */
export function slotsOfPod(table: FlowTable, podId: number): Uint32Array {
  return selectSlots(table, podId, {}).slots;
}

/** Slots by owner. `rules` counts hops: an ingress slot each, or an egress slot of a flow that is not translated. */
export function selectSlots(table: FlowTable, podId: number, selector: RuleSelector): { slots: Uint32Array; rules: number } {
  const published = table.published();
  const bytes = table.read(published);
  const wanted = selector.flowIds === undefined ? undefined : new Set(selector.flowIds);
  const egress: number[] = [];
  const ingress: number[] = [];
  const hops = new Set<string>();
  for (let i = 0; i < published.length; i++) {
    const base = i * salSlot.size;
    if (bytes.readUInt16LE(base + at.pod) !== podId) continue;
    const flowId = bytes.readBigUInt64LE(base + salSlot.offset.flowId);
    const migration = bytes.readBigUInt64LE(base + salSlot.offset.migration);
    if (selector.migration !== undefined && migration !== selector.migration) continue;
    if (wanted !== undefined && !wanted.has(flowId)) continue;
    (bytes[base + at.direction] === salDirection.EGRESS ? egress : ingress).push(published[i] as number);
    hops.add(`${flowId}/${migration}`);
  }
  return { slots: Uint32Array.from([...egress, ...ingress]), rules: hops.size };
}

/** The flows of a pod, one entry a hop. */
export function flowStatuses(table: FlowTable, podId: number, pod: string): FlowStatus[] {
  const bytes = table.read(slotsOfPod(table, podId));
  const outbound = new Map<string, SalSlot>();
  const hops: FlowStatus[] = [];
  for (let base = 0; base < bytes.length; base += salSlot.size) {
    const slot = salSlot.read(bytes, base);
    if (slot.match.scope.direction === salDirection.EGRESS) outbound.set(hopName(slot), slot);
    else hops.push(hop(pod, slot, outbound));
  }
  // Held or pending, and not translated: there is no inbound half.
  for (const slot of outbound.values()) hops.push(hop(pod, slot, new Map([[hopName(slot), slot]])));
  return hops;
}

function hopName(slot: SalSlot): string {
  return `${slot.flowId}/${slot.migration}`;
}

/** Takes the outbound half that it finds out of the map. */
function hop(pod: string, slot: SalSlot, outbound: Map<string, SalSlot>): FlowStatus {
  const out = outbound.get(hopName(slot));
  outbound.delete(hopName(slot));
  const isInbound = slot.match.scope.direction === salDirection.INGRESS;
  return {
    pod,
    flowId: slot.flowId,
    migration: slot.migration,
    protocol: decodeProtocol(slot.match.scope.protocol),
    identity: decodeTuple(isInbound ? slot.to : slot.match.tuple),
    wire: decodeTuple(isInbound ? slot.match.tuple : slot.to),
    state: out === undefined ? 'inbound' : decodeState(out.state),
    packetsOut: out?.packets ?? 0n,
    bytesOut: out?.bytes ?? 0n,
    packetsIn: isInbound ? slot.packets : 0n,
    bytesIn: isInbound ? slot.bytes : 0n,
  };
}
