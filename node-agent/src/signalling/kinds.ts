/** All that agents say to each other: the messages of the migration protocol, and reports. */
import type { Accepted, Message, MessageKind, Refused } from '../protocol/messages.js';
import type { ReportMessage, SentReport } from './report.js';

export type AnyMessage = Message | ReportMessage;
export type AnyKind = AnyMessage['kind'];

export type AnyAccepted<Kind extends AnyKind> = Kind extends MessageKind
  ? Accepted<Kind>
  : { ok: true } & SentReport;
export type AnyReply<Kind extends AnyKind = AnyKind> = AnyAccepted<Kind> | Refused;
