/** Pure: from what the agent holds to what its local API says. */
import type { ErrorView, FlowView } from '@serval/api';
import { ServalError, type ErrorCode } from '@serval/api';
import type { FlowStatus } from '../datapath/types.js';

export function flowView(flow: FlowStatus): FlowView {
  const { pod, protocol, identity, wire, state } = flow;
  return {
    flowId: hex(flow.flowId),
    pod,
    protocol,
    identity,
    wire,
    state,
    migration: hex(flow.migration),
    packetsOut: Number(flow.packetsOut),
    bytesOut: Number(flow.bytesOut),
    packetsIn: Number(flow.packetsIn),
    bytesIn: Number(flow.bytesIn),
  };
}

function hex(id: bigint): string {
  return id.toString(16).padStart(16, '0');
}

const statuses: Partial<Record<ErrorCode, number>> = {
  ERR_BAD_INPUT: 400,
  ERR_NO_PERMISSION: 403,
  ERR_NOT_FOUND: 404,
  ERR_CONFLICT: 409,
  ERR_UNSUPPORTED: 501,
  ERR_NO_SPACE: 507,
  ERR_TABLE_FULL: 507,
};

export function errorView(thrown: unknown): { status: number; view: ErrorView } {
  if (thrown instanceof ServalError) {
    const { code, subject, reason, remedy } = thrown;
    return { status: statuses[code] ?? 500, view: { code, subject, reason, remedy } };
  }
  const reason = thrown instanceof Error ? thrown.message : String(thrown);
  const remedy = 'See the log of the agent, and report this as a defect';
  return { status: 500, view: { code: 'ERR_INTERNAL', subject: 'agent', reason, remedy } };
}
