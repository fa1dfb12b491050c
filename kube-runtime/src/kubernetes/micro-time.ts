/** Pure: MicroTime of the API: exactly six digits after the point, or the server does not read it. */
export function microTime(date: Date): string {
  return date.toISOString().replace(/Z$/, '000Z');
}
