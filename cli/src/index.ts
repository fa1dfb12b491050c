/** For others who draw migrations. */
export { renderTimeline, type TimelineOptions } from './timeline.js';
export { formatMs } from './text.js';
